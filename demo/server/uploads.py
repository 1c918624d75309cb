"""Between Gradio and the jobs: uploads in, files out, errors said kindly."""

import errno
import secrets
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image
from pydantic import ValidationError

from stylecore import ImageError, ImageNote, StylecoreError, StylizeConfig, load_image, save_image
from stylecore.images import ImageTensor, to_uint8
from stylecore.job import Job

from .export_package import export_errors
from .settings import DISK_IS_FULL

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FRAME_QUALITY = 92  # of the live JPEG frames; results are PNG


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Show what stylecore and export say to the user, or that the disk is full, without a traceback."""
    try:
        yield
    except _user_errors() as error:
        raise gr.Error(message_of(error), print_exception=False) from error


def _user_errors() -> tuple[type[Exception], ...]:
    return StylecoreError, OSError, *export_errors()


def message_of(error: Exception) -> str:
    """What a visitor is told: of a full disk without the server's folders. Raises OSErrors that mean something else."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in FULL_DISK:
        return DISK_IS_FULL
    if cause is error:
        raise error
    return str(error)


def read_job(content: Any, styles: Sequence[Any], config: StylizeConfig) -> Job:
    """A job on uploads as Gradio hands them over; the user is told what was converted.

    Raises:
        ImageError: a picture that is missing, no upload, or no image; `friendly_errors` makes it a message.
        OptionError: style weights that do not fit the styles.
    """
    roles = ["photo", *(["style"] if len(styles) < 2 else [f"style {number}" for number in range(1, len(styles) + 1)])]
    paths = [uploaded(upload, role) for upload, role in zip((content, *(styles or [None])), roles, strict=True)]
    images = [_open(path, role) for path, role in zip(paths, roles, strict=True)]
    return Job(images[0], tuple(images[1:]), config, tuple(path.name for path in paths))


def uploaded(upload: Any, role: str) -> Path:
    """The file behind an upload: the dict of a `gr.FileData`, or None for an empty input.

    Raises:
        ImageError: nothing was uploaded, or the dict names another file.
    """
    if upload is None:
        raise ImageError(f"Choose a {role} first.")
    try:
        path = Path(gr.FileData.model_validate(upload).path).resolve()
    except ValidationError as error:
        raise ImageError(f"The {role} must be an uploaded file.") from error
    # Gradio looks at this too, but only in dicts that call themselves files: nobody may name a file of the server.
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise ImageError(f"The {role} must be an uploaded file.")
    return path


def _open(path: Path, role: str) -> ImageTensor:
    image, notes = read_picture(path, role)
    for note in notes:
        gr.Info(note)
    return image


def read_picture(path: Path, role: str) -> tuple[ImageTensor, list[str]]:
    """A file as a tensor, and notes for the user; `role` says which of the pictures a note or error is about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImageNote)
        try:
            # The bytes, not the path: messages would name the server's folders.
            image = load_image(path.read_bytes())
        except FileNotFoundError as error:
            raise ImageError(f"The {role} is not on the server any more: choose it again.") from error
        except ImageError as error:
            raise ImageError(f"The {role} cannot be used. {error}") from error
    return image, [f"About the {role}: {warning.message}" for warning in caught]


def save_frame(image: ImageTensor) -> str:
    """A live frame as a JPEG that Gradio serves."""
    path = new_file("frame.jpg")
    Image.fromarray(to_uint8(image)).save(path, quality=FRAME_QUALITY, subsampling=0)
    return str(path)


def save_png(image: ImageTensor, name: str, settings: Mapping[str, Any] | None = None) -> str:
    """An image as a PNG that Gradio serves."""
    return str(save_image(image, new_file(name), None if settings is None else dict(settings)))


def publish(path: Path, name: str | None = None) -> str:
    """A copy of a file that Gradio serves."""
    copy = new_file(name or path.name)
    copy.write_bytes(path.read_bytes())
    return str(copy)


def new_file(name: str) -> Path:
    """In a new folder of Gradio's cache that nobody can guess; the app's `delete_cache` empties it in time."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder / name


def own_folder(owner: object, name: str) -> Path:
    """A temporary folder that is deleted with its owner, or at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"stylecore-{name}-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
