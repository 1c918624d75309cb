"""`stylecore export` and `python -m export`: parsing and printing.

Importing this module is cheap: torch, onnx and onnxruntime come with the command that needs them, and `stylize` needs
no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup
from typer.exceptions import TyperException

from .precisions import PRECISIONS
from .progress import on_terminal

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
EXTRA = ("onnx", "onnxruntime", "onnxscript")  # what the extra `export` installs


class CommandError(TyperException):
    """What a user can mend, as the command line's own error: whoever runs the app prints its one line."""

    def __init__(self, message: str, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ExportCommands(TyperGroup):
    """The commands, whose errors are the command line's own, also when they are mounted under `stylecore`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CommandError("Stopped: nothing was written.", EXIT_INTERRUPTED) from error
        except ImportError as error:  # missing, or there and of no use
            if str(error.name).split(".")[0] not in EXTRA:
                raise
            raise CommandError(
                f"{error.name} is not installed or not whole: pip install 'stylecore[export]'."
            ) from error
        except _user_errors() as error:
            raise CommandError(str(error)) from error


def _user_errors() -> tuple[type[Exception], ...]:
    """The errors with a sentence for the user. Only an imported module can have raised them, and importing them here
    would import torch and onnxruntime."""
    names = {f"{__package__}.runtime": "ModelError", "stylecore.errors": "StylecoreError"}
    return tuple(getattr(sys.modules[module], name) for module, name in names.items() if module in sys.modules)


app = typer.Typer(
    cls=ExportCommands,
    help="The feature extractor and whole stylizations as ONNX files.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _parse_size(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"'{text}': give a number of px, or dynamic.")
    return int(text)


def _parse_names(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise typer.BadParameter(f"'{text}': give one or more, with commas.")
    return names


def _parse_threads(text: str) -> list[int]:
    counts = _parse_names(text)
    if not all(count.isdecimal() and 1 <= int(count) <= 256 for count in counts):
        raise typer.BadParameter(f"'{text}': give whole numbers such as 1,2.")
    return [int(count) for count in counts]


Size = Annotated[Any, typer.Option(parser=_parse_size, metavar="PX", help="Height and width in px, or dynamic.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="What to write.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="An extractor, .onnx or .ort.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def extractor(
    output: Output,
    encoder: Annotated[str, typer.Option(help="vgg16, vgg19 or a reduced one.")] = "vgg16",
    layers: Annotated[
        Any, typer.Option(parser=_parse_names, metavar="NAMES", help="Default: relu1_1,...,relu5_1,relu4_2.")
    ] = None,
    outputs: Annotated[str, typer.Option(help="features, gram or projected.")] = "features",
    components: Annotated[int, typer.Option(help="Columns of the bases that projected takes.")] = 64,
    size: Size = "dynamic",
    precision: Annotated[str, typer.Option(help=f"{', '.join(PRECISIONS)}.")] = "fp32",
    pixels: Annotated[bool, typer.Option("--pixels", help="Take uint8 NHWC, not float32 NCHW in [0, 1].")] = False,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    ort: Annotated[bool, typer.Option("--ort", help="Write onnxruntime's mobile format beside it.")] = False,
) -> None:
    """Write the feature extractor as one ONNX file."""
    from stylecore.files import check_writable

    from .extractor import ExtractorOptions, convert_to_ort, export_extractor

    given: dict[str, Any] = {} if layers is None else {"layers": tuple(layers)}
    options = ExtractorOptions(
        encoder=encoder,
        outputs=outputs,
        components=components,
        size=size,
        precision=precision,
        pixels=pixels,
        batch=batch,
        **given,
    )
    if output.suffix.lower() == ".ort":
        raise CommandError(f"Name the output '{output.with_suffix('.onnx')}': --ort writes '{output.name}' beside it.")
    if ort:
        check_writable(output.with_suffix(".ort"), ".ort")
    _print_written(export_extractor(options, output, on_terminal))
    if ort:
        from .mobile import check_mobile

        _print_written(convert_to_ort(output))
        print("By onnxruntime's usability checker, of accelerators in phones:")
        for verdict in check_mobile(output):
            print(f"  {verdict}")
        if size is None:
            print("  They take fixed sizes alone: give one by --size.")


@app.command()
def verify(
    file: File,
    runtime: Annotated[
        str, typer.Option(help="Whose numbers: onnxruntime, reference, openvino, web or litert.")
    ] = "onnxruntime",
    as_json: AsJson = False,
) -> int:
    """Check a file's form, and its numbers against torch. Exit 1 if they differ by more than the precision allows."""
    from dataclasses import asdict

    from .verify import verify as run_verification

    found = run_verification(file, runtime)
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
        print(f"{file}: {verdict} {found.tolerance:.2g}, the tolerance of {found.options.precision}.")
    return 0 if found.passed else EXIT_FAILED


@app.command()
def bench(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Extractors, and folders that bundle wrote.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Make and time everything there is; int8 takes minutes.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json, .csv, .md, .png.")
    ] = None,
    providers: Annotated[
        Any, typer.Option(parser=_parse_names, metavar="NAMES", help="Of cpu, cuda, tensorrt, coreml, xnnpack.")
    ] = "cpu",
    threads: Annotated[Any, typer.Option(parser=_parse_threads, metavar="NUMBERS", help="Numbers of threads.")] = "1,2",
    size: Annotated[int, typer.Option(help="Height and width in px for dynamic files.", min=64, max=2048)] = 256,
    quick: Annotated[bool, typer.Option("--quick", help="64 runs and 6 s, not 1024 and 60 s.")] = False,
    sustained: Annotated[
        float, typer.Option(metavar="MINUTES", help="Of each file without a pause, for the drift.", min=0, max=600)
    ] = 0.0,
    allow_fallback: Annotated[bool, typer.Option(help="Go on where a provider did not really run.")] = False,
) -> None:
    """Time extractors, in turns, beside their error."""
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    import onnxruntime

    from .benchmark import QUICK, Rules, export_bench_files, run_bench
    from .report import check_views, write_views

    if bool(files) == everything:
        raise CommandError("Name extractors to time, or make all with --all.")
    if output is not None:
        check_views(output)
    onnxruntime.set_default_logger_severity(4)  # a provider that is missing is said in our own words
    with TemporaryDirectory() as folder:
        record = run_bench(
            files or export_bench_files(Path(folder), on_terminal),
            providers=providers,
            threads=threads,
            rules=replace(QUICK if quick else Rules(), size_px=size, sustained_minutes=sustained),
            allow_fallback=allow_fallback,
        )
    if output is not None:
        write_views(record, output)
    _print_table(record)


@app.command()
def views(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD", help="A bench.json, or several.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of what several make.")] = None,
) -> None:
    """Write bench.csv, bench.md and bench.png again from a record; of several machines' records machines.*."""
    from .record import read_record
    from .report import check_views, machines_table, write_machines, write_views

    found = [read_record(record) for record in records]
    if len(found) == 1 and output is None and found[0].rules is not None:  # not written by hand
        folder = records[0].parent
        check_views(folder)
        write_views(found[0], folder)
        _print_table(found[0])
        return
    if output is None:
        raise CommandError("Name the folder for the views of several machines: -o FOLDER.")
    write_machines(found, output)
    _print_view(machines_table(found))


def _print_table(record: Any) -> None:
    from .report import table

    _print_view(table(record))


def _print_view(view: Any) -> None:
    Console(width=None if sys.stdout.isatty() else 240).print(view.rich())


Encoder = Annotated[str | None, typer.Option(help="vgg16, vgg19 or a reduced one (default: vgg16-x2).")]
Loss = Annotated[str | None, typer.Option(help="gram or pca.")]
Components = Annotated[str | None, typer.Option(help="Kept by pca: 64, or 12.5% of the channels.")]
Optimizer = Annotated[str | None, typer.Option(help="projected or adam, each with a recipe of its own.")]
Pooling = Annotated[str | None, typer.Option(help="max or average.")]
StepPrecision = Annotated[
    str,
    typer.Option(
        help="Of the convolutions, forward and back: fp32, int8 for speed on CPUs, or fp16 for WebGPU and CUDA."
    ),
]


@app.command()
def step(
    output: Output,
    encoder: Encoder = None,
    loss: Loss = None,
    components: Components = None,
    pooling: Pooling = None,
    optimizer: Optimizer = None,
    precision: StepPrecision = "fp32",
) -> None:
    """Write one optimisation step as one ONNX file: image, optimiser's state, targets in; the next ones, losses out."""
    from .bundle import bundle_config, export_step

    config = bundle_config(encoder=encoder, loss=loss, components=components, pooling=pooling, optimizer=optimizer)
    _print_written(export_step(config, output, precision, on_terminal))


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
    precision: StepPrecision = "fp32",
) -> None:
    """Write a folder that stylizes with numpy, Pillow and onnxruntime alone: python DIR/runtime.py CONTENT STYLE."""
    from .bundle import bundle_config, export_bundle

    options = {"encoder": encoder, "loss": loss, "components": components, "pooling": pooling, "optimizer": optimizer}
    folder = export_bundle(bundle_config(**options, num_steps=steps, size=size), output, precision, on_terminal)
    total = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {total / 1e6:.1f} MB.")


@app.command()
def web(output: Output) -> None:
    """Write a folder that any static host serves: a page that stylizes in the visitor's browser, without a server."""
    from .webpage import download_sizes, export_web

    folder = export_web(output, on_terminal)
    print(f"{folder}: {sum(download_sizes(folder).values()) / 1e6:.1f} MB to download.")


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
    threads: Annotated[int, typer.Option(help="0: one a core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="The output may be one of the inputs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Paint CONTENT in the manner of STYLE with a bundle, without torch."""
    from . import runtime

    job = runtime.Job(content, style, output, models, size, steps, style_weight, seed, threads, overwrite)
    record = runtime.run_job(job)
    print(json.dumps(record) if as_json else runtime.sentence(record))


def _print_written(path: Path) -> None:
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (beyond the tolerance), 2 (bad input) or 130."""
    try:
        status = app(args=arguments, prog_name=f"python -m {__package__}", standalone_mode=False)
    except TyperException as error:
        print(f"export: {' '.join(error.format_message().split())}", file=sys.stderr)
        return error.exit_code
    return status if isinstance(status, int) else 0
