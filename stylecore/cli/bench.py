"""`stylecore bench`: measure here, or draw what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecore.bench import (
    Bench,
    BenchOptions,
    bench_figure,
    bench_markdown,
    default_pairs,
    parse_pair,
    read_bench,
    write_bench,
)
from stylecore.cli.console import InterruptedRunError, messages
from stylecore.cli.recipe import parse_list
from stylecore.errors import OutputError
from stylecore.files import check_writable, is_one_of, write_file

QUICK = BenchOptions(num_reference_pairs=1, reduced_in=(), max_scale_px=512)
FIGURE = "distance_against_time.png"


def bench_command(
    quick: Annotated[bool, typer.Option("--quick", help="Within 8 minutes on two cores.")] = False,
    pairs: Annotated[
        str | None, typer.Option(metavar="LIST", help="PHOTO:STYLE,... names or files (default: six of our own).")
    ] = None,
    presets: Annotated[str | None, typer.Option(metavar="LIST", help="Presets (default ours).")] = None,
    size: Annotated[int, typer.Option(help="Longer side in px.")] = BenchOptions.size,
    json_file: Annotated[Path, typer.Option("--json", metavar="FILE", help="Where the records go.")] = Path(
        "bench.json"
    ),
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure nothing: draw the records in FILE beside it.")
    ] = None,
) -> None:
    """Time the presets against the reference: records as JSON, a table and a figure beside them."""
    if report is not None:
        draw(report)
        return
    figure = json_file.parent / FIGURE
    for file, suffix in ((json_file, ".json"), (json_file.with_suffix(".md"), ".md"), (figure, figure.suffix)):
        check_writable(file, suffix)
    if is_one_of(figure, (part for text in parse_list(pairs) for part in text.split(":"))):
        raise OutputError(f"The output '{figure}' is one of the inputs: name a --json in another folder.")
    options = QUICK if quick else BenchOptions()
    changes = {"size": size} | ({"presets": tuple(parse_list(presets))} if presets else {})
    options = BenchOptions(**(vars(options) | changes))
    bench = Bench(options, [parse_pair(text) for text in parse_list(pairs)] or default_pairs())
    try:
        for sentence in bench.run():
            messages.print(sentence, markup=False)
            write_bench(bench, json_file)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"Stopped: '{json_file}' holds what was measured so far.") from None
    draw(json_file)


def draw(records_file: Path) -> None:
    """Write the table as Markdown and the figure, into the records' folder."""
    records = read_bench(records_file)
    page = records_file.with_suffix(".md")
    write_file(page, bench_markdown(records, FIGURE).encode())
    write_file(records_file.parent / FIGURE, bench_figure(records))
    print(f"{page} and {FIGURE} beside it show {records_file.name}.")
