"""Where things are. Not in conftest.py: of two files of that name, tests can import only the one loaded last."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
