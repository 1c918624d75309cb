"""Results that their makers chose to share: PNGs in one folder, under names that nobody can guess, for a day."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path

from stylecore.errors import OptionError
from stylecore.files import PARTS, replacing
from stylecore.images import read_settings

from .folders import own_folder, writable_folder
from .messages import DISK_IS_FULL
from .settings import Settings

SHARED_HOURS = 24
TOKEN = re.compile(r"[\w-]{22}")  # 128 random bits


class SharedResults:
    """PNGs by their tokens. Several servers behind one address can have the folder in common.

    Args:
        settings: of the server; names the folder, which is made if it is missing.
        max_age_s: seconds until a result is deleted.

    Raises:
        OptionError: the folder cannot be written.
    """

    def __init__(self, settings: Settings, max_age_s: float = SHARED_HOURS * 3600) -> None:
        self.settings = settings
        given = settings.shared_results
        self.folder = writable_folder(given, "--shared-results") if given else own_folder(self, "shared-results")
        self.max_age_s = max_age_s

    def add(self, path: Path) -> str:
        """Store a copy of a PNG, and return its token.

        Raises:
            ImageError: no result of stylecore.
            OptionError: the disk is too full.
        """
        data = path.read_bytes()
        read_settings(data)  # any upload can be named here
        if not self.settings.has_room(self.folder):
            raise OptionError(DISK_IS_FULL)
        token = secrets.token_urlsafe(16)
        with replacing(self.folder / f"{token}.png") as file:  # a server that is killed leaves no half of it
            file.write(data)
        return token

    def find(self, token: str) -> Path:
        """The PNG. Raises an OptionError if no result has that token, or none has any more."""
        path = self.folder / f"{token}.png"
        if not TOKEN.fullmatch(token) or not path.is_file() or self._is_old(path):
            hours = self.max_age_s / 3600
            raise OptionError(f"This result is gone: shared results are deleted after {hours:g} hours.")
        return path

    def delete_old(self) -> None:
        """Delete results after their time, and what a server that was killed while it wrote has left."""
        for pattern in ("*.png", PARTS):
            for path in self.folder.glob(pattern):
                if self._is_old(path):
                    path.unlink(missing_ok=True)  # another server may have been faster

    def _is_old(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime > self.max_age_s
        except FileNotFoundError:
            return True
