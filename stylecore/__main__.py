"""The console script `stylecore`, and `python -m stylecore`."""

import sys

from stylecore.program import printing, starting


def run() -> None:
    """Run the command line. SIGTERM ends it as Ctrl-C does, with the image so far."""
    with starting("stylecore"):
        from stylecore.cli import main
    with printing("stylecore"):
        sys.exit(main())


if __name__ == "__main__":
    run()
