"""Between Gradio and the jobs: uploads in, files out."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from stylecore import ImageError, ImageNote, StylizeConfig, load_image, save_image
from stylecore.images import ImageTensor
from stylecore.job import Job

from ..live import frame_jpeg
from .folders import new_file


def read_job(
    content: Any, styles: Sequence[Any], config: StylizeConfig, opened: dict[Path, ImageTensor] | None = None
) -> Job:
    """A job on uploads as Gradio hands them over; the user is told what was converted.

    Args:
        opened: pictures that need not be opened again, by their files; others are added.

    Raises:
        ImageError: a picture that is missing, no upload, or no image.
        OptionError: style weights that do not fit the styles.
    """
    if not isinstance(styles, list | None):  # a program may send anything
        raise ImageError("The styles must be a list of uploaded files.")
    styles = styles or [None]
    roles = ["photo", *(["style"] if len(styles) < 2 else [f"style {number}" for number in range(1, len(styles) + 1)])]
    paths = [uploaded(upload, role) for upload, role in zip((content, *styles), roles, strict=True)]
    opened = {} if opened is None else opened
    for path, role in zip(paths, roles, strict=True):
        if path not in opened:
            opened[path] = _open(path, role)
    images = [opened[path] for path in paths]
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
    except (ValueError, OSError) as error:  # no such dict, or none that names a path
        raise ImageError(f"The {role} must be an uploaded file.") from error
    # Gradio looks at this too, but only in dicts that call themselves files: nobody may name a file of the server.
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise ImageError(f"The {role} must be an uploaded file.")
    return path


def is_there(path: str) -> bool:
    """Whether that is an upload, or was made here, and has not been deleted."""
    with suppress(ImageError):
        return uploaded({"path": path}, "picture").is_file()
    return False


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
        except OSError as error:
            raise ImageError(f"The {role} is not on the server any more: choose it again.") from error
        except ImageError as error:
            raise ImageError(f"The {role} cannot be used. {error}") from error
    return image, [f"About the {role}: {warning.message}" for warning in caught]


def save_frame(image: ImageTensor, jpeg: bytes = b"") -> str:
    """A live frame as a JPEG that Gradio serves; `jpeg` where that is made already."""
    path = new_file("frame.jpg")
    path.write_bytes(jpeg or frame_jpeg(image))
    return str(path)


def save_png(image: ImageTensor, name: str, settings: Mapping[str, Any] | None = None) -> str:
    """An image as a PNG that Gradio serves."""
    return str(save_image(image, new_file(name), None if settings is None else dict(settings)))


def publish(path: Path, name: str | None = None) -> str:
    """A copy of a file that Gradio serves."""
    copy = new_file(name or path.name)
    copy.write_bytes(path.read_bytes())
    return str(copy)
