"""A part of the photo that is painted over with a brush: there the photo stays, or another style is taken."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from stylecore.errors import OptionError
from stylecore.images import fit_size, image_size, resize_image
from stylecore.job import Job, SavedSettings
from stylecore.regions import Region
from stylecore.report.page import data_uri

from ..server.gradio_internals import take_no_blobs
from ..server.messages import friendly_errors
from ..server.paintings import Paintings
from ..server.queue import BESIDE_JOBS
from ..server.uploads import read_picture, save_frame, uploaded
from .url_state import Control, choice_control

KEEP, SECOND = "keep", "second"
WORDS = {KEEP: "keeps the photo", SECOND: "gets style 2"}
CANVAS_PX = 640  # longer side of what is painted on: strokes need not be finer
BRUSH = "rgba(255, 45, 85, 0.6)"


class Painter:
    """The brush, and what becomes of what it painted; made inside a `gr.Blocks`.

    The painting is a text among the controls, its checksum, which an address and a PNG's settings can have.
    """

    def __init__(self, photo: gr.Image) -> None:
        self.paintings = Paintings()
        self.checksum = gr.Textbox("", visible=False)  # of what is painted; empty: nothing
        with gr.Accordion("Paint a part of the photo", open=False, elem_id="painter"):
            self.use = gr.Radio([(words, use) for use, words in WORDS.items()], value=KEEP, label="What is painted")
            self.begin = gr.Button("Paint on the photo", size="md", elem_id="paint")
            # Without listeners of its own: its pictures then come as uploads, within the limits of all uploads.
            self.editor = take_no_blobs(
                gr.ImageEditor(
                    label="Brush",
                    visible=False,
                    sources=(),
                    transforms=(),
                    layers=False,
                    buttons=[],
                    brush=gr.Brush(colors=[BRUSH], color_mode="fixed", default_size=50),
                    height=380,
                    format="png",
                    elem_id="canvas",
                )
            )
            with gr.Row():
                self.done = gr.Button("Use what is painted", size="md", visible=False, min_width=150)
                self.forget = gr.Button("Forget it", size="md", visible=False, min_width=150)
            self.shown = gr.HTML(visible=False, elem_id="painted")
        tools = [self.editor, self.done, self.forget]
        self.begin.click(self._begin, photo, tools, preprocess=False, **BESIDE_JOBS)
        self.done.click(self._use, self.editor, [self.checksum, *tools], preprocess=False, **BESIDE_JOBS)
        self.forget.click(self._forget, None, [self.checksum, *tools], **BESIDE_JOBS)
        self.checksum.change(self._show, self.checksum, [self.shown, self.forget], **BESIDE_JOBS)

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        use = choice_control(self.use, "use of what is painted", [*WORDS])
        return {"painted": use, "mask": Control(self.checksum, self._read, lambda checksum: checksum or None)}

    def takes_second(self, values: Mapping[Any, Any]) -> bool:
        """Whether style 2 is for what is painted, and not mixed with the others."""
        return bool(values[self.checksum]) and values[self.use] == SECOND

    def add_to(self, job: Job, values: Mapping[Any, Any], second: Any) -> Job:
        """The job with what is painted as a region; `second` is the upload of style 2.

        Raises:
            ImageError, OptionError: the painting is gone or of another photo, or there is no style 2.
        """
        checksum = values[self.checksum]
        if not checksum:
            return job
        mask = self.paintings.mask(str(checksum))
        size = image_size(mask.image)
        if any(abs(a - b) > 2 for a, b in zip(fit_size(image_size(job.content), max(size)), size, strict=True)):
            raise OptionError("What is painted is of a photo of another shape: paint again, or press Forget it.")
        if not self.takes_second(values):
            return replace(job, regions=(Region(mask, weight=0.0),))
        if not second:
            raise OptionError("What is painted gets style 2: choose it under Mix in more styles.")
        path = uploaded(second, "style 2")
        style, _ = read_picture(path, "style 2")
        return replace(job, regions=(Region(mask, style, style_name=path.name),))

    def saved(self, saved: SavedSettings) -> dict[str, str]:
        """What a PNG says of it, as a link has it; a painting that is not here any more is none."""
        (region,) = saved.regions if len(saved.regions) == 1 else [None]
        if region is None or not self._is_there(region.mask.checksum):
            return {"painted": KEEP, "mask": ""}
        return {"painted": SECOND if region.weight else KEEP, "mask": region.mask.checksum}

    def _is_there(self, checksum: str) -> bool:
        try:
            self.paintings.path(checksum)
        except OptionError:
            return False
        return True

    def _read(self, checksum: str) -> str:
        if checksum:
            self.paintings.path(checksum)
        return checksum

    def _begin(self, photo: Any) -> list[Any]:
        with friendly_errors():
            image, _ = read_picture(uploaded(photo, "photo"), "photo")
        size = image_size(image)
        canvas = save_frame(resize_image(image, *fit_size(size, min(CANVAS_PX, max(size)))))
        value: Any = {"background": canvas, "layers": [], "composite": None}
        return [gr.ImageEditor(value, visible=True), gr.Button(visible=True), gr.Button(visible=True)]

    def _use(self, painting: Any) -> list[Any]:
        with friendly_errors():
            checksum = self.paintings.add(painting["layers"] if isinstance(painting, dict) else [])
        return [checksum, *self._put_away()]

    def _forget(self) -> list[Any]:
        return ["", *self._put_away()]

    def _put_away(self) -> list[Any]:
        return [gr.ImageEditor(None, visible=False), gr.Button(visible=False), gr.Button(visible=False)]

    def _show(self, checksum: str) -> list[Any]:
        """The mask as the photo will know it."""
        if not checksum or not self._is_there(checksum):
            return [gr.HTML(visible=False), gr.Button(visible=False)]
        picture, share = _thumbnail(self.paintings.path(checksum))
        words = f"<p>{share:.0%} of the photo is painted (white).</p>"
        return [gr.HTML(f"<img src='{picture}' alt='What is painted'>{words}", visible=True), gr.Button(visible=True)]


def _thumbnail(path: Path) -> tuple[str, float]:
    """A mask as a small picture inside an address, and its mean."""
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.thumbnail((160, 160))
    file = io.BytesIO()
    grey.save(file, "PNG")
    histogram = grey.histogram()
    mean = sum(level * number for level, number in enumerate(histogram)) / (255 * sum(histogram))
    return data_uri(file.getvalue(), "png"), mean
