"""`stylecore stylize` and `stylecore texture`: one job, one picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer

from stylecore.cli.console import InterruptedRunError, downloading, progress
from stylecore.cli.fitted import FittedFile, check_fitted, load_or_fit, options_of_files
from stylecore.cli.output import BitsOption, Output, OverwriteOption, ProfileOption, check_apart, check_overwriting
from stylecore.cli.plan import say_plan
from stylecore.cli.recipe import Recipe, takes_recipe
from stylecore.config import StylizeConfig
from stylecore.devices import device_in_words, peak_memory_mib
from stylecore.encoders import Encoder
from stylecore.engine import prepare_encoder
from stylecore.errors import DivergenceError, ImageError, OptionError
from stylecore.files import is_file
from stylecore.film import Film
from stylecore.images import ImageTensor, load_image
from stylecore.job import Job, SavedSettings, portable
from stylecore.measured_run import MeasuredRun
from stylecore.presets import begun_as_small, make_config
from stylecore.profiling import warm_up
from stylecore.regions import MaskImage, Region

OWN_STYLE = "-"  # of a region: that of the job
ALL = "-"  # of a style, in the place of its mask


@takes_recipe
def stylize_command(
    recipe: Recipe,
    content: Annotated[str | None, typer.Argument(metavar="CONTENT", help="The photo.")] = None,
    styles: Annotated[list[str] | None, typer.Argument(metavar="STYLE...", help="One or more pictures.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The picture to write: .png, .jpg, .webp, .tif (default stylized.png)."),
    ] = None,
    start: Annotated[str | None, typer.Option(help="A picture to begin with, instead of --set init=.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Make the evaluations that a result saved by Ctrl-C lacks, into the same file.")
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MASK,STYLE,WEIGHT",
            help="Where MASK is white: STYLE (-: the job's own), times WEIGHT (0 keeps the photo). May be repeated. A "
            "fourth part is the mask of STYLE.",
        ),
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MASK", help="What counts of a STYLE: white. One for each, in their order (-: all of that style)."
        ),
    ] = None,
    content_mask: Annotated[
        str | None, typer.Option(metavar="MASK", help="Where the photo's shapes count: white, greys less, black not.")
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Run a saved result's settings again; options typed here win.")
    ] = None,
    basis: Annotated[
        Path | None, typer.Option(help="Bases of pca (.safetensors): used if the file is there, else saved to it.")
    ] = None,
    gram_weights: Annotated[
        Path | None, typer.Option(help="Weights of weighted (.safetensors): used if there, else saved to it.")
    ] = None,
    animation: Annotated[
        Path | None, typer.Option(help="A film of the painting too: .webp, .gif; .webm, .mp4 by the extra video.")
    ] = None,
    bits: BitsOption = 8,
    profile: ProfileOption = "srgb",
    overwrite: OverwriteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Paint CONTENT in the manner of STYLE, and save it with its settings inside."""
    started = _process_started()
    saved_as = Output(output or resume or Path("stylized.png"), bits, profile)
    fitted_paths = {"basis": basis, "gram_weights": gram_weights}
    if resume is not None:
        _check_alone(recipe, from_, start, region, style_mask, content_mask)
        plan = _resumed_plan(recipe, content, styles or [], fitted_paths, SavedSettings.read(resume))
    elif from_ is None:
        plan = _typed_plan(recipe, content, styles or [], fitted_paths)
    else:
        plan = _saved_plan(recipe, content, styles or [], fitted_paths, SavedSettings.read(from_))
    if masks := _typed_masks(region, style_mask, content_mask):
        plan = replace(plan, job=replace(plan.job, **masks))
    if start is not None:
        plan = replace(plan, start=load_image(start))
    inputs = [*plan.job.all_names, from_, start]
    check_overwriting(saved_as.path, inputs, overwrite)
    film = None if animation is None else Film(animation, plan.job.size)
    if film is not None:
        check_apart(film.path, saved_as.path, inputs)
    record = _stylize(plan, saved_as, started, film)
    print(json.dumps(record) if as_json else _sentence(record))


@takes_recipe
def texture_command(
    recipe: Recipe,
    styles: Annotated[list[str], typer.Argument(metavar="STYLE...", help="One or more pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("texture.png"),
    bits: BitsOption = 8,
    overwrite: OverwriteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Make a texture of STYLE from noise, without any content (Gatys et al. 2015), of the first picture's shape."""
    started = _process_started()
    saved_as = Output(output, bits)
    config = make_config(**{"init": "noise", **recipe.options(styles[0]), "content_weight": 0.0})
    job = Job.load(styles[0], styles, config)  # the first stands for the content, for its shape
    check_overwriting(output, job.names, overwrite)
    record = _stylize(_Plan(job, weights=recipe.weights_file), saved_as, started)
    del record["content_distance"]  # of no content
    print(json.dumps(record) if as_json else _sentence(record))


@dataclass(frozen=True)
class _Plan:
    """A job and the files that it needs besides its pictures."""

    job: Job
    fitted_paths: Mapping[str, Path | None] = field(default_factory=dict)  # by option: basis, gram_weights
    weights: Path | None = None  # of the encoder, where they are not bundled
    start: ImageTensor | None = None
    num_made: int = 0  # evaluations until the start


def _typed_plan(
    recipe: Recipe, content: str | None, styles: Sequence[str], fitted_paths: Mapping[str, Path | None]
) -> _Plan:
    """Check everything that can be checked before the slow part: options, files, images."""
    options = recipe.options(content)
    config = make_config(**options | options_of_files(fitted_paths, options))
    check_fitted(config, fitted_paths)
    return _Plan(load_job(content, styles, config, "stylize"), fitted_paths, recipe.weights_file)


def _saved_plan(
    recipe: Recipe,
    content: str | None,
    styles: Sequence[str],
    fitted_paths: Mapping[str, Path | None],
    saved: SavedSettings,
) -> _Plan:
    """The same for `--from`: what is typed wins over what the result says."""
    if recipe.names_preset:
        raise OptionError("--from brings its own recipe: leave out --preset.")
    if content is None and saved.sources:
        content, *styles = map(str, saved.find_pictures())
    options = recipe.options(content)
    fitted_paths = {name: path or _saved_file(name, saved) for name, path in fitted_paths.items()}
    config = StylizeConfig.from_dict(saved.config | options | options_of_files(fitted_paths, options))
    if "stages" not in options:
        config = begun_as_small(config, StylizeConfig.from_dict(saved.config).size)
    weights = recipe.weights_file or (None if "encoder" in options else _saved_file("weights", saved))
    check_fitted(config, fitted_paths)
    job = replace(load_job(content, styles, config, "stylize"), **saved.find_masks())
    return _Plan(job, fitted_paths, weights)


def _check_alone(recipe: Recipe, *others: object) -> None:
    """A run that goes on is the same run."""
    if any(others) or recipe.options():
        raise OptionError("--resume goes on as the run was begun: leave out all other options, or use --from --start.")


def _typed_masks(
    regions: Sequence[str] | None, style_masks: Sequence[str] | None, content_mask: str | None
) -> dict[str, Any]:
    """Those that were typed, as `Job` takes them."""
    masks: dict[str, Any] = {}
    if regions:
        masks["regions"] = tuple(map(_parse_region, regions))
    if style_masks:
        masks["style_masks"] = tuple(None if mask == ALL else MaskImage.load(mask) for mask in style_masks)
    if content_mask is not None:
        masks["content_mask"] = MaskImage.load(content_mask)
    return masks


def _parse_region(text: str) -> Region:
    """`mask.png,style.jpg,1.5`, or `mask.png,-,0`, or `mask.png,style.jpg,1,of_style.png`."""
    try:
        mask, style, weight, *style_mask = (part.strip() for part in text.split(","))
        number = float(weight)
        (of_style,) = style_mask or [ALL]
    except ValueError:
        raise OptionError(f"--region takes MASK,STYLE,WEIGHT, such as face.png,-,0, not '{text}'.") from None
    return Region.load(mask, None if style == OWN_STYLE else style, number, None if of_style == ALL else of_style)


def _resumed_plan(
    recipe: Recipe,
    content: str | None,
    styles: Sequence[str],
    fitted_paths: Mapping[str, Path | None],
    saved: SavedSettings,
) -> _Plan:
    """The rest of a run whose image so far Ctrl-C saved."""
    if not saved.num_made:
        raise OptionError(f"'{saved.path}' is no stopped run: use --from to run it again, --start to go on from it.")
    plan = _saved_plan(recipe, content, styles, fitted_paths, saved)
    return replace(plan, start=load_image(saved.path), num_made=saved.num_made)


def load_job(content: str | None, styles: Sequence[str], config: StylizeConfig, command: str) -> Job:
    """The pictures that a command line names. Raises an OptionError if there are fewer than two."""
    if content is None or not styles:
        raise OptionError(f"Name a content image and at least one style image: stylecore {command} PHOTO STYLE.")
    return Job.load(content, list(styles), config)


def _saved_file(option: str, saved: SavedSettings) -> Path | None:
    """The file of bases or weights that a saved result was made with, as found from here or beside it."""
    name = saved.files.get(option)
    if name is None:
        return None
    for path in (Path(name), saved.path.parent / Path(name).name):
        if is_file(path):
            return path
    raise ImageError(f"'{name}' is not here any more: name it with --{option.replace('_', '-')}.")


def _stylize(plan: _Plan, output: Output, started: float, film: Film | None = None) -> dict[str, Any]:
    """Set up, run, save, measure; the record of it."""
    config = plan.job.config
    profile = output.profile_of(plan.job.names[0])
    with downloading() as bar:
        encoder = prepare_encoder(config, plan.weights, bar)
    fitted = load_or_fit(config, plan.fitted_paths, encoder)
    warm_up(encoder, config)
    seconds_setup = time.time() - started
    began = time.perf_counter()
    job = replace(plan.job, files=_files(plan, fitted, encoder))
    say_plan(job, encoder, plan.num_made)
    run = MeasuredRun(job, encoder=encoder, start=plan.start, num_made=plan.num_made, fitted=fitted.loaded)
    _follow(run, output, profile, film)
    seconds = time.perf_counter() - began
    fitted.save(run.fitted, encoder, config)
    return _record(run, output.path, encoder) | {"seconds": round(seconds, 3), "seconds_setup": round(seconds_setup, 3)}


def _files(plan: _Plan, fitted: FittedFile, encoder: Encoder) -> dict[str, str]:
    """What the settings say of the files that were used."""
    files: dict[str, str] = {}
    if plan.weights is not None:
        files |= {"weights": portable(str(plan.weights)), "encoder_checksum": encoder.checksum}
    if fitted.loaded:
        files |= {option: portable(str(path)) for option, path in plan.fitted_paths.items() if path is not None}
    return files


def _follow(run: MeasuredRun, output: Output, profile: bytes | None, film: Film | None) -> None:
    """Run and save. Ctrl-C and divergence save what there is before they are reported."""
    try:
        with progress(run.job.config.num_steps) as report:
            for step in run:
                report(step)
                if film is not None:
                    film.see(step.image)
    except KeyboardInterrupt:
        if run.step is None:
            raise
        _save(run, output, profile, film)
        raise InterruptedRunError(
            f"Stopped after {run.step.index} of {run.step.total} evaluations: '{output.path}' holds the image so "
            f"far, and --resume goes on with it."
        ) from None
    _save(run, output, profile, film)
    if run.trouble:
        raise DivergenceError(run.trouble, run.image)


def _save(run: MeasuredRun, output: Output, profile: bytes | None, film: Film | None) -> None:
    output.save(run.image, run.settings(), run.job.result_alpha(), profile)
    if film is not None:
        film.write(run.image)


def _record(run: MeasuredRun, output: Path, encoder: Encoder) -> dict[str, Any]:
    distances, config = run.distances, run.job.config
    return {
        "output": str(output),
        "style_distance": round(distances.style, 4),
        "content_distance": round(distances.content, 4),
        "num_steps": run.num_steps,
        "device": str(encoder.device),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "encoder": config.encoder,
        "loss": config.loss,
        "size_px": list(run.job.size),
        "peak_memory_mib": round(peak_memory_mib(encoder.device)),
        "config": config.to_dict(),
    }


def _sentence(record: dict[str, Any]) -> str:
    height, width = record["size_px"]
    where = device_in_words(torch.device(record["device"]))
    distances = [f"{kind} distance {record[f'{kind}_distance']:.3f}" for kind in ("style", "content")
                 if f"{kind}_distance" in record]  # fmt: skip
    return f"{record['output']}: {width}x{height} px in {record['seconds']:.1f} s on {where}, {', '.join(distances)}."


def _process_started() -> float:
    return psutil.Process().create_time()
