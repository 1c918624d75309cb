"""`stylecore batch`: many photos in many styles, into one folder that can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperCommand

from stylecore.batch import (
    FAILURES,
    PAGE,
    Outcome,
    Task,
    find_pictures,
    plan_pairs,
    plan_products,
    read_pairs,
    run_here,
    run_on_ray,
    run_processes,
    write_sheet,
)
from stylecore.cli.console import EXIT_FAILED, InterruptedRunError, messages
from stylecore.cli.recipe import Recipe, parse_list, takes_recipe
from stylecore.compare import make_variants
from stylecore.errors import OptionError
from stylecore.storage import Storage

MAX_WORKERS = 256


class BatchCommand(TyperCommand):
    """A command whose `--styles` takes all names up to the next option, as a shell makes them of a pattern."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_repeated(args, "--styles")))


def _repeated(args: Sequence[str], option: str) -> Iterator[str]:
    """`--styles a b` -> `--styles a --styles b`"""
    is_listing = False
    for arg in args:
        if arg == option or arg.startswith("-"):
            is_listing = arg == option
            if not is_listing:
                yield arg
        else:
            yield from [option, arg] if is_listing else [arg]


@takes_recipe
def batch_command(
    recipe: Recipe,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The folder, or an address such as s3://bucket/folder.")
    ],
    photos: Annotated[list[str] | None, typer.Argument(metavar="PHOTOS...", help="Files, folders, patterns.")] = None,
    styles: Annotated[
        list[str] | None, typer.Option(metavar="STYLES...", help="Files, folders, patterns, up to the next option.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead of both, a CSV table with the columns photo and style.")
    ] = None,
    losses: Annotated[str | None, typer.Option(help="Several style losses, as in compare.")] = None,
    presets: Annotated[str | None, typer.Option(help="Several presets.")] = None,
    components: Annotated[str | None, typer.Option(help="Several K, e.g. 64,12.5%.")] = None,
    workers: Annotated[int, typer.Option(help="Processes here that share the work.", min=1, max=MAX_WORKERS)] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster: host:port, auto, or local for a new one here.")
    ] = None,
    ray_cpus: Annotated[float, typer.Option(help="CPUs that a task asks Ray for.", min=0.0)] = 1.0,
    ray_gpus: Annotated[float, typer.Option(help="GPUs, e.g. 0.5 for two tasks on one.", min=0.0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Paint every photo in every style (and variant), and show all on one sheet, index.html.

    Run again, it makes only what is missing or whose pictures or settings have changed. A picture that fails does so
    alone: failures.jsonl says why, and the exit status is 1.
    """
    storage = Storage(output)
    tasks = _plan(recipe, photos or [], styles or [], pairs, (losses, presets, components))
    storage.prepare()
    runner: Callable[[Sequence[Task], str], Iterator[Outcome]] = run_here
    if ray is not None:
        runner = partial(run_on_ray, address=ray, num_cpus=ray_cpus, num_gpus=ray_gpus)
    elif workers > 1:
        runner = partial(run_processes, num_workers=workers)
    outcomes = _watched(runner(tasks, output), tasks, storage)
    write_sheet(storage, tasks, outcomes)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    made = sum(outcome.made for outcome in outcomes)
    summary = {"results": len(tasks) - failed, "made": made, "failed": failed, "output": output}
    print(json.dumps(summary) if as_json else _sentence(summary))
    return EXIT_FAILED if failed else 0


def _plan(
    recipe: Recipe, photos: list[str], styles: list[str], pairs: Path | None, lists: Sequence[str | None]
) -> list[Task]:
    losses, presets, components = map(parse_list, lists)
    variants = make_variants(recipe.options(), losses, presets, components)
    if pairs is not None:
        if photos or styles:
            raise OptionError("A table of pairs names photos and styles itself: leave out PHOTOS and --styles.")
        return plan_pairs(read_pairs(pairs), variants, recipe.weights_file)
    if not photos or not styles:
        raise OptionError("Name photos, and styles after --styles, or a table of both by --pairs.")
    found = find_pictures(photos, "photo"), find_pictures(styles, "style")
    return plan_products(*found, variants, recipe.weights_file)


def _watched(outcomes: Iterator[Outcome], tasks: Sequence[Task], storage: Storage) -> list[Outcome]:
    """All outcomes, behind a bar with the time left. After Ctrl-C the tables say what there is."""
    found: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bar:
        shown = bar.add_task("painting", total=len(tasks))
        try:
            for outcome in outcomes:
                found.append(outcome)
                bar.advance(shown)
                if outcome.error:
                    messages.print(f"{outcome.task.file}: {outcome.error}", markup=False)
        except KeyboardInterrupt:
            write_sheet(storage, tasks, found)
            done = f"{len(found)} of {len(tasks)} results are in '{storage.place}'"
            raise InterruptedRunError(f"Stopped: {done}, and the same command goes on from there.") from None
    return found


def _sentence(summary: dict[str, Any]) -> str:
    kept = summary["results"] - summary["made"]
    words = f"{summary['made']} results made" + (f", {kept} were there already" if kept else "")
    failed = f", {summary['failed']} failed ({FAILURES} says why)" if summary["failed"] else ""
    return f"{words}{failed}: {summary['output'].rstrip('/')}/{PAGE} shows them."
