"""The command line: parsing, progress bars and error printing. The only part of the library that prints."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import sys
import time
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.exceptions import TyperException

import stylecore
from stylecore.config import StylizeConfig, parse_field
from stylecore.devices import describe_devices, peak_memory_mib
from stylecore.encoder import Encoder
from stylecore.errors import DivergenceError, ImageError, OptionError, StylecoreError
from stylecore.images import (
    ImageNote,
    ImageTensor,
    check_writable,
    image_size,
    load_image,
    read_settings,
    save_image,
    to_uint8,
)
from stylecore.metrics import Yardstick
from stylecore.presets import DEFAULT_PRESET, PRESETS, make_config
from stylecore.stylize import Step, prepare_encoder, stylize_steps

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Paint a photo in the manner of a picture.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
messages = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Recipe:
    """The options that decide how a result looks; None means "not typed"."""

    size: Annotated[int | None, typer.Option(help="Longer side of the result in px (default 512).")] = None
    preset: Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)} (default {DEFAULT_PRESET}).")] = None
    loss: Annotated[str | None, typer.Option(help="The style loss (default gram).")] = None
    steps: Annotated[int | None, typer.Option(help="Loss-and-gradient evaluations over all scales.")] = None
    style_weight: Annotated[float | None, typer.Option(help="Times the preset's style term (default 1.0).")] = None
    style_weights: Annotated[str | None, typer.Option(help="Of several styles, e.g. 0.7,0.3.")] = None
    encoder: Annotated[str | None, typer.Option(help="vgg16 (bundled) or vgg19.")] = None
    weights: Annotated[Path | None, typer.Option(help="Encoder weights, .safetensors or .pth.")] = None
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None
    dtype: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None
    seed: Annotated[int | None, typer.Option(help="Of the noise start (default 0).")] = None
    keep_colors: Annotated[str | None, typer.Option(help="luminance or match.")] = None
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the config.")
    ] = None

    def options(self) -> dict[str, Any]:
        """What was typed, as fields of `StylizeConfig`."""
        plain = ("size", "preset", "loss", "style_weight", "encoder", "device", "dtype", "seed", "keep_colors")
        options = {name: getattr(self, name) for name in plain} | {"num_steps": self.steps}
        if self.style_weights is not None:
            options["style_weights"] = parse_field("style_weights", self.style_weights)
        for assignment in self.set_ or ():
            field, separator, text = assignment.partition("=")
            if not separator:
                raise OptionError(f"--set takes FIELD=VALUE, such as --set optimizer=adam, not '{assignment}'.")
            options[field.strip()] = parse_field(field.strip(), text)
        return {name: value for name, value in options.items() if value is not None}


def takes_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of `Recipe`, and hand it the filled `Recipe` as its argument `recipe`."""
    hints = typing.get_type_hints(Recipe, include_extras=True)
    fields = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in dataclasses.fields(Recipe)
    ]
    own_hints = typing.get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=own_hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(command).parameters.values()
        if p.name != "recipe"
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        recipe = Recipe(**{f.name: arguments.pop(f.name) for f in dataclasses.fields(Recipe)})
        command(recipe=recipe, **arguments)

    wrapped.__signature__ = inspect.Signature(own + fields)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in own + fields}
    return wrapped


@app.command("stylize")
@takes_recipe
def stylize_command(
    recipe: Recipe,
    content: Annotated[str | None, typer.Argument(metavar="CONTENT", help="The photo.")] = None,
    styles: Annotated[list[str] | None, typer.Argument(metavar="STYLE...", help="One or more pictures.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("stylized.png"),
    from_: Annotated[
        Path | None, typer.Option("--from", help="Run a saved PNG's settings again; options typed here win.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Paint CONTENT in the manner of STYLE, and save it as a PNG with its settings inside."""
    started = _process_started()
    job = _prepare(recipe, content, styles or [], output, from_)
    encoder = prepare_encoder(job.config, recipe.weights)
    _warm_up(encoder, job.config)
    seconds_setup = time.time() - started
    record = _stylize(job, encoder, output)
    print(json.dumps(record | {"seconds_setup": round(seconds_setup, 3)}) if as_json else _sentence(record))


@app.command()
def show(image: Annotated[Path, typer.Argument(help="A PNG that stylecore saved.")]) -> None:
    """Print the settings inside a PNG."""
    print(json.dumps(read_settings(image), indent=2))


@app.command()
def devices(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what there is to compute on; the first is what --device auto takes."""
    found = describe_devices()
    if as_json:
        print(json.dumps(found))
        return
    table = Table("device", "name", "dtype", "memory free", "threads", box=None)
    for record in found:
        memory = f"{typing.cast(int, record['memory_free_mib']) / 1024:.1f} GiB"
        threads = str(record["num_threads"] or "")
        table.add_row(str(record["device"]), str(record["name"]), str(record["dtype"]), memory, threads)
    Console().print(table)


@app.callback(invoke_without_command=True)
def top_level(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(f"stylecore {stylecore.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


class _InterruptedError(StylecoreError):
    """Ctrl-C, after what there was has been saved."""


@dataclass(frozen=True)
class _Job:
    content: ImageTensor
    styles: list[ImageTensor]
    config: StylizeConfig
    inputs: list[dict[str, str]]  # name and checksum of the content, then of each style


def _prepare(recipe: Recipe, content: str | None, styles: Sequence[str], output: Path, from_: Path | None) -> _Job:
    """Check everything that can be checked before the slow part: output, options, images."""
    check_writable(output)
    options = recipe.options()
    if from_ is None:
        config = make_config(**options)
        paths = [content, *styles] if content is not None else []
    elif "preset" in options:
        raise OptionError("--from brings its own recipe: leave out --preset.")
    else:
        saved = read_settings(from_)
        config = StylizeConfig.from_dict(saved.get("config", {}) | options)
        paths = [content, *styles] if content is not None else _saved_inputs(saved.get("inputs", []), from_.parent)
    if len(paths) < 2:
        raise OptionError("Name a content image and at least one style image: stylecore stylize PHOTO STYLE.")
    if config.style_weights and len(config.style_weights) != len(paths) - 1:
        raise OptionError(f"{len(config.style_weights)} style weights were given for {len(paths) - 1} style images.")
    images = [load_image(path) for path in paths]
    inputs = [
        {"name": _portable(path), "checksum": _checksum(image)} for path, image in zip(paths, images, strict=True)
    ]
    return _Job(images[0], images[1:], config, inputs)


def _saved_inputs(inputs: list[dict[str, str]], folder: Path) -> list[str]:
    """The files that a saved PNG was made from, as found from here or beside it; unchanged since then."""
    paths = []
    for record in inputs:
        candidates = [Path(record["name"]), folder / Path(record["name"]).name]
        found = [path for path in candidates if path.is_file() and _checksum(load_image(path)) == record["checksum"]]
        if not found:
            raise ImageError(f"'{record['name']}' is not here any more, or has changed: name CONTENT and STYLE again.")
        paths.append(str(found[0]))
    return paths


def _portable(path: str) -> str:
    """The path as typed if it tells nothing about this machine, else the file's name: PNGs are passed around."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name


def _checksum(image: ImageTensor) -> str:
    return hashlib.sha256(to_uint8(image).tobytes()).hexdigest()[:12]


def _warm_up(encoder: Encoder, config: StylizeConfig) -> None:
    """One evaluation of a small image, so that the timed run meets kernels that are chosen and loaded."""
    import torch

    small = dataclasses.replace(config, size=64, num_steps=1, style_weights=())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for _ in stylize_steps(image, image, small, encoder=encoder):
        pass


def _stylize(job: _Job, encoder: Encoder, output: Path) -> dict[str, Any]:
    """Run, save, measure. Ctrl-C and divergence save what there is before they are reported."""
    settings = {"version": stylecore.__version__, "config": job.config.to_dict(), "inputs": job.inputs}
    started = time.perf_counter()
    step: Step | None = None
    try:
        with _progress(job.config.num_steps) as report:
            for step in stylize_steps(job.content, job.styles, job.config, encoder=encoder):
                report(step)
    except KeyboardInterrupt:
        if step is None:
            raise
        save_image(step.image, output, settings)
        raise _InterruptedError(
            f"Stopped after {step.index} of {step.total} evaluations: '{output}' holds the image so far."
        ) from None
    except DivergenceError as error:
        save_image(error.last_good, output, settings)
        raise
    assert step is not None  # num_steps is at least 1
    save_image(step.image, output, settings)
    seconds = time.perf_counter() - started
    size = image_size(step.image)
    distances = Yardstick(job.content, job.styles, size, job.config.style_weights).measure(step.image.cpu())
    return {
        "output": str(output),
        "style_distance": round(distances.style, 4),
        "content_distance": round(distances.content, 4),
        "seconds": round(seconds, 3),
        "num_steps": step.index,
        "device": str(encoder.mean.device),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "encoder": job.config.encoder,
        "loss": job.config.loss,
        "size_px": list(size),
        "peak_memory_mib": round(peak_memory_mib(encoder.mean.device)),
        "config": job.config.to_dict(),
    }


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Step], None]]:
    """A bar with the loss and the time left, on a terminal's stderr only."""
    columns = (BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("loss {task.fields[loss]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=messages, transient=True, disable=not messages.is_terminal
    ) as bar:
        task = bar.add_task("stylizing", total=total, loss="-")

        def report(step: Step) -> None:
            # Reading the loss waits for the device: only as often as a person can read it.
            if step.index % 5 == 0 or step.index == step.total:
                bar.update(task, completed=step.index, loss=f"{float(step.losses.total):.3g}")

        yield report


def _sentence(record: dict[str, Any]) -> str:
    height, width = record["size_px"]
    return (
        f"{record['output']}: {width}x{height} px in {record['seconds']:.1f} s, "
        f"style distance {record['style_distance']:.3f}, content distance {record['content_distance']:.3f}."
    )


def _process_started() -> float:
    return psutil.Process().create_time()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the job failed), 2 (bad input) or 130 (Ctrl-C)."""
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always", ImageNote)
        warnings.showwarning = _show_note
        try:
            status = app(args=arguments, prog_name="stylecore", standalone_mode=False)
        except TyperException as error:
            return _fail(error.format_message(), error.exit_code)
        except _InterruptedError as error:
            return _fail(str(error), EXIT_INTERRUPTED)
        except DivergenceError as error:
            return _fail(str(error), EXIT_FAILED)
        except StylecoreError as error:
            return _fail(str(error), EXIT_USAGE)
        if status == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this
            return _fail("Stopped before there was an image: nothing was saved.", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0


def _show_note(message: Warning | str, *_: Any, **__: Any) -> None:
    messages.print(f"Note: {message}")


def _fail(message: str, status: int) -> int:
    """One line on stderr."""
    messages.print(f"stylecore: {' '.join(message.split())}", markup=False)
    return status


def run() -> None:
    """The console script."""
    sys.exit(main())
