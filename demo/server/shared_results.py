"""Results that their makers chose to share: PNGs in one folder, under names that nobody can guess, for a day."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path

from demo.server.settings import DISK_IS_FULL, Limits
from demo.server.uploads import own_folder
from stylecore.errors import OptionError
from stylecore.files import PARTS, replacing
from stylecore.images import read_settings

KEEP_HOURS = 24
TOKEN = re.compile(r"[\w-]{22}")  # 128 random bits


class KeptResults:
    """PNGs by their tokens. Several servers behind one address can share the folder.

    Args:
        folder: made if it is missing; None: one of this server's own, in the system's temporary folder.
        keep_s: seconds until a result is deleted.
    """

    def __init__(self, folder: Path | None = None, keep_s: float = KEEP_HOURS * 3600) -> None:
        self.folder = folder or own_folder(self, "kept")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep_s = keep_s

    def keep(self, path: Path) -> str:
        """Keep a copy of a PNG, and return its token.

        Raises:
            ImageError: no result of stylecore.
            OptionError: the disk is too full.
        """
        data = path.read_bytes()
        read_settings(data)  # any upload can be named here
        if not Limits.from_environment().has_room(self.folder):
            raise OptionError(DISK_IS_FULL)
        token = secrets.token_urlsafe(16)
        with replacing(self.folder / f"{token}.png") as file:  # a server that is killed leaves no half of it
            file.write(data)
        return token

    def find(self, token: str) -> Path:
        """The PNG. Raises an OptionError if there is none of that token, or none any more."""
        path = self.folder / f"{token}.png"
        if not TOKEN.fullmatch(token) or not path.is_file() or self._is_old(path):
            raise OptionError(f"This result is gone: shared results are deleted after {self.keep_s / 3600:g} hours.")
        return path

    def delete_old(self) -> None:
        """Delete what was kept for its time, and what a server that was killed while it wrote has left."""
        for pattern in ("*.png", PARTS):
            for path in self.folder.glob(pattern):
                if self._is_old(path):
                    path.unlink(missing_ok=True)  # another server may have been faster

    def _is_old(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime > self.keep_s
        except FileNotFoundError:
            return True
