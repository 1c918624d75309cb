"""`stylecore compare` and `stylecore sweep-components`: many jobs, one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stylecore.cli.console import InterruptedRunError, messages, progress
from stylecore.cli.recipe import Recipe, parse_list, takes_recipe
from stylecore.cli.stylize import load_job
from stylecore.compare import Comparison, Record, Variant, make_variants
from stylecore.config import parse_field
from stylecore.errors import OutputError
from stylecore.files import check_new_folder, check_writable, is_one_of, make_folder
from stylecore.losses import STYLE_LOSSES
from stylecore.report.page import (
    REPORT_FILES,
    SWEEP_FILES,
    results_table,
    seconds_text,
    sweep_results_table,
    write_report,
    write_sweep_figure,
)
from stylecore.sweep import COMPONENTS, THRESHOLDS, sweep_table, sweep_variants

DEFAULT_LOSSES = ("gram", "pca", "svd", "weighted")  # the full Gram and the paper's three reductions

ContentArgument = Annotated[str, typer.Argument(metavar="CONTENT", help="The photo.")]
StylesArgument = Annotated[list[str], typer.Argument(metavar="STYLE...", help="One or more pictures.")]
FolderOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write into.")]


@takes_recipe
def compare_command(
    recipe: Recipe,
    content: ContentArgument,
    styles: StylesArgument,
    output: FolderOption,
    losses: Annotated[
        str | None, typer.Option(help=f"Style losses, or all (default --loss, else {','.join(DEFAULT_LOSSES)}).")
    ] = None,
    presets: Annotated[str | None, typer.Option(help="Presets (default --preset).")] = None,
    components: Annotated[
        str | None, typer.Option(help="Kept by pca and the like, e.g. 64,12.5%,var:0.95 (default 12.5%).")
    ] = None,
    style_scales: Annotated[
        str | None, typer.Option(help="Stroke sizes, e.g. 0.5,1,2 (default --style-scale).")
    ] = None,
) -> None:
    """Do one job in several ways, the product of the lists, from the same start; a list wins over its single option.

    Writes results.json, comparison.png, curves.png, index.html and each result. Run again, it goes on where it stopped.
    """
    options = recipe.options(content)
    names = parse_list(losses) or ([options["loss"]] if "loss" in options else list(DEFAULT_LOSSES))
    names = list(STYLE_LOSSES) if names == ["all"] else names
    scales = [parse_field("style_scale", scale) for scale in parse_list(style_scales)]
    variants = make_variants(options, names, parse_list(presets), parse_list(components), scales)
    comparison = _prepare("compare", recipe, content, styles, output, variants, "results.json")
    _run(comparison)
    write_report(comparison)
    Console().print(results_table(comparison.records).rich())
    print(f"{output / 'index.html'} shows them side by side.")


@takes_recipe
def sweep_command(
    recipe: Recipe,
    content: ContentArgument,
    styles: StylesArgument,
    output: FolderOption,
    components: Annotated[str, typer.Option(help="Values of K for pca; 0 is no style term.")] = ",".join(COMPONENTS),
    thresholds: Annotated[str, typer.Option(help="Thresholds for svd.")] = ",".join(THRESHOLDS),
) -> None:
    """Show what K components keep: near 0 the content image, near all the full Gram's result; so for svd's threshold.

    Writes sweep.json, sweep.png, comparison.png, curves.png, index.html and each result. Run again, it goes on where
    it stopped.
    """
    variants = sweep_variants(recipe.options(content), parse_list(components), parse_list(thresholds))
    comparison = _prepare("sweep-components", recipe, content, styles, output, variants, "sweep.json")
    _run(comparison)
    rows = sweep_table(comparison)
    comparison.write(table=rows)
    write_sweep_figure(comparison, rows)
    write_report(comparison)
    Console().print(sweep_results_table(rows).rich())
    print(f"{output / 'sweep.png'} is the figure, {output / 'index.html'} shows the images side by side.")


def _prepare(
    command: str,
    recipe: Recipe,
    content: str,
    styles: Sequence[str],
    folder: Path,
    variants: Sequence[Variant],
    results_name: str,
) -> Comparison:
    """Check everything that can be checked before the slow part, then make the folder."""
    check_new_folder(folder)
    job = load_job(content, styles, variants[0].config, command)
    comparison = Comparison(job, variants, folder, weights=recipe.weights_file, results_name=results_name)
    make_folder(folder)
    _check_files(comparison, SWEEP_FILES if command == "sweep-components" else REPORT_FILES)
    return comparison


def _check_files(comparison: Comparison, reports: Iterable[str]) -> None:
    """Refuse now what could not be written later, or would replace one of the pictures."""
    images = (variant.file_name for variant in comparison.variants)
    for file in (comparison.folder / name for name in (comparison.results.name, *images, *reports)):
        check_writable(file, file.suffix)
        if is_one_of(file, comparison.job.names):
            raise OutputError(f"The output '{file}' is one of the inputs: name another folder.")


def _run(comparison: Comparison) -> None:
    """Drain the comparison behind one bar over all variants."""
    total = sum(variant.config.num_steps for variant in comparison.variants)
    done = 0
    try:
        with progress(total) as report:
            for event in comparison.run():
                if event.step is not None:
                    report(event.step, done, event.variant.name)
                else:
                    done += event.variant.config.num_steps
                    _say_finished(event.record)
    except KeyboardInterrupt:
        finished = f"{len(comparison.records)} of {len(comparison.variants)} variants are in '{comparison.folder}'"
        raise InterruptedRunError(f"Stopped: {finished}, and the same command goes on from there.") from None


def _say_finished(record: Record | None) -> None:
    if record is not None and messages.is_terminal:
        distance = f"style distance {record.style_distance:.3f}"
        messages.print(f"{record.name}: {seconds_text(record.seconds)}, {distance}", markup=False)
