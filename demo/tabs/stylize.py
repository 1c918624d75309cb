"""The Stylize tab: live frames of one job, and its result beside the photo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.components import progress as watching
from demo.components.job_button import JobButton
from demo.components.job_inputs import JobInputs
from demo.components.url_state import Address, Control
from demo.live import Frame, run_job
from demo.server.shared_results import KEEP_HOURS, KeptResults
from demo.server.uploads import AT_ONCE, friendly_errors, publish, said, save_before_and_after, save_frame, uploaded
from demo.theme import picture_slider
from stylecore import StylecoreError

HEIGHT_PX = 440
LINK = "(query) => location.origin + location.pathname + '?' + query"


class StylizeTab:
    """Its components, and what they do; made inside a `gr.Tab`."""

    def __init__(self, inputs: JobInputs, kept: KeptResults) -> None:
        self.inputs, self.kept = inputs, kept
        self.button = JobButton("Stylize")
        self._lay_out()
        self._wire()

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address: the shared result."""
        return {"result": Control(self.token, write=lambda token: token or None)}

    def _lay_out(self) -> None:
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
        self.status = gr.HTML(watching.message(watching.READY), elem_id="status")
        with gr.Row():
            self.download = gr.DownloadButton("Download PNG with its settings", interactive=False)
            self.share = gr.Button("Share this result", interactive=False)
        self.link = gr.Textbox(
            label="Link",
            info=f"Whoever has it sees this result and its settings, for {KEEP_HOURS} hours.",
            buttons=["copy"],
            max_lines=2,
            interactive=False,
            visible=False,
            elem_id="link",
        )
        self.curves = gr.HTML(visible=False, label="Curves", show_label=True, container=True, padding=True)
        self.token = gr.Textbox("", visible=False)

    def _wire(self) -> None:
        outputs = [self.live, self.slider, self.status, self.download, self.share, self.curves]
        outputs += [self.link, self.token]
        self.button.runs(self.run, self.inputs.components, outputs, status=self.status, at_start=self._forget_result)

    def link_with(self, address: Address) -> None:
        """Share puts the result into the address; an address with a result shows it."""
        shown = [self.token, self.link, self.status]
        kept = self.share.click(self._keep, self.download, shown, preprocess=False, **AT_ONCE)
        address.write_after(kept).success(None, address.query, self.link, js=LINK)
        shown = [self.live, self.slider, self.status, self.download, self.curves]
        address.restored.then(self._show_kept, self.token, shown, **AT_ONCE)

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
                    self.status: watching.status(frame),
                    self.curves: gr.HTML(watching.curves(frame), visible=bool(frame.losses)),
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
        before, after = save_before_and_after(frame)
        return {
            self.live: gr.Image(visible=False),
            self.slider: gr.ImageSlider((before, after), visible=True),
            self.status: watching.status(frame, ending),
            self.curves: watching.curves(frame),
            self.download: gr.DownloadButton(value=after, interactive=True),
            self.share: gr.Button(interactive=True),
        }

    def _keep(self, result: Any) -> dict[Any, Any]:
        try:
            return {self.token: self.kept.keep(uploaded(result, "result")), self.link: gr.Textbox(visible=True)}
        except (StylecoreError, OSError) as error:
            return {self.status: watching.message(said(error))}

    def _show_kept(self, token: str) -> dict[Any, Any]:
        if not token:
            return {self.live: gr.skip()}
        try:
            path = publish(self.kept.find(token), "shared_result.png")
        except StylecoreError as error:
            return {self.status: watching.message(str(error))}
        return {
            self.live: gr.Image(path, visible=True),
            self.slider: gr.ImageSlider(visible=False),
            self.status: watching.message(watching.SHARED, 1.0),
            self.download: gr.DownloadButton(value=path, interactive=True),
            self.curves: gr.HTML(visible=False),
        }
