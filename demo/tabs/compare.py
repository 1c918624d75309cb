"""The Compare tab: one job in several ways, the product of two lists, from the same start."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from stylecore import PRESETS, OptionError
from stylecore.compare import Comparison, Progress, Record
from stylecore.images import resize_image
from stylecore.losses import STYLE_LOSSES
from stylecore.report.page import seconds_text, speed_up, write_report

from ..components import progress
from ..components.figures import sheet_html, table_html
from ..components.job_button import JobButton
from ..components.job_inputs import COMPONENTS, FREE
from ..components.url_state import Control, choice_control, list_control
from ..live import pixels_evaluated, throttle
from ..server.cleanup import COMPARISONS
from ..server.messages import message_of
from ..server.queue import AT_ONCE
from ..server.uploads import publish, save_frame, save_png
from ..theme import picture_slider
from ..variants import make_grid, make_variants
from .base import Tab

NOTHING = "nothing"
# What can be compared: field of the config -> its values, as the page offers them.
AXES: dict[str, list[str]] = {
    "loss": list(STYLE_LOSSES),
    "components": COMPONENTS,
    "preset": list(PRESETS),
    "strength": ["20", "40", "60", "80", "100"],
    "style_scale": ["0.5", "1", "2"],
}
FIRST_CHOICE = {NOTHING: [], "loss": ["gram", "pca", "bn"]}
HEADERS = ["variant", "seconds", "speed-up", "style distance", "content distance"]
READY = "Ready. Press Compare: the same photo, style and start for all of them."
MAX_COLUMNS = 3  # of the sheet, but for grids of two axes


class CompareTab(Tab):
    """The sheet of results, and under it their times and distances."""

    name, label = "compare", "Compare"

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        return {
            "x": choice_control(self.axes[0].field, "axis", [*AXES]),
            "xs": list_control(self.axes[0].values),
            "y": choice_control(self.axes[1].field, "axis", [NOTHING, *AXES]),
            "ys": list_control(self.axes[1].values),
        }

    def lay_out(self) -> None:
        """What to compare, then the sheet, then what is shown when all variants are done."""
        with gr.Row():
            self.axes = [_Axis("Compare", [*AXES], "loss"), _Axis("with each", [NOTHING, *AXES], NOTHING)]
        self.button = JobButton("Compare", self.services.jobs)
        self.status = gr.HTML(progress.message(READY), elem_id="compare-status")
        self.sheet = gr.HTML(elem_id="sheet")
        with gr.Column(visible=False) as self.finished:
            with gr.Row():
                self.left = gr.Dropdown(label="Left", min_width=120)
                self.right = gr.Dropdown(label="Right", min_width=120)
            self.slider = picture_slider("Two of them", 460, elem_id="compare-slider")
            self.table = gr.HTML(elem_classes="table")
            self.plot = gr.Image(label="Style distance over time", interactive=False, buttons=["fullscreen"])
            self.download = gr.DownloadButton("Download all of it as one HTML file")
        self.pictures = gr.State({})  # name -> PNG that Gradio serves

    def wire(self) -> None:
        """The button starts the comparison; two names choose what the slider shows."""
        outputs = [self.status, self.sheet, self.finished, self.left, self.right, self.slider]
        outputs += [self.table, self.plot, self.download, self.pictures]
        inputs = self.inputs.components | {part for axis in self.axes for part in (axis.field, axis.values)}
        self.button.runs(self.run, inputs, outputs, status=self.status)
        names = [self.left, self.right]
        gr.on([each.input for each in names], _two_of, [self.pictures, *names], self.slider, **AT_ONCE)

    def read_axes(self, values: Mapping[Any, Any]) -> dict[str, list[str]]:
        """Fields of the config and the values that each shall have."""
        used = [axis for axis in self.axes if values[axis.field] != NOTHING]
        axes = {values[axis.field]: values[axis.values] for axis in used}
        if len(axes) < len(used):
            raise OptionError("Choose two different things to compare, or nothing as the second.")
        return axes

    def _shared_options(self, values: Mapping[Any, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings at the left; presets that are compared bring each its own recipe."""
        options = self.inputs.read_options(values)
        return {name: value for name, value in options.items() if "preset" not in axes or name not in FREE}

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """The sheet as it fills in, then what can be done with it; whatever ends it early, what is finished is kept."""
        with TemporaryDirectory(prefix=COMPARISONS) as folder:
            axes = self.read_axes(values)
            options = self._shared_options(values, axes)
            variants = make_variants(self.services.settings, options, make_grid(axes))
            comparison = Comparison(self.inputs.read_job(values), variants, folder)
            columns = len(values[self.axes[0].values]) if len(axes) > 1 else min(len(variants), MAX_COLUMNS)
            yield self.button.running() | self._show_beginning()
            pictures = {"photo": _photo(comparison)}
            trouble = ""
            try:
                yield from self._watch(comparison, pictures, columns, request)
            except Exception as error:
                trouble = message_of(error)
            yield self._show_finished(comparison, pictures, columns, trouble)

    def _watch(
        self, comparison: Comparison, pictures: dict[str, str], columns: int, request: gr.Request
    ) -> Iterator[dict[Any, Any]]:
        """The sheet until all is done or the visitor has stopped it; what is finished goes into `pictures`."""
        started, work = time.monotonic(), _Work(comparison)
        for event in throttle(comparison.run(), must_show=lambda event: event.record is not None):
            if self.button.is_stopped(request):
                return
            if event.record:
                pictures[event.record.name] = publish(comparison.folder / event.record.image)
            status = _status(comparison, event, work.share_done(event), time.monotonic() - started)
            yield {self.sheet: _sheet(comparison, pictures, columns, event), self.status: status}

    def _show_beginning(self) -> dict[Any, Any]:
        """The last comparison makes room for this one."""
        return {self.finished: gr.Column(visible=False), self.sheet: ""}

    def _show_finished(
        self, comparison: Comparison, pictures: dict[str, str], columns: int, trouble: str
    ) -> dict[Any, Any]:
        records = comparison.records
        done = f"{trouble} {len(records)} of {len(comparison.variants)} variants are done.".lstrip()
        status = {self.status: progress.message(done, len(records) / len(comparison.variants))}
        if not records:
            return status
        _, plot, page = (publish(path) for path in write_report(comparison))
        names = list(pictures)
        left, right = names[-2:]  # of one variant alone: the photo and it
        return status | {
            self.sheet: _sheet(comparison, pictures, columns),
            self.finished: gr.Column(visible=True),
            self.left: gr.Dropdown(names, value=left),
            self.right: gr.Dropdown(names, value=right),
            self.slider: (pictures[left], pictures[right]),
            self.table: table_html(HEADERS, [_row(record, records) for record in records]),
            self.plot: plot,
            self.download: page,
            self.pictures: pictures,
        }


class _Axis:
    """What to compare, and its values."""

    def __init__(self, label: str, fields: list[str], field: str) -> None:
        choices = [(name.replace("_", " "), name) for name in fields]
        with gr.Column(min_width=200):
            self.field = gr.Dropdown(choices, value=field, label=label)
            self.values = gr.Dropdown(
                AXES.get(field, []),
                value=FIRST_CHOICE.get(field, []),
                multiselect=True,
                allow_custom_value=True,
                label="Values",
                visible=field != NOTHING,
            )
        self.field.change(_choices, self.field, self.values, **AT_ONCE)
        self.field.input(lambda field: FIRST_CHOICE.get(field, AXES[field][:3]), self.field, self.values, **AT_ONCE)


def _choices(field: str) -> gr.Dropdown:
    return gr.Dropdown(AXES.get(field, []), visible=field != NOTHING)


def _photo(comparison: Comparison) -> str:
    """The content in the results' size, to lay beside them."""
    job = comparison.job.with_config(comparison.variants[0].config)
    return save_png(resize_image(job.content, *job.size), "photo.png")


def _sheet(comparison: Comparison, pictures: Mapping[str, str], columns: int, event: Progress | None = None) -> str:
    """Finished variants with their captions, then the one at work."""
    records = {record.name: record for record in comparison.records}
    sheet = [(path, _caption(records[name])) for name, path in pictures.items() if name in records]
    if event and event.step:
        sheet.append((save_frame(event.step.image), f"{event.variant.name} · at work"))
    return sheet_html(sheet, columns)


def _caption(record: Record) -> str:
    return f"{record.name} · {seconds_text(record.seconds)} · style {record.style_distance:.2f}"


class _Work:
    """How much of a comparison is done, by the pixels that its variants evaluate."""

    def __init__(self, comparison: Comparison) -> None:
        jobs = [comparison.job.with_config(variant.config) for variant in comparison.variants]
        self._jobs = dict(zip((variant.name for variant in comparison.variants), jobs, strict=True))
        self._whole = {name: pixels_evaluated(job) for name, job in self._jobs.items()}

    def share_done(self, event: Progress) -> float:
        """0 to 1, where the comparison is now."""
        names = list(self._whole)
        before = sum(self._whole[name] for name in names[: names.index(event.variant.name)])
        now = pixels_evaluated(self._jobs[event.variant.name], event.step.index if event.step else None)
        return (before + now) / sum(self._whole.values())


def _status(comparison: Comparison, event: Progress, share: float, seconds: float) -> str:
    """Where the comparison is, and by the pace so far how long it will take."""
    names = [variant.name for variant in comparison.variants]
    number = names.index(event.variant.name) + 1
    left = progress.duration(seconds * (1 - share) / share)
    return progress.message(f"{number} of {len(names)}: {event.variant.name} · about {left} left", share)


def _row(record: Record, records: list[Record]) -> list[str]:
    numbers = (record.seconds, speed_up(record, records), record.style_distance, record.content_distance)
    return [record.name, *(f"{number:.2f}" for number in numbers)]


def _two_of(pictures: dict[str, str], left: str, right: str) -> tuple[str, str]:
    return pictures[left], pictures[right]
