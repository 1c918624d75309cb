"""Between Gradio and the jobs: uploads in, files out, errors said kindly."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image
from pydantic import ValidationError

from demo.jobs import Frame, read_picture, run_job
from stylecore import ImageError, StylecoreError, StylizeConfig, save_image
from stylecore.images import ImageTensor, to_uint8

# One job at a time on the machine, whoever asks for it: two at once would both take twice as long.
ONE_JOB: dict[str, Any] = {"concurrency_id": "stylize", "concurrency_limit": 1}
FRAME_QUALITY = 92  # of the live JPEG frames; results are PNG


@contextmanager
def friendly_errors() -> Iterator[None]:
    """What stylecore says to the user, without a traceback."""
    try:
        yield
    except StylecoreError as error:
        raise gr.Error(str(error), print_exception=False) from error


def start_job(content: Any, style: Any, config: StylizeConfig) -> Iterator[Frame]:
    """Frames of a job on two uploads as Gradio hands them over; what was converted is told to the user.

    Raises:
        ImageError, OptionError, ...: before or with the first frame; `friendly_errors` turns them into messages.
    """
    content_path, style_path = _uploaded(content, "photo"), _uploaded(style, "style")
    photo, painting = _open(content_path, "photo"), _open(style_path, "style")
    return run_job(photo, painting, config, name=f"{content_path.stem}_{style_path.stem}")


def _uploaded(upload: Any, role: str) -> Path:
    """The file behind an upload: the dict of a `gr.FileData`, or None for an empty input."""
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


def save_frame(frame: Frame) -> str:
    """A live frame as a JPEG that Gradio serves."""
    path = _new_file(f"step_{frame.step}.jpg")
    Image.fromarray(to_uint8(frame.image)).save(path, quality=FRAME_QUALITY, subsampling=0)
    return str(path)


def save_result(frame: Frame) -> str:
    """A frame as a PNG with its settings inside that Gradio serves."""
    path = _new_file(f"{frame.name}.png")
    return str(save_image(frame.image, path, {"config": frame.config.to_dict()}))


def _new_file(name: str) -> Path:
    """In a new folder of Gradio's cache that nobody can guess; the app's `delete_cache` empties it in time."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder / name
