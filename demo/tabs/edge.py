"""The Edge tab: the networks as ONNX files, measured on this server, and a stylization without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import gradio as gr
import torch

from stylecore import Result, StylizeConfig, stylize
from stylecore.engine import job_yardstick
from stylecore.images import ImageTensor

from ..components import progress
from ..components.figures import table_html
from ..components.job_button import JobButton
from ..components.url_state import UrlState
from ..live import throttle
from ..server.export_package import import_export
from ..server.queue import AT_ONCE
from ..server.uploads import save_frame, save_png
from ..theme import picture_slider
from .base import Tab

HEADERS = ["model", "MiB", "error", "recorded, ms", "against fp32", "here, ms"]
RECORD = Path(__file__).parent.parent / "study" / "bench.json"  # of `make bench-export`, copied by tools/copy_study.py
INTRODUCTION = """
The network that compares the images, as one ONNX file for onnxruntime, on a server, a phone or in a browser. The error
is the largest relative difference of its features from the full network's.
"""
WITHOUT_TORCH = """
### A stylization without torch

The whole optimisation fits into a folder that needs numpy, Pillow and onnxruntime alone. It paints your photo here, and
torch does the same beside it.
"""


class EdgeTab(Tab):
    """Two jobs: measure a model, and stylize by the bundle."""

    name, label = "edge", "Edge"

    def lay_out(self) -> None:
        """The table of models, and below it the picture that is made without torch."""
        self.models = self.services.models
        gr.set_static_paths([self.models.folder])  # served as they are, without a copy for every visitor
        self.recorded, self.machine = recorded()
        self._lay_out_models()
        self._lay_out_bundle()

    def _lay_out_models(self) -> None:
        gr.Markdown(f"{INTRODUCTION}\n\n{self.machine}")
        self.table = gr.HTML(elem_classes="table")
        self.model = gr.Dropdown(list(self.models.variants), label="Model")
        self.measure_button = JobButton("Measure it here, now", self.services.jobs)
        self.status = gr.HTML(progress.message("A model that is not there yet is made first."), elem_id="edge-status")
        self.download = gr.DownloadButton("Download the ONNX file", interactive=False)

    def _lay_out_bundle(self) -> None:
        gr.Markdown(WITHOUT_TORCH)
        self.stylize_button = JobButton("Stylize without torch", self.services.jobs)
        self.live = gr.Image(
            label="Without torch", interactive=False, height=400, elem_id="edge-live", buttons=[], visible=False
        )
        self.slider = picture_slider("Torch, and without torch", 400, visible=False)
        self.words = gr.HTML(
            progress.message("It takes the first of your styles, for the whole photo."), elem_id="bundle-status"
        )
        self.bundle = gr.DownloadButton("Download the folder as a ZIP", interactive=False)

    def wire(self) -> None:
        """The two buttons start their jobs."""
        self.measure_button.runs(
            self.run_model,
            {self.model},
            [self.table, self.status, self.download],
            status=self.status,
        )
        self.stylize_button.runs(
            self.run_bundle,
            self.inputs.components,
            [self.live, self.slider, self.words, self.bundle],
            status=self.words,
        )
        self.model.change(self._show_download, self.model, self.download, **AT_ONCE)

    def connect(self, url_state: UrlState) -> None:
        """Show what models there are by now when the page is loaded."""
        url_state.restored.then(self._show_models, self.model, [self.table, self.download], **AT_ONCE)

    def run_model(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Make the model where it is missing, then time it."""
        name = values[self.model]
        self.models.path(name)
        words = f"Making {name} where it is missing…"
        yield self.measure_button.running() | {
            self.status: progress.message(words, 0.2),
            self.download: gr.DownloadButton(interactive=False),
        }
        self.models.make(name)
        if self.measure_button.is_stopped(request):
            yield {
                self.status: progress.message(f"Stopped: {name} is made, but not measured."),
                **self._show_models(name),
            }
            return
        yield {self.status: progress.message(f"Measuring {name}, and torch beside it…", 0.6)}
        _, *of_torch = self.models.measure(name)
        beside = ", ".join(f"{row['name'].removeprefix('torch-')} {row['p50_ms']:.0f} ms" for row in of_torch)
        done = progress.message(f"Measured. Torch on the same threads: {beside}.", 1.0)
        yield {self.status: done} | self._show_models(name)

    def run_bundle(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Live frames of the torch-free runtime, then torch's result of the same recipe beside its own."""
        job = self.inputs.read_job(values)  # of whose config the bundle takes what it can
        yield self.stylize_button.running() | self._show_beginning()
        bundle = import_export("runtime").Bundle(self.models.make_bundle())
        recipe: dict[str, Any] = {name: getattr(job.config, name) for name in ("size", "style_weight", "seed")}
        bundle.config["style_scale"] = job.config.style_scale
        started = time.perf_counter()
        steps = bundle.stylize_steps(job.content.numpy(), job.styles[0].numpy(), **recipe)
        for step in throttle(steps, must_show=lambda step: step.index == step.total):
            if self.stylize_button.is_stopped(request):
                yield {self.words: progress.message(f"Stopped after {step.index} of {step.total} steps.")}
                return
            words = f"Step {step.index} of {step.total}, by onnxruntime"
            image = torch.from_numpy(step.image)
            yield {self.live: save_frame(image), self.words: progress.message(words, step.index / step.total)}
        seconds = time.perf_counter() - started
        yield {self.words: progress.message("The same by torch…", 1.0)}
        by_torch = stylize(job.content, job.styles[0], StylizeConfig.from_dict(bundle.config | recipe))
        yield self._show_both(by_torch, image, seconds)

    def _show_beginning(self) -> dict[Any, Any]:
        return {
            self.slider: gr.ImageSlider(visible=False),
            self.live: gr.Image(visible=True),
            self.words: progress.message("Making the folder where it is missing…"),
        }

    def _show_both(self, by_torch: Result, image: ImageTensor, seconds: float) -> dict[Any, Any]:
        style_distance = job_yardstick(by_torch.job).measure(image).style
        words = (
            f"Without torch {progress.duration(seconds)}, style distance {style_distance:.2f}; "
            f"with torch {progress.duration(by_torch.seconds)}, style distance {by_torch.style_distance:.2f}."
        )
        both = save_png(by_torch.image, "torch.png"), save_png(image, "without_torch.png")
        return {
            self.live: gr.Image(visible=False),
            self.slider: gr.ImageSlider(both, visible=True),
            self.words: progress.message(words, 1.0),
            self.bundle: gr.DownloadButton(value=str(self.models.bundle_zip), interactive=True),
        }

    def _show_models(self, name: str) -> dict[Any, Any]:
        rows = [[each, *_numbers(self.recorded.get(each), self.models.measured(each))] for each in self.models.variants]
        return {self.table: table_html(HEADERS, rows), self.download: self._show_download(name)}

    def _show_download(self, name: str) -> gr.DownloadButton:
        path = self.models.path(name)
        return gr.DownloadButton(value=str(path) if path.is_file() else None, interactive=path.is_file())


def recorded() -> tuple[dict[str, dict[str, Any]], str]:
    """The committed bench: its files by name, as they were timed with all threads, and where that was."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    machine = record["environment"]
    rows = {row["name"]: row for row in record["rows"] if row["num_threads"] == machine["num_threads"]}
    times = {name: median(row["milliseconds"]) for name, row in rows.items()}
    for name, row in rows.items():
        row |= {"p50_ms": times[name], "speedup": times["vgg16-fp32"] / times[name]}
    words = (
        f"Recorded on {machine['cpu']} ({machine['system']}) with {machine['num_threads']} threads, onnxruntime "
        f"{machine['onnxruntime']}, at {record['rules']['size_px']} px: medians. What you measure stands beside it."
    )
    return rows, words


def _numbers(row: Mapping[str, Any] | None, here: Mapping[str, Any] | None) -> list[str]:
    """A model's cells after its name: of the record where it has them, else of the measurement here."""
    known, measured = row or here, f"{here['p50_ms']:.1f}" if here else ""
    if known is None:
        return [""] * (len(HEADERS) - 2) + [measured]
    speed_up = "" if known["speedup"] is None else f"{known['speedup']:.2f}"
    return [
        f"{known['file_mib']:.1f}",
        f"{known['error']:.2g}",
        f"{row['p50_ms']:.1f}" if row else "",
        speed_up,
        measured,
    ]
