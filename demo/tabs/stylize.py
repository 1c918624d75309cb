"""The Stylize tab: live frames of one job, and its result beside the photo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from stylecore import StylecoreError
from stylecore.images import resize_image

from ..components import progress
from ..components.job_button import JobButton
from ..components.url_state import Control, UrlState
from ..live import Frame, run_job
from ..server.queue import AT_ONCE
from ..server.shared_results import SHARED_HOURS
from ..server.uploads import friendly_errors, message_of, publish, save_frame, save_png, uploaded
from ..theme import picture_slider
from .base import Tab

HEIGHT_PX = 440
LINK = "(query) => location.origin + location.pathname + '?' + query"


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
        self.token = gr.Textbox("", visible=False)

    def wire(self) -> None:
        """The button starts the job."""
        outputs = [self.live, self.slider, self.status, self.download, self.share, self.curves]
        outputs += [self.link, self.token]
        self.button.runs(self.run, self.inputs.components, outputs, status=self.status, at_start=self._forget_result)

    def connect(self, url_state: UrlState) -> None:
        """Share puts the result into the address; an address with a result shows it."""
        told = [self.token, self.link, self.status]
        shared = self.share.click(self._share, self.download, told, preprocess=False, **AT_ONCE)
        url_state.write_after(shared).success(None, url_state.query, self.link, js=LINK)
        shown = [self.live, self.slider, self.status, self.download, self.curves]
        url_state.restored.then(self._show_shared, self.token, shown, **AT_ONCE)

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Live frames, then the result; a stopped job's result is its last frame."""
        ending = "Done"
        with friendly_errors():
            job = self.inputs.read_job(values)
            yield self.button.running() | {
                self.slider: gr.ImageSlider(visible=False),
                self.live: gr.Image(visible=True),
            }
            for frame in run_job(job):
                if self.button.is_stopped(request):
                    ending = "Stopped"
                    break
                yield {
                    self.live: save_frame(frame.image),
                    self.status: progress.status(frame),
                    self.curves: gr.HTML(progress.curves(frame), visible=bool(frame.losses)),
                }
            if frame.trouble:
                gr.Warning(frame.trouble)
                ending = "Ended early"
            yield self._show_result(frame, ending)

    def _forget_result(self) -> dict[Any, Any]:
        return {
            self.download: gr.DownloadButton(interactive=False),
            self.share: gr.Button(interactive=False),
            self.link: gr.Textbox(visible=False),
            self.token: "",
        }

    def _show_result(self, frame: Frame, ending: str) -> dict[Any, Any]:
        job = frame.job
        before = save_png(resize_image(job.content, *job.size), "photo.png")
        after = save_png(frame.image, f"{job.name}.png", job.settings())
        return {
            self.live: gr.Image(visible=False),
            self.slider: gr.ImageSlider((before, after), visible=True),
            self.status: progress.status(frame, ending),
            self.curves: progress.curves(frame),
            self.download: gr.DownloadButton(value=after, interactive=True),
            self.share: gr.Button(interactive=True),
        }

    def _share(self, result: Any) -> dict[Any, Any]:
        try:
            token = self.services.shared_results.add(uploaded(result, "result"))
        except (StylecoreError, OSError) as error:
            return {self.status: progress.message(message_of(error))}
        return {self.token: token, self.link: gr.Textbox(visible=True)}

    def _show_shared(self, token: str) -> dict[Any, Any]:
        if not token:
            return {self.live: gr.skip()}
        try:
            path = publish(self.services.shared_results.find(token), "shared_result.png")
        except StylecoreError as error:
            return {self.status: progress.message(str(error))}
        return {
            self.live: gr.Image(path, visible=True),
            self.slider: gr.ImageSlider(visible=False),
            self.status: progress.message(progress.SHARED, 1.0),
            self.download: gr.DownloadButton(value=path, interactive=True),
            self.curves: gr.HTML(visible=False),
        }
