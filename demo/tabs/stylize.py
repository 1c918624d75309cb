"""The Stylize tab: live frames of one job, and its result beside the photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from stylecore.images import resize_image
from stylecore.job import SavedSettings

from ..components import progress
from ..components.job_button import JobButton
from ..components.url_state import Control, UrlState, encoded
from ..live import Frame, run_job
from ..server.messages import message_of
from ..server.queue import AT_ONCE
from ..server.shared_results import SHARED_HOURS
from ..server.uploads import publish, save_frame, save_png, uploaded
from ..theme import picture_slider
from .base import Tab

HEIGHT_PX = 440
# Before the address is written, which has the result while its settings are these (url_state.WRITE).
LINK = """(query) => {
    const [settings, token] = query.split("&result=");
    window.shared = {token, settings};
    return location.origin + location.pathname + "?" + query;
}"""


class StylizeTab(Tab):
    """One job, and the link under which its result is shared."""

    name, label = "stylize", "Stylize"

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address: the shared result."""
        return {"result": Control(self.token, write=lambda token: token or None)}

    def lay_out(self) -> None:
        """The button, the live picture and the slider in one place, the status, and what can be done with a result."""
        self.button = JobButton("Stylize", self.services.jobs)
        self.live = gr.Image(
            label="Result",
            interactive=False,
            height=HEIGHT_PX,
            elem_id="live",
            buttons=["fullscreen"],
            alt_text="Result",
        )
        self.slider = picture_slider(
            "Photo and result",
            HEIGHT_PX,
            elem_id="slider",
            slider_position=20,  # most of it is the result
            visible=False,
        )
        self.status = gr.HTML(progress.message(progress.READY), elem_id="status")
        with gr.Row():
            self.download = gr.DownloadButton("Download PNG with its settings", interactive=False)
            self.share = gr.Button("Share this result", interactive=False)
        self.link = gr.Textbox(
            label="Link",
            info=f"Whoever has it sees this result and its settings, for {SHARED_HOURS} hours.",
            buttons=["copy"],
            max_lines=2,
            interactive=False,
            visible=False,
            elem_id="link",
        )
        self.curves = gr.HTML(visible=False, label="Curves", show_label=True, container=True, padding=True)
        self.token = gr.Textbox("", visible=False)  # of the result in the address
        self.query = gr.Textbox("", visible=False)  # of the link

    def wire(self) -> None:
        """The button starts the job."""
        outputs = [self.live, self.slider, self.status, self.download, self.share, self.curves]
        outputs += [self.link, self.token]
        self.button.runs(self.run, self.inputs.components, outputs, status=self.status)

    def connect(self, url_state: UrlState) -> None:
        """Share makes a link to the result; an address with a result shows it."""
        told = [self.token, self.query, self.link, self.status]
        shared = self.share.click(self._share, self.download, told, preprocess=False, **AT_ONCE)
        url_state.write_after(shared.success(None, self.query, self.link, js=LINK))
        shown = [self.live, self.slider, self.status, self.download, self.curves]
        url_state.restored.then(self._show_shared, self.token, shown, **AT_ONCE)

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Live frames, then the result: of a job that was stopped, or in which something went wrong, its last frame."""
        frames = run_job(self.inputs.read_job(values))
        frame, ending, begins = next(frames), "Done", self._show_beginning()
        try:
            yield self.button.running() | self._show_frame(frame)
            for frame in frames:
                if self.button.is_stopped(request):
                    ending = "Stopped"
                    break
                yield self._show_frame(frame) | begins
                begins = {}
        except Exception as error:
            frame = replace(frame, trouble=message_of(error))
        if frame.trouble and not frame.step:
            yield {self.status: progress.failure(frame.trouble)}
        else:
            yield begins | self._show_result(frame, "Ended early" if frame.trouble else ending)

    def _show_beginning(self) -> dict[Any, Any]:
        """With the first step, the live picture takes the place of the last result."""
        return {
            self.slider: gr.ImageSlider(visible=False),
            self.live: gr.Image(visible=True),
            self.download: gr.DownloadButton(interactive=False),
            self.share: gr.Button(interactive=False),
            self.link: gr.Textbox(visible=False),
            self.token: "",
        }

    def _show_frame(self, frame: Frame) -> dict[Any, Any]:
        return {
            self.live: save_frame(frame.image),
            self.status: progress.status(frame),
            self.curves: gr.HTML(progress.curves(frame), visible=True) if frame.losses else gr.skip(),
        }

    def _show_result(self, frame: Frame, ending: str) -> dict[Any, Any]:
        job = frame.job
        before = save_png(resize_image(job.content, *job.size), "photo.png")
        after = save_png(frame.image, f"{job.name}.png", job.settings())
        return {
            self.live: gr.Image(visible=False),
            self.slider: gr.ImageSlider((before, after), visible=True),
            self.status: progress.status(frame, ending),
            self.curves: gr.HTML(progress.curves(frame), visible=bool(frame.losses)),
            self.download: gr.DownloadButton(value=after, interactive=True),
            self.share: gr.Button(interactive=True),
        }

    def _share(self, result: Any) -> dict[Any, Any]:
        """The link has the picture's own settings, wherever the controls are by now."""
        try:
            path = uploaded(result, "result")
            settings = encoded(self.inputs.saved_settings(SavedSettings.read(path)))
            token = self.services.shared_results.add(path)
        except Exception as error:
            return {self.status: progress.failure(message_of(error))}
        return {self.token: token, self.query: f"{settings}&result={token}", self.link: gr.Textbox(visible=True)}

    def _show_shared(self, token: str) -> dict[Any, Any]:
        if not token:
            return {self.live: gr.skip()}
        try:
            path = publish(self.services.shared_results.find(token), "shared_result.png")
        except Exception as error:
            return {self.status: progress.failure(message_of(error))}
        return {
            self.live: gr.Image(path, visible=True),
            self.slider: gr.ImageSlider(visible=False),
            self.status: progress.message(progress.SHARED, 1.0),
            self.download: gr.DownloadButton(value=path, interactive=True),
            self.curves: gr.HTML(visible=False),
        }
