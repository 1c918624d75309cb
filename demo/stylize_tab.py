"""The Stylize page: two pictures and a few choices in, live frames and a result out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo import examples, watching
from demo.jobs import LIMITS, read_config
from demo.serving import ONE_JOB, friendly_errors, save_frame, save_result, start_job
from stylecore import PRESETS, make_config
from stylecore.devices import find_device
from stylecore.presets import DEFAULT_PRESET

SIZE_ON_CPU_PX, SIZE_ON_GPU_PX = 256, 512  # to start with
STYLE_WEIGHTS = [0.1, 0.3, 1, 3, 10]
STARTS = [
    ("the preset's start", ""),
    ("the photo", "content"),
    ("noise", "noise"),
    ("the photo, recoloured", "style_statistics"),
]

# On a phone the result is far below the button. Braces, for what a function returns would become the event's input.
SHOW_RESULT = "() => { document.getElementById('status').scrollIntoView({behavior: 'smooth', block: 'nearest'}); }"


class StylizeTab:
    """Its components, and what its buttons do; made inside a `gr.Blocks`."""

    def __init__(self) -> None:
        self.stop_requests: set[str] = set()  # sessions whose running job shall end
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._lay_out_inputs()
            with gr.Column(scale=6, min_width=320):
                self._lay_out_outputs()
        self._wire()

    def _lay_out_inputs(self) -> None:
        with gr.Row():
            self.content = _picture("Photo", examples.photo_files())
            self.style = _picture("Style", examples.style_files())
        with gr.Row():
            self.preset = gr.Dropdown(
                list(PRESETS), value=DEFAULT_PRESET, label="Preset", info="The recipe", min_width=130
            )
            self.size = gr.Slider(
                *LIMITS["size"],
                value=SIZE_ON_CPU_PX if find_device().type == "cpu" else SIZE_ON_GPU_PX,
                step=32,
                label="Size",
                info="Longer side, px",
                min_width=130,
            )
        self.style_weight = gr.Radio(
            STYLE_WEIGHTS,
            value=1,
            label="Style weight",
            info="Less keeps the photo, more lets the style take over.",
            elem_id="style-weight",
        )
        with gr.Accordion("Advanced", open=False), gr.Row():
            self.num_steps = gr.Number(_num_steps(DEFAULT_PRESET), label="Steps", precision=0, min_width=110)
            self.init = gr.Dropdown(STARTS, value="", label="Start from", min_width=170)
            self.seed = gr.Number(0, label="Seed", precision=0, min_width=110)
        with gr.Row():
            self.go = gr.Button("Stylize", variant="primary", size="lg")
            # Two that look like one: a waiting job leaves the queue, a running one ends itself. Gradio's `cancels`
            # would do for both, but shows an error whenever a frame is on its way at that moment.
            self.stop_waiting = gr.Button("Stop", variant="stop", size="lg", visible=False)
            self.stop_running = gr.Button("Stop", variant="stop", size="lg", visible=False)

    def _lay_out_outputs(self) -> None:
        self.result = gr.Image(
            label="Result", interactive=False, height=440, elem_id="result", buttons=["fullscreen"], alt_text="Result"
        )
        self.status = gr.HTML(watching.message(watching.READY), elem_id="status")
        self.download = gr.DownloadButton("Download PNG with its settings", interactive=False)
        self.curve = gr.HTML(watching.loss_curve(), label="Loss", show_label=True, container=True, padding=True)

    def _wire(self) -> None:
        buttons = [self.go, self.stop_waiting, self.stop_running]
        inputs = {
            self.content, self.style, self.preset, self.style_weight, self.size, self.seed, self.num_steps, self.init,
        }  # fmt: skip
        at_once: dict[str, Any] = {"queue": False, "api_visibility": "private"}
        self.preset.change(_num_steps, self.preset, self.num_steps, **at_once)
        begun = self.go.click(self.begin, None, [*buttons, self.download], js=SHOW_RESULT, **at_once)
        job = begun.then(
            self.run,
            inputs,
            [self.result, self.status, self.download, self.curve, *buttons],
            preprocess=False,  # Gradio would open uploads with Pillow before stylecore has looked at their size
            show_progress="minimal",
            show_progress_on=self.status,  # the place in the queue
            api_visibility="private",
            **ONE_JOB,
        )
        job.success(self.show_stylize, None, buttons, **at_once)
        job.failure(self.show_failure, None, [*buttons, self.status], **at_once)  # which `then` would not follow
        self.stop_waiting.click(self.show_stylize, None, buttons, cancels=[job], **at_once)
        self.stop_running.click(self.request_stop, None, None, **at_once)

    def begin(self, request: gr.Request) -> dict[Any, Any]:
        """Stylize was pressed: the job may have to wait for its turn."""
        self.stop_requests.discard(str(request.session_hash))
        return self._show(self.stop_waiting) | {self.download: gr.DownloadButton(interactive=False)}

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Live frames, then the result; a stopped job's result is its last frame."""
        session, ending = str(request.session_hash), "Done"
        with friendly_errors():
            config = read_config(
                values[self.preset],
                style_weight=values[self.style_weight],
                size=values[self.size],
                seed=values[self.seed],
                num_steps=values[self.num_steps],
                init=values[self.init] or None,
            )
            yield self._show(self.stop_running)
            for frame in start_job(values[self.content], values[self.style], config):
                if session in self.stop_requests:
                    ending = "Stopped"
                    break
                yield {
                    self.result: save_frame(frame),
                    self.status: watching.status(frame),
                    self.curve: watching.loss_curve(frame.curve, config.num_steps),
                }
            if frame.trouble:
                gr.Warning(frame.trouble)
                ending = "Ended early"
            result = save_result(frame)
            yield {
                self.result: result,
                self.status: watching.status(frame, ending),
                self.curve: watching.loss_curve(frame.curve, config.num_steps),
                self.download: gr.DownloadButton(value=result, interactive=True),
            }

    def request_stop(self, request: gr.Request) -> None:
        """The running job looks for this before it shows a frame."""
        self.stop_requests.add(str(request.session_hash))

    def show_stylize(self) -> dict[Any, Any]:
        """No job waits or runs any more."""
        return self._show(self.go)

    def show_failure(self) -> dict[Any, Any]:
        """A message says why."""
        return self.show_stylize() | {self.status: watching.message(watching.FAILED)}

    def _show(self, button: gr.Button) -> dict[Any, Any]:
        """`button`, and not the other two."""
        return {each: gr.Button(visible=each is button) for each in (self.go, self.stop_waiting, self.stop_running)}


def _num_steps(preset: str) -> int:
    return make_config(preset).num_steps


def _picture(label: str, files: list[Path]) -> gr.Image:
    """An image input that holds the first of the example files, with all of them below to click on."""
    with gr.Column(min_width=130):
        # By path: stylecore reads the file itself, so that its limits, EXIF and colour rules hold.
        picture = gr.Image(
            str(files[0]),
            label=label,
            type="filepath",
            sources=["upload", "webcam", "clipboard"],
            height=210,
            buttons=[],
            alt_text=label,
        )
        with gr.Column(elem_classes="tiles"):
            gr.Examples([[str(file)] for file in files], picture, label="Examples", api_visibility="private")
    return picture
