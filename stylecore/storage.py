"""Where results of many jobs lie: a folder here, or whatever fsspec reaches, as s3://bucket/folder or memory://folder.

A file is there whole or not at all: on this machine it takes its place when it is complete, and object stores show
nothing before an upload has ended.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecore.errors import ImageError, OutputError
from stylecore.files import make_folder, reason, write_file

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

REMOTE = "://"


class Storage:
    """A place for files by name.

    Args:
        place: a folder's path, or an address that fsspec knows.

    Raises:
        OutputError: fsspec knows no such protocol, or the package for it is missing.
    """

    def __init__(self, place: str) -> None:
        self.place = place = place.removeprefix("file://")
        self._fs: AbstractFileSystem | None = None
        self.root = place
        if REMOTE in place:
            self._fs, self.root = _filesystem(place)

    def prepare(self) -> None:
        """Make the folder, and raise an OutputError now if nothing could be written to it later."""
        if self._fs is None:
            make_folder(Path(self.place))
            return
        probe = f".stylecore-{secrets.token_hex(8)}.part"
        self.write(probe, b"")
        try:
            self._fs.rm_file(self._path(probe))
        except OSError as error:
            raise OutputError(f"'{self.place}' cannot be written to: {reason(error)}.") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all. Raises an OutputError where that is impossible."""
        if self._fs is None:
            path = Path(self.place) / name
            try:
                path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"'{path.parent}' could not be made: {reason(error)}.") from error
            write_file(path, data)
            return
        try:
            self._fs.pipe_file(self._path(name), data)
        except Exception as error:  # each kind of store has errors of its own
            raise OutputError(f"'{self.place}/{name}' could not be written: {reason(error)}.") from error

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if it is not there or may not be read."""
        try:
            if self._fs is None:
                return (Path(self.place) / name).read_bytes()
            return bytes(self._fs.cat_file(self._path(name)))
        except (OSError, KeyError):
            return None

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


def read_picture(place: str) -> bytes | str:
    """What `load_image` takes of a picture: the path of one here, the bytes of one that fsspec reaches.

    Raises:
        ImageError: it is not there.
    """
    if REMOTE not in place:
        return place
    fs, path = _filesystem(place)
    try:
        return bytes(fs.cat_file(path))
    except Exception as error:  # each kind of store has errors of its own
        raise ImageError(f"There is no image '{place}', or it may not be read: {reason(error)}.") from error


def list_pictures(place: str) -> list[str] | None:
    """The files of an address that names a folder or a pattern, sorted; None if it names a file."""
    fs, path = _filesystem(place)
    protocol = place.partition(REMOTE)[0]
    is_pattern = any(sign in path for sign in "*?[")
    if not is_pattern and not fs.isdir(path):
        return None
    found = fs.glob(path if is_pattern else f"{path.rstrip('/')}/*")
    return sorted(f"{protocol}{REMOTE}{each}" for each in found)


def _filesystem(place: str) -> tuple[Any, str]:
    import fsspec  # comes with torch

    try:
        return fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise OutputError(f"'{place}' needs another package: {reason(error)}.") from error
    except ValueError as error:
        raise OutputError(f"'{place}' is no address that fsspec knows: {reason(error)}.") from error
