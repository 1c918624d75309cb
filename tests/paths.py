"""Where things are. Not in conftest.py: of two files of that name, tests can import only the one loaded last."""

import socket
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port on which nobody serves now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
