"""Where the server's files lie: folders that can be written, and what is made for one visitor."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from pathlib import Path

from gradio.utils import get_upload_folder

from stylecore.errors import OptionError
from stylecore.files import reason

MAX_NAME_BYTES = 140  # of a file: file systems take 255, encrypted ones 143, and Gradio puts some in front
THIS_SERVER = secrets.token_hex(8)  # begins the folders of `new_file`: others may serve from the same upload folder


def writable_folder(folder: Path, option: str) -> Path:
    """The folder, made if it is missing; `option` named it.

    Raises:
        OptionError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, ValueError) as error:
        why = reason(error)
        raise OptionError(f"The folder '{folder}' cannot be written ({why}): name another by {option}.") from error


def own_folder(owner: object, name: str) -> Path:
    """A temporary folder that is deleted with its owner, or at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"stylecore-{name}-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_file(name: str) -> Path:
    """In a new folder of Gradio's cache that nobody can guess, under no more of the name than a file may have."""
    folder = Path(get_upload_folder()) / f"{THIS_SERVER}{secrets.token_hex(16)}"
    folder.mkdir(parents=True)
    return folder / bounded(name)


def delete_new_files() -> None:
    """All that this server's `new_file` has made."""
    for folder in Path(get_upload_folder()).glob(f"{THIS_SERVER}*/"):
        shutil.rmtree(folder, ignore_errors=True)


def bounded(name: str) -> str:
    """A file's name cut to `MAX_NAME_BYTES` of UTF-8 before its suffix."""
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix).encode(errors="replace")[: MAX_NAME_BYTES - len(suffix.encode())]
    return stem.decode(errors="ignore") + suffix
