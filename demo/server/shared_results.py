"""What visitors chose to share: results and comparisons, each a folder whose name nobody can guess, for 30 days."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stylecore.errors import OptionError, OutputError
from stylecore.files import PARTS, reason

from .folders import own_folder, writable_folder
from .limits import RateLimit
from .messages import DISK_IS_FULL
from .settings import Settings

TOKEN = re.compile(r"[\w-]{22}", re.ASCII)  # 128 random bits
RECORD = "record.json"
GONE = "This is gone: what is shared is deleted after {:g} days, or when whoever shared it takes it back."
TOO_MANY = "You have shared {:g} things within the hour: try again later."
FOLDER_IS_FULL = "This server stores no more shared things for now: try again later, or download yours."
HOUR_S, DAY_S = 3600, 24 * 3600


@dataclass(frozen=True)
class SharedRecord:
    """What is said of a shared thing."""

    kind: str  # "r": a result, "c": a comparison
    title: str  # in words
    description: str
    settings: str = ""  # a query of the page that has them; "": there is none
    variants: tuple[str, ...] = ()  # names of a comparison's
    key: str = ""  # checksum of the secret by which it is taken back


@dataclass(frozen=True)
class Shared:
    """A shared thing that was found."""

    token: str
    folder: Path
    record: SharedRecord

    def file(self, name: str) -> Path | None:
        """One of its files; None if it has none of that name."""
        path = self.folder / name
        return path if name in {each.name for each in self.folder.iterdir()} else None


class SharedResults:
    """Folders by their tokens. Several servers behind one address can have the parent in common.

    Args:
        settings: of the server; names the folder, which is made if it is missing.
        max_age_s: seconds until a shared thing is deleted; default: as the settings have it.

    Raises:
        OptionError: the folder cannot be written.
    """

    def __init__(self, settings: Settings, max_age_s: float | None = None) -> None:
        self.settings = settings
        given = settings.shared_results
        self.folder = writable_folder(given, "--shared-results") if given else own_folder(self, "shared-results")
        self.max_age_s = settings.shared_days * DAY_S if max_age_s is None else max_age_s
        self._limit = RateLimit(settings.client_shares, HOUR_S)

    def add(self, record: SharedRecord, files: Mapping[str, bytes], visitor: str = "") -> tuple[str, str]:
        """Store files with what is said of them; returns the token, and the key by which it is taken back.

        Raises:
            OptionError: the disk or the folder is too full, or the visitor has shared too much of late.
            OutputError: the folder cannot be written any more.
        """
        if not self.settings.has_room(self.folder):
            raise OptionError(DISK_IS_FULL)
        if self._used_mib() > self.settings.shared_mib:
            raise OptionError(FOLDER_IS_FULL)
        if not self._limit.allows(visitor):
            raise OptionError(TOO_MANY.format(self.settings.client_shares))
        token, key = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        stored = asdict(record) | {"key": _checksum(key)}
        part = self.folder / PARTS.replace("*", token)
        try:
            part.mkdir()
            for name, data in {**files, RECORD: json.dumps(stored).encode()}.items():
                (part / name).write_bytes(data)
            part.rename(self.folder / token)  # a server that is killed leaves no half of it
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise OutputError(f"'{part}' could not be written: {reason(error)}.") from error
        return token, key

    def find(self, token: str, kind: str) -> Shared:
        """What has that token. Raises an OptionError if nothing of that kind has, or nothing has any more."""
        folder = self.folder / token
        if TOKEN.fullmatch(token) and folder.is_dir() and not self._is_old(folder):
            try:
                record = SharedRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):  # of a version that has other records
                record = None
            if record is not None and record.kind == kind:
                return Shared(token, folder, record)
        raise OptionError(GONE.format(self.max_age_s / DAY_S))

    def take_back(self, token: str, kind: str, key: str) -> None:
        """Delete it. Raises an OptionError if it is gone already, or the key is another's."""
        shared = self.find(token, kind)
        if not secrets.compare_digest(_checksum(key), shared.record.key):
            raise OptionError("Only the browser that shared this can take it back.")
        shutil.rmtree(shared.folder, ignore_errors=True)

    def delete_old(self) -> None:
        """Delete things after their time, and what a server that was killed while it wrote has left."""
        things = [path for path in self.folder.iterdir() if TOKEN.fullmatch(path.stem)]  # PNGs, of earlier versions
        old = [path for path in things if self._is_old(path)]
        old += [path for path in self.folder.glob(PARTS) if _age_s(path) > HOUR_S]
        for path in old:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)  # another server may have been faster

    def _used_mib(self) -> float:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / 2**20

    def _is_old(self, path: Path) -> bool:
        return _age_s(path) > self.max_age_s


def _age_s(path: Path) -> float:
    """Endless of what is not there any more."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _checksum(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
