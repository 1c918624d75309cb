"""The picture of the Stylize tab: live while a job runs, then beside its photo, blended with it as far as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import torch

from stylecore.images import load_image, read_settings

from ..live import Frame
from ..server.messages import friendly_errors
from ..server.queue import AT_ONCE
from ..server.uploads import save_frame, save_png, uploaded
from ..theme import picture_slider
from . import progress

HEIGHT_PX = 440
ALL = 100  # of the result: nothing of the photo shines through
# The upper picture of the slider is the result. What the eye sees is the browser's work; the file follows on release.
BLEND = """(share) => {
    document.querySelector('#slider')?.style.setProperty('--blend', share / 100);
}"""


class ResultView:
    """Live picture, slider and blend in one place; made inside a `gr.Blocks`."""

    def __init__(self, first: tuple[str, str] | None) -> None:
        self.stale = gr.HTML(progress.stale(False), elem_id="stale")
        with gr.Column(elem_id="stage"):
            self.live = gr.Image(
                label="Result",
                interactive=False,
                height=HEIGHT_PX,
                elem_id="live",
                buttons=["fullscreen"],
                alt_text="Result",
                visible=first is None,
            )
            self.slider = picture_slider(
                "Photo and result",
                HEIGHT_PX,
                value=first,
                elem_id="slider",
                slider_position=20,  # most of it is the result
                visible=first is not None,
            )
        self.blend = gr.Slider(
            0, ALL, ALL, step=1, label="Blend", info="The photo shines through; the PNG has it too", visible=False,
            elem_id="blend", buttons=[],
        )  # fmt: skip
        self.photo = gr.State("")  # of the result, in its size
        self.whole = gr.State("")  # the result's PNG as it was painted

    @property
    def outputs(self) -> list[Any]:
        """All that its methods change."""
        return [self.live, self.slider, self.blend, self.photo, self.whole]

    def wire(self, download: gr.DownloadButton) -> None:
        """Blend what is seen while the slider moves, and what is downloaded when it is let go."""
        self.blend.change(None, self.blend, None, js=BLEND)
        self.blend.release(_blended, [self.blend, self.photo, self.whole], download, **AT_ONCE)

    def show_frame(self, frame: Frame) -> dict[Any, Any]:
        """A moment of a running job."""
        return {self.live: save_frame(frame.image, frame.jpeg)}

    def show_beginning(self) -> dict[Any, Any]:
        """The live picture takes the place of the last result."""
        return {
            self.slider: gr.ImageSlider(visible=False),
            self.live: gr.Image(visible=True),
            self.blend: gr.Slider(visible=False),
        }

    def show_pair(self, photo: str, result: str, whole: str = "") -> dict[Any, Any]:
        """Photo and result; `whole` is the PNG that can be blended, where there is one."""
        return {
            self.live: gr.Image(visible=False),
            self.slider: gr.ImageSlider((photo, result), visible=True, label="Photo and result"),
            self.blend: gr.Slider(value=ALL, visible=bool(whole)),
            self.photo: photo,
            self.whole: whole,
        }

    def compare(self, one: str, other: str) -> dict[Any, Any]:
        """Two results, with the handle between them."""
        return {self.slider: gr.ImageSlider((one, other), visible=True, label="Two of your pictures")}


def _blended(share: float, photo: str, whole: str) -> str:
    """The result with the photo shining through, as a PNG that says so."""
    if not whole or share >= ALL:
        return whole
    with friendly_errors():
        painted = uploaded({"path": whole}, "result")
        image = torch.lerp(load_image(uploaded({"path": photo}, "photo")), load_image(painted), share / ALL)
        name = f"{Path(whole).stem}_{share:.0f}.png"
        return save_png(image, name, read_settings(painted) | {"blended": f"{share / ALL:.2f}"})
