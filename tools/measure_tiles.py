"""Peak memory and time of one evaluation in tiles, and the history that L-BFGS would have beside it.

python -m tools.measure_tiles gatys:2048:4 preview:4096:8   # preset, px, GiB that it finds free; a minute each

Only a tile from the middle of the image is computed, with all that there is of the whole image: the others take the
same memory, and the time is multiplied.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from unittest import mock

import torch

from stylecore import objective, tiles
from stylecore.allocator import keep_freed_memory
from stylecore.devices import peak_memory_mib
from stylecore.engine import prepare_encoder
from stylecore.images import LEVELS
from stylecore.memory import MemoryPlan, plan_memory
from stylecore.optimizers import make_optimizer
from stylecore.presets import make_config

CPU = torch.device("cpu")
NUM_TILES, NUM_STEPS, STYLE_PX = 1, 3, 256


def measure(preset: str, size: int, free_gib: float) -> tuple[MemoryPlan, float, float, float]:
    """The plan, peak MiB of an evaluation and of steps with their history (beyond the loaded process), and seconds of
    an evaluation."""
    keep_freed_memory()
    config = make_config(preset, size=size, device="cpu")
    encoder = prepare_encoder(config)
    with mock.patch("stylecore.memory.available_memory_mib", return_value=1024 * free_gib):
        plan = plan_memory((size, size), [(STYLE_PX, STYLE_PX)], config, encoder)
    image = torch.rand(1, 3, size, size, dtype=torch.float32)
    style = image[..., :STYLE_PX, :STYLE_PX].clone()  # of one tile, as all styles are encoded
    before = peak_memory_mib(CPU)
    whole_plan = tiles.plan_tiles

    def middle(*arguments: object) -> list[tiles.Tile]:
        found = whole_plan(*arguments)  # type: ignore[arg-type]
        return found[len(found) // 2 :][:NUM_TILES]

    with mock.patch.object(tiles, "plan_tiles", middle), mock.patch.object(tiles, "joined", _joined):
        made = objective.make_objective(encoder, image, [style], config, tile_px=plan.tile_px)
    made.content_terms = [_whole_target(term, size) for term in made.content_terms]
    number = len(whole_plan((size, size), plan.tile_px, encoder, made.layers))
    with mock.patch.object(objective, "plan_tiles", middle):
        started = time.perf_counter()
        evaluation = made.evaluate(image * LEVELS)
        seconds = (time.perf_counter() - started) * number / NUM_TILES
    of_evaluation = peak_memory_mib(CPU) - before
    optimizer = make_optimizer(config, config.num_steps, memory=plan)
    variable = image * LEVELS
    for _ in range(NUM_STEPS):
        variable = optimizer.step(variable, evaluation.gradient + torch.rand_like(variable), evaluation.losses.total)
    for buffer in (optimizer.history.s, optimizer.history.py):  # type: ignore[attr-defined]
        buffer.fill_(1.0)  # as it will be when it is full
    return plan, of_evaluation, peak_memory_mib(CPU) - before, seconds


def _joined(pieces: list[torch.Tensor], _: object) -> torch.Tensor:
    return pieces[0]


def _whole_target(term: objective.ContentTerm, size: int) -> objective.ContentTerm:
    """A content term with a target as large as the image's, whatever is in it."""
    side = size // objective.Layer.parse(term.layer).stride
    target = torch.zeros(1, term.target.shape[1], side, side, dtype=term.target.dtype).add_(1)
    return objective.ContentTerm(term.layer, target, term.weight, term.unit, term.is_half_sum)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    for typed in sys.argv[1:]:
        preset, size, free_gib = typed.split(":")
        with context.Pool(1) as pool:
            plan, of_evaluation, with_history, seconds = pool.apply(measure, (preset, int(size), float(free_gib)))
        print(
            f"{preset} {size} px: tiles of {plan.tile_px} px, estimated {plan.mib:.0f} MiB; evaluation "
            f"{of_evaluation:.0f} MiB, with steps and {plan.num_pairs} pairs {with_history:.0f} MiB; {seconds:.0f} s, "
            f"{seconds / int(size) ** 2 * 1e6:.1f} us a pixel",
            flush=True,
        )


if __name__ == "__main__":
    main()
