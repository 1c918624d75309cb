"""docs/gpu.md: the counts on paper, and how the loop is made for a GPU.

python -m benchmarks.gpu.paper [-o docs/gpu.md]     # seconds, on any machine
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.gpu.counts import CARDS, LAUNCH_S, count_launches, least_seconds, round_work
from stylecore.encoders import load_encoder
from stylecore.files import write_file
from stylecore.loop import CHECK_EVERY, EAGER_ROUNDS, LEAST_REPLAYS
from stylecore.report import Table, document

SIZES_PX = (512, 1024)
ENCODERS = ("vgg16", "vgg16-x2", "vgg16-x3")
SHOWN = [card for card in CARDS if card.name in ("NVIDIA H100", "NVIDIA L4", "NVIDIA GeForce RTX 4060 Laptop GPU")]
RECORD = Path("docs/benchmarks/gpu.json")


def layers_table() -> Table:
    """Each part of a round with the full encoder."""
    encoder = load_encoder("vgg16")
    works = [round_work(encoder, side) for side in SIZES_PX]
    columns = {"part": "{}"}
    for side in SIZES_PX:
        columns |= {f"{side} px: G multiplications": "{:.2f}", f"{side} px: MB": "{:.0f}"}
    rows = []
    for parts in zip(*works, strict=True):
        counted = [value for part in parts for value in (part.multiplications / 1e9, part.bytes / 1e6)]
        rows.append([parts[0].part, *counted])
    sums = [
        value
        for work in works
        for value in (sum(each.multiplications for each in work) / 1e9, sum(each.bytes for each in work) / 1e6)
    ]
    return Table.of(columns, [*rows, ["all", *sums]])


def cards_table() -> Table:
    """The least time of a round."""
    columns = {"encoder": "`{}`", "px": "{}"} | {f"{card.name.removeprefix('NVIDIA ')}, ms": "{:.2f}" for card in SHOWN}
    rows = []
    for name in ENCODERS:
        encoder = load_encoder(name)
        for side in SIZES_PX:
            work = round_work(encoder, side)
            rows.append([name, side, *(1e3 * least_seconds(work, card) for card in SHOWN)])
    return Table.of(columns, rows)


def launches_table() -> Table:
    """Kernels of a round, and what it costs to launch them one by one."""
    rows = []
    for name in ENCODERS:
        number = count_launches(load_encoder(name).to("meta"), SIZES_PX[0])
        rows.append([name, number, 1e3 * number * LAUNCH_S, 1e3 * LAUNCH_S])
    one_by_one, as_graph = f"one by one, ms at {1e6 * LAUNCH_S:.0f} µs", "as one graph, ms"
    columns = {"encoder": "`{}`", "kernels a round": "{}", one_by_one: "{:.2f}", as_graph: "{:.3f}"}
    return Table.of(columns, rows)


def status() -> str:
    """Whether anybody has run it."""
    if RECORD.exists():
        return "It has been run on a GPU: [benchmarks/gpu.md](benchmarks/gpu.md). `make gpu` runs it on yours."
    return (
        "It is **not yet run on a GPU**: none was to be had while it was written. `make gpu` on any machine with CUDA "
        "changes that: it runs the tests that need a GPU, compares its pictures with the CPU's, measures the presets, "
        "and writes docs/benchmarks/gpu.json and gpu.md, which we would be glad to get. MPS takes the same way by its "
        "device's name and has not been tried either; there is no graph there."
    )


def to_markdown() -> str:
    """The page."""
    cards = ", ".join(
        f"{card.name.removeprefix('NVIDIA ')} {card.flops / 1e12:.0f} TFLOP/s in bfloat16 and "
        f"{card.bytes_per_second / 1e12:.2g} TB/s"
        for card in SHOWN
    )
    return document(
        "# On a GPU",
        "Written by `python -m benchmarks.gpu.paper`, which needs no GPU.",
        status(),
        "## How the loop is made",
        "- Evaluation, optimiser and guard are tensors of the device from end to end (`stylecore/loop.py`). Nothing is "
        f"read back but the guard's flag, every {CHECK_EVERY} rounds, and what somebody has asked for: frames, a time "
        "budget, a target distance. `tests/test_loop.py` proves it for every preset, loss, optimiser and encoder on "
        "torch's `meta` device, which has shapes and no values. `svd` looks at its singular values, and the paper's "
        "own losses go to NumPy, when they refresh and at no other time; positions are drawn on the CPU, so that a "
        "seed means the same everywhere, and sent without being waited for.\n"
        "- All state stays in its place: the image, the guard, L-BFGS's memory, a ring whose newest place only the "
        f"device knows. After {EAGER_ROUNDS} rounds, if {LEAST_REPLAYS} or more are left, CUDA captures one as a "
        "graph, and the others are replays: one launch each. Losses that adapt run without a graph, and so does "
        "everything where the capture fails, with a warning. The tests replay a tape of the same operations on the "
        "CPU: the same pictures come out.\n"
        "- L-BFGS multiplies with all its pairs at once (the compact form of Byrd, Nocedal and Schnabel) instead of "
        "one after the other: four products and two small triangular systems whatever the number of pairs.\n"
        "- A picture travels to the device once, as 8 bits; there it gets each stage's size by matrices of Pillow's "
        "own weights, and the start its colours. Frames come back through pinned memory on a stream of their own, and "
        "are shown when they are there: the rounds behind them are not waited for.\n"
        "- Features are channels-last, and in bfloat16 on cards of compute capability 8 and up; others compute in "
        "float32, its convolutions in TF32 where the card has it, as torch has it. Distances are always measured "
        "without TF32.",
        "## Counted on paper",
        "One round of `standard`'s last stage: bfloat16 features, each value moved once where it has to be moved, "
        "ReLU within its convolution. A convolution's gradient goes to its input alone, so backward costs what "
        "forward does.",
        layers_table(),
        f"The least time of a round is the sum over its parts of the longer of arithmetic and memory, by what the "
        f"makers say: {cards}. On an H100 the first block, pooling, most Grams and the optimiser are bound by "
        "memory, the rest by arithmetic.",
        cards_table(),
        "## Launches",
        "What the eager loop launches in a round, counted on `meta`, views left out. A host that launches one kernel "
        "after the other needs this time whatever the card can do: it is more than the card's own at 512 px on a "
        "large one, and what the graph saves.",
        launches_table(),
        "## Not built",
        "Several jobs of one size in one batch: nobody makes more than one at a time yet. Grams of several layers in "
        "one launch: their sizes differ, and in a graph a launch costs next to nothing. `torch.compile`, which fuses "
        "ReLU into what follows but takes longer to compile than most jobs run.",
    )


def main(output: Annotated[Path, typer.Option("--output", "-o", help="Where it goes.")] = Path("docs/gpu.md")) -> None:
    """Count, and write the page."""
    write_file(output, to_markdown().encode())
    print(output)


if __name__ == "__main__":
    typer.run(main)
