"""The Compare tab: one job in several ways, along one axis or two, from the same start."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from stylecore import OptionError, StylizeConfig
from stylecore.compare import Comparison, Progress, Record
from stylecore.images import ImageTensor, resize_image
from stylecore.job import Job
from stylecore.report.curves import curves_html
from stylecore.report.page import seconds_text
from stylecore.report.viewer import VIEWER_JS, Grid

from .. import comparing
from ..components import progress
from ..components.axes import NOTHING, OWN, AxisInput
from ..components.figures import table_html
from ..components.job_button import JobButton
from ..components.job_inputs import FREE
from ..components.share_panel import SharePanel
from ..components.url_state import Control, UrlState
from ..live import pixels_evaluated, throttle
from ..server.cleanup import COMPARISONS
from ..server.folders import new_file
from ..server.gradio_internals import host_of
from ..server.messages import message_of
from ..server.queue import AT_ONCE
from ..server.uploads import publish, read_job, save_png
from ..sharing import comparison_to_share
from ..variants import Asked, Change, make_grid, make_variants, picture_of
from .base import Tab

HEADERS = ["variant", "seconds", "style distance", "content distance"]
READY = "Ready. Press Compare: the same start for all of them."
START_VIEWER = f"""{VIEWER_JS}
new MutationObserver(() => startViewer(element)).observe(element, {{childList: true, subtree: true}});
startViewer(element);"""


class CompareTab(Tab):
    """What to compare and what it will take, the results in one place and in a grid, their times and distances."""

    name, label = "compare", "Compare"

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        return self.axes[0].controls | self.axes[1].controls

    def lay_out(self) -> None:
        """What to compare, then the results, then what is shown when all variants are done."""
        settings = self.services.settings
        with gr.Row():
            self.axes = [AxisInput("x", "Compare", "preset", settings), AxisInput("y", "with each", NOTHING, settings)]
        self.plan = gr.HTML(elem_id="plan")
        self.button = JobButton("Compare", self.services.jobs)
        self.status = gr.HTML(progress.message(READY), elem_id="compare-status")
        self.sheet = gr.HTML(elem_id="sheet", js_on_load=START_VIEWER)
        with gr.Column(visible=False) as self.finished:
            with gr.Row(elem_classes="actions"):
                self.download = gr.DownloadButton("Download all of it as one HTML file", min_width=250)
                self.share = SharePanel(settings.shared_days)
            self.share.link.render()
            self.table = gr.HTML(elem_classes="table")
            self.curves = gr.HTML(label="Style distance over time", show_label=True, container=True, padding=True)
        self.done: Any = gr.State({})  # what is shared: files, words

    def wire(self) -> None:
        """The button starts the comparison."""
        outputs = [self.status, self.sheet, self.finished, self.download, *self.share.outputs]
        outputs += [self.table, self.curves, self.done]
        inputs = self.inputs.components.union(*(axis.components for axis in self.axes))
        self.button.runs(self.run, inputs, outputs, status=self.status)
        self.share.shares(self._share, [self.done], self.status, "share_comparison")

    def connect(self, url_state: UrlState) -> None:
        """What the comparison will take is said before the click."""
        compared = set().union(*(axis.components for axis in self.axes))
        told = {"inputs": self.inputs.components | compared, "outputs": self.plan, "preprocess": False, **AT_ONCE}
        changes = [each.change for each in (*self.inputs.fields.values(), *compared)]
        # Not "always_last", which the address has for the same changes: two of them call each other up without end.
        gr.on([*changes, self.container.select], self._plan, trigger_mode="multiple", **told)
        url_state.restored.then(self._plan, **told)

    def read_axes(self, values: Mapping[Any, Any]) -> dict[str, list[str]]:
        """What is compared, and the values that each shall have."""
        used = [axis for each in self.axes if (axis := each.read(values)) is not None]
        axes = dict(used)
        if len(axes) < len(used):
            raise OptionError("Choose two different things to compare, or nothing as the second.")
        return axes

    def _ask(self, values: Mapping[Any, Any], axes: Mapping[str, list[str]], job_of: Any = None) -> Asked:
        """The variants of the settings at the left; presets that are compared bring each its own recipe."""
        options = self.inputs.read_options(values)
        options = {name: value for name, value in options.items() if "preset" not in axes or name not in FREE}
        if "style" in axes:
            options["style_weights"] = None  # of the one style that each has
        # Layers stand with spaces between them: in a link, commas are between the values.
        lists = {field: [each.split() for each in axes[field]] for field in axes if field.endswith("_layers")}
        return make_variants(self.services.settings, options, make_grid({**axes, **lists}), job_of)

    def _plan(self, values: dict[Any, Any]) -> str:
        """How many, and about how long by this server's last runs; or what is wrong."""
        try:
            variants = self._ask(values, self.read_axes(values)).variants
        except Exception as error:
            return f"<p role='status'>{progress.failure_words(message_of(error))}</p>"
        seconds = [self.services.timings.estimate(variant.config) for variant in variants]
        known = [each for each in seconds if each is not None]
        about = f", about {progress.duration(sum(known))} by this server's last runs" if known else ""
        return f"<p role='status'>{len(variants)} variants{about}.</p>"

    # ---- the job

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """The results as they come, then what can be done with them; whatever ends it early, what is done is kept."""
        with TemporaryDirectory(prefix=COMPARISONS) as folder:
            axes = self.read_axes(values)
            asked = self._ask(values, axes, _Jobs(self, values))
            job = asked.variants[0].job or self.inputs.read_job(values, asked.variants[0].config)
            comparison = Comparison(job, asked.variants, folder, goes_on=True)
            grid = asked.grid(axes)
            yield self.button.running() | self._show_beginning()
            pictures = {} if "photo" in axes else {comparing.PHOTO: _photo(comparison)}
            trouble = ""
            try:
                yield from self._watch(comparison, pictures, grid, request)
            except Exception as error:
                trouble = message_of(error)
            yield self._show_finished(comparison, pictures, grid, trouble)

    def _watch(
        self, comparison: Comparison, pictures: dict[str, str], grid: Grid | None, request: gr.Request
    ) -> Iterator[dict[Any, Any]]:
        """The sheet until all is done or the visitor has stopped it; what is finished goes into `pictures`."""
        started, work = time.monotonic(), _Work(comparison)
        for event in throttle(comparison.run(), must_show=lambda event: event.step is None):
            if self.button.is_stopped(request):
                return
            if event.record:
                pictures[event.record.name] = publish(comparison.folder / event.record.image)
            status = _status(comparison, event, work.share_done(event), time.monotonic() - started)
            yield {self.sheet: comparing.filling_in(comparison, pictures, grid, event), self.status: status}

    def _show_beginning(self) -> dict[Any, Any]:
        """The last comparison makes room for this one."""
        return {self.finished: gr.Column(visible=False), self.sheet: ""} | self.share.nothing()

    def _show_finished(
        self, comparison: Comparison, pictures: dict[str, str], grid: Grid | None, trouble: str
    ) -> dict[Any, Any]:
        records, total = comparison.records, len(comparison.variants)
        done = " ".join([*([trouble] * bool(trouble)), f"{len(records)} of {total} variants are done."])
        status = {self.status: progress.message(done, len(records) / total)}
        if not records:
            failed = " ".join(dict.fromkeys(comparison.troubles.values()))
            return status if not failed else {self.status: progress.failure(failed)}
        has_own = comparing.has_own_pictures(comparison)
        sheet = comparing.finished(comparison, pictures, grid, trouble)
        pages = {
            with_own: str(
                comparing.save_page(
                    comparing.page_of(comparison, grid, with_own=with_own, trouble=trouble), new_file("comparison.html")
                )
            )
            for with_own in {True, not has_own}
        }
        return status | self.share.offer(has_own) | {
            self.sheet: sheet,
            self.finished: gr.Column(visible=True),
            self.download: pages[True],
            self.table: table_html(HEADERS, [_row(record) for record in records]),
            self.curves: curves_html(records),
            self.done: {
                "pages": pages,
                "pictures": {name: path for name, path in pictures.items() if name != comparing.PHOTO},
                "title": comparing.title(comparison),
                "words": comparing.words_of(comparison),
            },
        }  # fmt: skip

    def _share(self, done: dict[str, Any], agreed: bool, request: gr.Request) -> tuple[str, str, str, str]:
        """The page, with the visitor's own pictures only if that was agreed to."""
        if not done:
            raise OptionError("There is no comparison to share yet.")
        page = Path(done["pages"].get(bool(agreed)) or done["pages"][True])
        pictures = {name: Path(path) for name, path in done["pictures"].items()}
        record, files = comparison_to_share(page, pictures, done["title"], done["words"])
        token, key = self.services.shared_results.add(record, files, host_of(request.client))
        return record.kind, token, key, record.title


class _Jobs:
    """Jobs of variants that have a style or a photo of their own; every picture is opened once."""

    def __init__(self, tab: CompareTab, values: Mapping[Any, Any]) -> None:
        self.tab, self.values = tab, values
        self._opened: dict[Path, ImageTensor] = {}

    def __call__(self, change: Change, config: StylizeConfig) -> Job:
        inputs = self.tab.inputs
        photo, styles = self.values[inputs.photo], [each for style in inputs.styles if (each := self.values[style])]
        uploads = {"photo": {OWN: photo}, "style": {OWN: styles[0] if styles else None}}
        picked = {kind: picture_of(kind, name, uploads) for kind, name in change.items()}
        return read_job(
            picked.get("photo", photo), [picked["style"]] if "style" in picked else styles, config, self._opened
        )


def _photo(comparison: Comparison) -> str:
    """The content in the results' size, to lay beside them."""
    job = comparison.job_of(comparison.variants[0])
    return save_png(resize_image(job.content, *job.size), "photo.png")


class _Work:
    """How much of a comparison is done, by the pixels that its variants evaluate."""

    def __init__(self, comparison: Comparison) -> None:
        self._jobs = {variant.name: comparison.job_of(variant) for variant in comparison.variants}
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


def _row(record: Record) -> list[str]:
    distances = (f"{number:.2f}" for number in (record.style_distance, record.content_distance))
    return [record.name, seconds_text(record.seconds), *distances]
