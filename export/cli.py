"""`python -m export`: parsing and printing. Starts without torch, which `stylize` does not need."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

from export import runtime
from export.runtime import ModelError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="stylecore in ONNX.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Output = Annotated[Path, typer.Option("--output", "-o", help="What to write.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="An extractor, .onnx or .ort.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback(invoke_without_command=True)
def top_level(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def extractor(
    output: Output,
    encoder: Annotated[str, typer.Option(help="vgg16, vgg19 or a reduced one.")] = "vgg16",
    layers: Annotated[str | None, typer.Option(help="Default: relu1_1,...,relu5_1,relu4_2.")] = None,
    outputs: Annotated[str, typer.Option(help="features, gram or projected.")] = "features",
    components: Annotated[int, typer.Option(help="Columns of the bases that projected takes.")] = 64,
    size: Annotated[str, typer.Option(help="Height and width in px, or dynamic.")] = "dynamic",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    pixels: Annotated[bool, typer.Option("--pixels", help="Take uint8 NHWC, not float32 NCHW in [0, 1].")] = False,
    ort: Annotated[bool, typer.Option("--ort", help="Write onnxruntime's mobile format beside it.")] = False,
) -> None:
    """Write the feature extractor as one ONNX file."""
    from export.extractor import ExtractorOptions, convert_to_ort, export_extractor

    given: dict[str, Any] = {"layers": tuple(part.strip() for part in layers.split(","))} if layers else {}
    options = ExtractorOptions(
        encoder=encoder,
        outputs=outputs,  # type: ignore[arg-type]
        components=components,
        size=_size(size),
        precision=precision,  # type: ignore[arg-type]
        pixels=pixels,
        **given,
    )
    _say_written(export_extractor(options, output))
    if ort:
        target, is_usable = convert_to_ort(output)
        _say_written(target)
        print(f"NNAPI or CoreML: {'expected to do well' if is_usable else 'no gain expected'} (usability checker).")


def _size(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise ModelError(f"--size cannot be '{text}': give a number of px, or dynamic.")
    return int(text)


@app.command()
def verify(file: File, as_json: AsJson = False) -> int:
    """Check a file's form, and its numbers against torch. Exit 1 if they differ by more than the precision allows."""
    from dataclasses import asdict

    from export.verify import verify as run_verification

    found = run_verification(file)
    if as_json:
        print(
            json.dumps({"tolerance": found.tolerance, "passed": found.passed, "outputs": [*map(asdict, found.checks)]})
        )
    else:
        table = Table("output", "error", "error of the full encoder", box=None)
        for check in found.checks:
            table.add_row(check.name, f"{check.error:.2e}", f"{check.error_full:.2e}")
        Console().print(table)
        verdict = "within" if found.passed else "BEYOND"
        print(f"{file}: {verdict} {found.tolerance:g}, the tolerance of {found.options.precision}.")
    return 0 if found.passed else EXIT_FAILED


@app.command()
def bench(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Extractors.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json, .csv, .md, .png.")
    ] = None,
    providers: Annotated[str, typer.Option(help="Of cpu, cuda, tensorrt, coreml, xnnpack.")] = "cpu",
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    size: Annotated[int, typer.Option(help="Height and width in px for dynamic files.", min=64, max=2048)] = 256,
    quick: Annotated[bool, typer.Option("--quick", help="64 runs and 6 s, not 1024 and 60 s.")] = False,
    allow_fallback: Annotated[bool, typer.Option(help="Go on where a provider did not really run.")] = False,
) -> None:
    """Time extractors, in turns, beside their error."""
    from dataclasses import replace

    from export.benchmark import QUICK, Rules, run_bench
    from export.report import table, write_views

    if output is not None and not output.is_dir():
        raise ModelError(f"There is no folder '{output}' to write the record to.")
    record = run_bench(
        files,
        providers=_names(providers),
        threads=[_count(part) for part in _names(threads)],
        rules=replace(QUICK if quick else Rules(), size_px=size),
        allow_fallback=allow_fallback,
    )
    if output is not None:
        write_views(record, output)
    Console(width=None if sys.stdout.isatty() else 240).print(table(record).rich())


@app.command()
def views(record: Annotated[Path, typer.Argument(help="A bench.json.")]) -> None:
    """Write bench.csv, bench.md and bench.png again from a record."""
    from export.report import read_record, table, write_views

    found = read_record(record)
    write_views(found, record.parent)
    Console(width=None if sys.stdout.isatty() else 240).print(table(found).rich())


Encoder = Annotated[str | None, typer.Option(help="vgg16, vgg19 or a reduced one (default: vgg16-r99).")]
Loss = Annotated[str | None, typer.Option(help="gram or pca.")]
Components = Annotated[str | None, typer.Option(help="Kept by pca: 64, or 12.5% of the channels.")]
Optimizer = Annotated[str | None, typer.Option(help="projected or adam, each with a recipe of its own.")]
Pooling = Annotated[str | None, typer.Option(help="max or average.")]


@app.command()
def step(
    output: Output,
    encoder: Encoder = None,
    loss: Loss = None,
    components: Components = None,
    pooling: Pooling = None,
    optimizer: Optimizer = None,
) -> None:
    """Write one optimisation step as one ONNX file: image, optimiser's state, targets in; the next ones, losses out."""
    from export.bundle import bundle_config, export_step

    config = bundle_config(encoder=encoder, loss=loss, components=components, pooling=pooling, optimizer=optimizer)
    _say_written(export_step(config, output))


@app.command()
def bundle(
    output: Output,
    encoder: Encoder = None,
    loss: Loss = None,
    components: Components = None,
    pooling: Pooling = None,
    optimizer: Optimizer = None,
    steps: Annotated[int | None, typer.Option(help="Default of the bundle, over all scales.")] = None,
    size: Annotated[int | None, typer.Option(help="Default of the bundle, longer side in px.")] = None,
) -> None:
    """Write a folder that stylizes with numpy, Pillow and onnxruntime alone: python DIR/runtime.py CONTENT STYLE."""
    from export.bundle import bundle_config, export_bundle

    options = {"encoder": encoder, "loss": loss, "components": components, "pooling": pooling, "optimizer": optimizer}
    folder = export_bundle(bundle_config(**options, num_steps=steps, size=size), output)
    total = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {total / 1e6:.1f} MB.")


@app.command()
def stylize(
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The photo.")],
    style: Annotated[str, typer.Argument(metavar="STYLE", help="The picture.")],
    models: Annotated[Path, typer.Option(help="A folder that bundle wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("stylized.png"),
    size: Annotated[int | None, typer.Option(help="Longer side of the result in px.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps over all scales.")] = None,
    style_weight: Annotated[float, typer.Option(help="From photo (0.01) to painting (10).")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of a noise start.")] = 0,
    threads: Annotated[int, typer.Option(help="0: one a core.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Paint CONTENT in the manner of STYLE with a bundle, without torch."""
    record = runtime.run_job(runtime.Job(content, style, output, models, size, steps, style_weight, seed, threads))
    print(json.dumps(record) if as_json else runtime.sentence(record))


def _say_written(path: Path) -> None:
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise ModelError(f"--threads cannot be '{text}': give whole numbers such as 1,2.")
    return int(text)


def _user_errors() -> tuple[type[Exception], ...]:
    """What is told in one line. stylecore's errors can only have been raised if it was imported, and importing it
    here would import torch."""
    errors = sys.modules.get("stylecore.errors")
    return (ModelError, errors.StylecoreError) if errors else (ModelError,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (beyond the tolerance), 2 (bad input) or 130."""
    try:
        status = app(args=arguments, prog_name="python -m export", standalone_mode=False)
    except TyperException as error:
        return _print_error(error.format_message(), error.exit_code)
    except _user_errors() as error:
        return _print_error(str(error), EXIT_USAGE)
    if status == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this
        return _print_error("Stopped: nothing was written.", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0


def _print_error(message: str, status: int) -> int:
    """One line on stderr; returns the status."""
    print(f"export: {' '.join(message.split())}", file=sys.stderr)
    return status


def run() -> None:
    """`python -m export`."""
    sys.exit(main())
