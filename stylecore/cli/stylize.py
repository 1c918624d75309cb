"""`stylecore stylize` and `stylecore texture`: one job, one PNG."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

import stylecore
from stylecore.cli.console import InterruptedRunError, progress
from stylecore.cli.fitted import FittedFile, check_fitted, load_or_fit
from stylecore.cli.inputs import load_inputs
from stylecore.cli.recipe import Recipe, takes_recipe
from stylecore.config import StylizeConfig
from stylecore.devices import peak_memory_mib
from stylecore.encoders.vgg import Encoder
from stylecore.engine import Step, prepare_encoder, stylize_steps
from stylecore.errors import DivergenceError, ImageError, OptionError
from stylecore.files import check_writable
from stylecore.images import fit_image, image_size, read_settings, save_image
from stylecore.job import Inputs, check_style_weights, portable, saved_paths
from stylecore.metrics import Yardstick
from stylecore.presets import make_config
from stylecore.profiling import warm_up


@takes_recipe
def stylize_command(
    recipe: Recipe,
    content: Annotated[str | None, typer.Argument(metavar="CONTENT", help="The photo.")] = None,
    styles: Annotated[list[str] | None, typer.Argument(metavar="STYLE...", help="One or more pictures.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("stylized.png"),
    from_: Annotated[
        Path | None, typer.Option("--from", help="Run a saved PNG's settings again; options typed here win.")
    ] = None,
    basis: Annotated[
        Path | None, typer.Option(help="Bases of pca (.safetensors): used if the file is there, else saved to it.")
    ] = None,
    gram_weights: Annotated[
        Path | None, typer.Option(help="Weights of weighted (.safetensors): used if there, else saved to it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Paint CONTENT in the manner of STYLE, and save it as a PNG with its settings inside."""
    started = _process_started()
    job = _prepare(recipe, content, styles or [], output, from_, {"basis": basis, "gram_weights": gram_weights})
    encoder = prepare_encoder(job.config, job.weights)
    fitted = load_or_fit(job.config, job.fitted_paths, encoder)
    warm_up(encoder, job.config)
    seconds_setup = time.time() - started
    record = _stylize(job, encoder, output, fitted)
    print(json.dumps(record | {"seconds_setup": round(seconds_setup, 3)}) if as_json else _sentence(record))


@takes_recipe
def texture_command(
    recipe: Recipe,
    styles: Annotated[list[str], typer.Argument(metavar="STYLE...", help="One or more pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("texture.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Make a texture of STYLE from noise, without any content (Gatys et al. 2015), of the first picture's shape."""
    started = _process_started()
    check_writable(output)
    config = make_config(**{"init": "noise", **recipe.options(), "content_weight": 0.0})
    inputs = load_inputs([styles[0], *styles], "texture")  # the first stands for the content, for its shape
    check_style_weights(config, inputs)
    encoder = prepare_encoder(config, recipe.weights_file)
    warm_up(encoder, config)
    seconds_setup = time.time() - started
    record = _stylize(_Job(inputs, config, weights=recipe.weights_file), encoder, output, FittedFile())
    del record["content_distance"]  # of no content
    print(json.dumps(record | {"seconds_setup": round(seconds_setup, 3)}) if as_json else _sentence(record))


@dataclass(frozen=True)
class _Job:
    inputs: Inputs
    config: StylizeConfig
    fitted_paths: dict[str, Path | None] = field(default_factory=dict)  # by option: basis, gram_weights
    weights: Path | None = None  # of the encoder, where they are not bundled


def _prepare(
    recipe: Recipe,
    content: str | None,
    styles: Sequence[str],
    output: Path,
    from_: Path | None,
    fitted_paths: dict[str, Path | None],
) -> _Job:
    """Check everything that can be checked before the slow part: output, options, images."""
    check_writable(output)
    options, weights = recipe.options(), recipe.weights_file
    if from_ is None:
        config = make_config(**options)
        paths = [content, *styles] if content is not None else []
    elif "preset" in options:
        raise OptionError("--from brings its own recipe: leave out --preset.")
    else:
        saved = read_settings(from_)
        config = StylizeConfig.from_dict(saved.get("config", {}) | options)
        paths = [content, *styles] if content is not None else saved_paths(saved.get("inputs", []), from_.parent)
        fitted_paths = {name: path or _saved_file(name, saved, from_) for name, path in fitted_paths.items()}
        weights = weights or (None if "encoder" in options else _saved_file("weights", saved, from_))
    check_fitted(config, fitted_paths)
    inputs = load_inputs(paths, "stylize")
    check_style_weights(config, inputs)
    return _Job(inputs, config, fitted_paths, weights)


def _saved_file(option: str, saved: dict[str, Any], png: Path) -> Path | None:
    """The file of bases or weights that a saved PNG was made with, as found from here or beside it."""
    name = saved.get(option)
    if name is None:
        return None
    for path in (Path(name), png.parent / Path(name).name):
        if path.is_file():
            return path
    raise ImageError(f"'{name}' is not here any more: name it with --{option.replace('_', '-')}.")


def _stylize(job: _Job, encoder: Encoder, output: Path, fitted: FittedFile) -> dict[str, Any]:
    """Run, save, measure. Ctrl-C and divergence save what there is before they are reported."""
    config, inputs = job.config, job.inputs
    settings: dict[str, Any] = {"version": stylecore.__version__, "config": config.to_dict(), "inputs": inputs.records}
    if job.weights is not None:
        settings |= {"weights": portable(str(job.weights)), "encoder_checksum": encoder.checksum}
    if fitted.loaded:
        settings |= {option: portable(str(path)) for option, path in job.fitted_paths.items() if path is not None}
    started = time.perf_counter()
    step: Step | None = None
    try:
        with progress(config.num_steps) as report:
            steps = stylize_steps(inputs.content, inputs.styles, config, encoder=encoder, fitted=fitted.values)
            for step in steps:
                report(step)
    except KeyboardInterrupt:
        if step is None:
            raise
        save_image(fit_image(step.image, config.size), output, settings)
        raise InterruptedRunError(
            f"Stopped after {step.index} of {step.total} evaluations: '{output}' holds the image so far."
        ) from None
    except DivergenceError as error:
        save_image(fit_image(error.last_good, config.size), output, settings)
        raise
    assert step is not None  # num_steps is at least 1
    save_image(step.image, output, settings)
    seconds = time.perf_counter() - started
    fitted.save(encoder)
    size = image_size(step.image)
    distances = Yardstick(inputs.content, inputs.styles, size, config.style_weights).measure(step.image.cpu())
    return {
        "output": str(output),
        "style_distance": round(distances.style, 4),
        "content_distance": round(distances.content, 4),
        "seconds": round(seconds, 3),
        "num_steps": step.index,
        "device": str(encoder.mean.device),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "encoder": config.encoder,
        "loss": config.loss,
        "size_px": list(size),
        "peak_memory_mib": round(peak_memory_mib(encoder.mean.device)),
        "config": config.to_dict(),
    }


def _sentence(record: dict[str, Any]) -> str:
    height, width = record["size_px"]
    distances = [f"{kind} distance {record[f'{kind}_distance']:.3f}" for kind in ("style", "content")
                 if f"{kind}_distance" in record]  # fmt: skip
    return f"{record['output']}: {width}x{height} px in {record['seconds']:.1f} s, {', '.join(distances)}."


def _process_started() -> float:
    return psutil.Process().create_time()
