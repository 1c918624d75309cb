"""`python -m export`: what `stylecore export` does."""

import sys

from stylecore.program import printing, starting

with starting("export"):
    from .cli import main

with printing("export"):
    sys.exit(main())
