"""Results that their makers chose to share: PNGs in one folder, under names that nobody can guess, for a day."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from pathlib import Path
from threading import Thread

from stylecore.errors import OptionError
from stylecore.images import replacing

KEEP_HOURS = 24
TOKEN = re.compile(r"[\w-]{22}")  # 128 random bits


class KeptResults:
    """PNGs by their tokens. Several servers behind one address can share the folder.

    Args:
        folder: made if it is missing; None: one of this server's own, in the system's temporary folder.
        keep_s: seconds until a result is deleted.
    """

    def __init__(self, folder: Path | None = None, keep_s: float = KEEP_HOURS * 3600) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="stylecore-kept-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep_s = keep_s

    def keep(self, path: Path) -> str:
        """Keep a copy of a PNG, and return its token."""
        token = secrets.token_urlsafe(16)
        with replacing(self.folder / f"{token}.png") as file:  # a server that is killed leaves no half of it
            file.write(path.read_bytes())
        return token

    def find(self, token: str) -> Path:
        """The PNG. Raises an OptionError if there is none of that token, or none any more."""
        path = self.folder / f"{token}.png"
        if not TOKEN.fullmatch(token) or not path.is_file() or self._is_old(path):
            raise OptionError(f"This result is gone: shared results are deleted after {self.keep_s / 3600:g} hours.")
        return path

    def delete_old(self) -> None:
        """Delete what was kept for its time."""
        for path in self.folder.glob("*.png"):
            if self._is_old(path):
                path.unlink(missing_ok=True)  # another server may have been faster

    def delete_old_every(self, seconds: float) -> None:
        """Do so from now on, as long as the process lives."""

        def work() -> None:
            while True:
                time.sleep(seconds)
                self.delete_old()

        Thread(target=work, name="delete old results", daemon=True).start()

    def _is_old(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime > self.keep_s
        except FileNotFoundError:
            return True
