"""`python -m export`: what `stylecore export` does."""

import sys

from stylecore.program import starting

with starting("export"):
    from .cli import main

sys.exit(main())
