"""Files that are written whole or not at all, and checksums of what they hold."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stylecore.errors import OutputError

PARTS = ".stylecore-*.part"  # files that `replacing` has not finished; a process that is killed leaves one
CHECKSUM_DIGITS = 12
ADDRESS = re.compile(r"data:|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib makes one slash of two; C:/ is a drive


@contextmanager
def replacing(target: Path) -> Iterator[io.BufferedWriter]:
    """A file that takes `target`'s place when the block ends well, and vanishes when it does not.

    Of a link it is the file behind it that is replaced.
    """
    target = Path(os.path.realpath(target))
    part = target.parent / PARTS.replace("*", secrets.token_hex(8))  # not mkstemp: its files are private
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all. Raises an OutputError where that is impossible."""
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"'{path}' could not be written: {reason(error)}.") from error
    return path


def changed_ns(path: Path) -> int:
    """When a file was last changed, in nanoseconds; 0 for none: with its path, what tells its content from another."""
    return path.stat().st_mtime_ns if is_file(path) else 0


def write_json(path: Path, value: Any, indent: int | None = 1) -> Path:
    """Write a value as JSON with a newline at its end. Raises an OutputError where that is impossible."""
    return write_file(path, json.dumps(value, indent=indent).encode() + b"\n")


def check_writable(path: str | os.PathLike[str], *suffixes: str) -> Path:
    """Raise an OutputError now if a file of such a kind could not be written to `path` later; nothing is created."""
    target = Path(path)
    try:
        file = Path(os.path.realpath(target))
        if file.is_dir():
            raise OutputError(f"The output '{target}' is a folder: name a file in it.")
        if target.suffix.lower() not in suffixes:
            raise OutputError(f"Name the output '{target.with_suffix(suffixes[0])}': {_a_file(suffixes)}.")
        check_folder(target if target.name == file.name else file)
        if file.exists() and not (file.is_file() and os.access(file, os.W_OK)):
            raise OutputError(f"The output '{target}' is there already and may not be written over.")
        with tempfile.TemporaryFile(dir=file.parent), suppress(FileNotFoundError):
            file.stat()  # refuses an impossible name
    except (OSError, ValueError) as error:
        raise OutputError(f"The output '{target}' cannot be written: {reason(error)}.") from error
    return target


def _a_file(suffixes: Sequence[str]) -> str:
    return f"it is a {suffixes[0]} file" if len(suffixes) == 1 else f"it is one of {', '.join(suffixes)}"


def check_folder(target: Path) -> None:
    """Raise an OutputError if there is no folder to write `target` to."""
    if not is_folder(target.parent):
        raise OutputError(f"There is no folder '{target.parent}' to write '{target.name}' to.")


def check_new_folder(folder: Path) -> None:
    """Raise an OutputError if there is no place for a folder that may be there already."""
    if is_file(folder):
        raise OutputError(f"The output '{folder}' is a file: name a folder.")
    if not is_folder(folder.absolute().parent):
        raise OutputError(f"There is no folder '{folder.parent}' to make '{folder.name}' in.")


def make_folder(folder: Path) -> None:
    """Make a folder that may be there already. Raises an OutputError if that is impossible, or nothing could be written
    to it later."""
    check_new_folder(folder)
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The folder '{folder}' cannot be written to: {reason(error)}.") from error


def plain_name(name: str) -> str:
    """In letters that every file system takes."""
    return re.sub(r"[^\w.]+", "-", name.replace("%", "pct"))


def is_file(path: Path) -> bool:
    """`Path.is_file`; False for a name that no file can have, where that raises."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """`Path.is_dir`; False for a name that no folder can have, where that raises."""
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def is_one_of(target: Path, paths: Iterable[object]) -> bool:
    """Whether a file that is there is the same as one of others, whatever they are called; what is no path is none."""
    named = [path for path in paths if isinstance(path, str | os.PathLike)]
    return is_file(target) and any(is_file(path) and target.samefile(path) for path in map(Path, named))


def is_address(path: object) -> bool:
    """Whether a path is no path but where something lies in the net."""
    return bool(ADDRESS.match(str(path)))


def reason(error: Exception) -> str:
    """What the system says went wrong, without the path that our own sentence names already."""
    return getattr(error, "strerror", None) or str(error)


def checksum(data: bytes) -> str:
    """The first `CHECKSUM_DIGITS` hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:CHECKSUM_DIGITS]
