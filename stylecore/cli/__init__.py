"""The command line: parsing, progress bars and error printing. The only part of the library that prints."""

from __future__ import annotations

import json
import typing
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

import stylecore
from stylecore.cli.batch import BatchCommand, batch_command
from stylecore.cli.bench import bench_command
from stylecore.cli.blend import blend_command
from stylecore.cli.compare import compare_command, sweep_command
from stylecore.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    InterruptedRunError,
    print_error,
    print_note,
)
from stylecore.cli.encoders import reduce_encoder_command
from stylecore.cli.plugins import PluginGroup
from stylecore.cli.stylize import stylize_command, texture_command
from stylecore.cli.video import video_command
from stylecore.devices import describe_devices
from stylecore.errors import DivergenceError, StylecoreError
from stylecore.images import ImageNote, read_settings

app = typer.Typer(
    cls=PluginGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("stylize")(stylize_command)
app.command("texture")(texture_command)
app.command("batch", cls=BatchCommand)(batch_command)
app.command("blend")(blend_command)
app.command("video")(video_command)
app.command("compare")(compare_command)
app.command("sweep-components")(sweep_command)
app.command("reduce-encoder")(reduce_encoder_command)
app.command("bench")(bench_command)


@app.command()
def show(image: Annotated[Path, typer.Argument(help="A picture that stylecore saved.")]) -> None:
    """Print the settings inside a result."""
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


def _print_version(is_asked: bool) -> bool:
    if is_asked:
        print(f"stylecore {stylecore.__version__}")
        raise typer.Exit
    return is_asked


@app.callback()
def top_level(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Paint a photo in the manner of a picture."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 (the job failed), 2 (bad input) or 130 (Ctrl-C)."""
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always", ImageNote)
        warnings.showwarning = print_note
        try:
            status = app(args=arguments, prog_name="stylecore", standalone_mode=False)
        except TyperException as error:
            return print_error(error.format_message(), error.exit_code)
        except InterruptedRunError as error:
            return print_error(str(error), EXIT_INTERRUPTED)
        except DivergenceError as error:
            return print_error(str(error), EXIT_FAILED)
        except StylecoreError as error:
            return print_error(str(error), EXIT_USAGE)
        if status == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this
            return print_error("Stopped before there was an image: nothing was saved.", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0
