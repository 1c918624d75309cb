"""The endpoints for programs: `gradio_client`, plain HTTP, MCP."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from stylecore import OptionError, StylizeConfig
from stylecore.compare import Comparison
from stylecore.images import ImageTensor
from stylecore.job import Job
from stylecore.presets import DEFAULT_PRESET

from . import comparing
from .live import Frame, throttle
from .server.cleanup import COMPARISONS
from .server.folders import new_file
from .server.models import DEFAULT_RUNS
from .server.quota import NoTimeLeftError
from .server.services import Services
from .server.uploads import read_job, save_png
from .variants import Change, make_grid, make_variants, picture_of, read_axes


class Endpoints:
    """The functions that programs call. Gradio takes the annotation of the result for what each yield holds."""

    def __init__(self, services: Services) -> None:
        self.services, self.settings, self.models = services, services.settings, services.models
        for endpoint in (self.stylize, self.compare, self.benchmark):
            services.jobs.wire(gr.api, endpoint, api_name=endpoint.__name__)

    def stylize(  # type: ignore[misc]
        self,
        content: gr.FileData,
        styles: list[gr.FileData],
        preset: str = DEFAULT_PRESET,
        loss: str | None = None,
        size: int = 256,
        style_weight: float | None = None,
        seed: int = 0,
        num_steps: int | None = None,
        strength: float | None = None,
    ) -> tuple[gr.FileData, dict[str, Any]]:
        """Paint a photo in the manner of one or several pictures: a PNG with its settings inside, and a record.

        While the job runs, the record alone is sent; cancel the request to stop it.

        Args:
            content: the photo.
            styles: the pictures whose manner it gets, all with equal shares.
            preset: the recipe.
            loss: the style loss; null: the preset's.
            size: longer side of the result, px.
            style_weight: multiplies the preset's style term; null: 1, unless there is a strength.
            seed: of the noise, where the preset starts from noise.
            num_steps: evaluations of the loss; null: the preset's.
            strength: from the photo (0) to the painting (100), in the place of a style weight.
        """
        options = {"loss": loss, "size": size, "style_weight": style_weight, "seed": seed}
        options |= {"num_steps": num_steps, "strength": strength}
        config = self.settings.make_config(preset, **options)
        frames = self.services.frames(read_job(content, styles, config))
        frame = next(frames)
        try:
            yield None, _record(frame)
            for frame in frames:
                yield None, _record(frame)
        except NoTimeLeftError as error:
            frame = dataclasses.replace(frame, trouble=str(error))
        result = save_png(frame.image, f"{frame.job.name}.png", frame.job.settings())
        yield gr.FileData(path=result).model_dump(), _record(frame)

    def compare(  # type: ignore[misc]
        self,
        content: gr.FileData,
        style: gr.FileData,
        variants: list[dict[str, Any]] | None = None,
        size: int = 256,
        x: dict[str, Any] | None = None,
        y: dict[str, Any] | None = None,
    ) -> tuple[gr.FileData, list[dict[str, Any]]]:
        """Do one job in several ways from the same start: one HTML file that shows them, and a record of each.

        While it runs, the records alone are sent; cancel the request to stop it. A variant that fails is in the page
        with its sentence.

        Args:
            content: the photo.
            style: the picture whose manner it gets.
            variants: two to twelve, each a few of `variants.FIELDS`, such as {"preset": "gatys", "loss": "pca"}.
            size: longer side of the results, px.
            x: in the place of variants: {"field": "preset", "values": ["draft", "standard"]}, with a heading each.
            y: a second such axis: the results stand in a grid.
        """
        axes, uploads = read_axes([x, y])
        changes = make_grid(axes) if axes else variants
        opened: dict[Path, ImageTensor] = {}

        def job_of(change: Change, config: StylizeConfig) -> Job:
            picked = {kind: picture_of(kind, name, uploads) for kind, name in change.items()}
            return read_job(picked.get("photo", content), [picked.get("style", style)], config, opened)

        asked = make_variants(self.settings, {"preset": DEFAULT_PRESET, "size": size}, changes, job_of)
        job, trouble = asked.variants[0].job or job_of({}, asked.variants[0].config), ""
        with TemporaryDirectory(prefix=COMPARISONS) as folder:
            comparison = Comparison(job, asked.variants, folder, goes_on=True)
            try:
                for _ in throttle(comparison.run(), must_show=lambda event: event.step is None):
                    yield None, _records(comparison)
            except NoTimeLeftError as error:
                trouble = str(error)
            if not comparison.records:
                raise OptionError(trouble or next(iter(comparison.troubles.values())))
            text = comparing.page_of(comparison, asked.grid(axes), with_own=True, trouble=trouble)
            page = comparing.save_page(text, new_file("comparison.html"))
            yield gr.FileData(path=str(page)).model_dump(), _records(comparison)

    def benchmark(self, model: str, runs: int = DEFAULT_RUNS) -> list[dict[str, Any]]:  # type: ignore[misc]
        """Time an exported model on this server, made first if it is missing, and torch beside it: a record of each.

        Args:
            model: such as "vgg16-fp32": encoder and precision.
            runs: how many, 1 to 64.
        """
        self.models.check(model, runs)
        self.models.make(model)
        yield self.models.measure(model, runs)


def _record(frame: Frame) -> dict[str, Any]:
    measured = frame.distances[-1] if frame.distances else None
    return {
        "num_steps": frame.step,
        "seconds": round(frame.seconds, 3),
        "style_distance": measured and round(measured.style, 5),
        "content_distance": measured and round(measured.content, 5),
        "trouble": frame.trouble,
        "config": frame.job.config.to_dict(),
    }


def _records(comparison: Comparison) -> list[dict[str, Any]]:
    return [dataclasses.asdict(record) for record in comparison.records]
