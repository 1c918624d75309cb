"""Several ways to do one job, advanced in turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from studies.store import Record, Store
from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder
from stylecore.engine import Step
from stylecore.images import ImageTensor, image_size, save_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun
from stylecore.metrics import Yardstick, high_frequency_energy

Equal = Literal["evaluations", "seconds"]
MORE = 20  # times the pace-maker's evaluations that a faster runner may make in its time


class Runner:
    """One way to do the job, advanced from outside, and how far it has come."""

    def __init__(self, job: Job, encoder: Encoder) -> None:
        self.run = MeasuredRun(job, encoder=encoder)
        self.ended = False
        self.last: Step | None = None
        self._steps = iter(self.run)
        self._before: Step | None = None  # the last step's predecessor
        self._is_taken_back = False

    @property
    def seconds(self) -> float:
        """The engine's own, targets and bases included."""
        return self.last.seconds if self.last else 0.0

    @property
    def num_steps(self) -> int:
        return self.last.index if self.last else 0

    @property
    def image(self) -> ImageTensor:
        if self._is_taken_back and self.last is not None:
            return self.last.image
        return self.run.image  # the last good one of a run that diverged

    def advance(self) -> None:
        """One evaluation more, if there is one."""
        step = next(self._steps, None)
        if step is None:
            self.ended = True
        else:
            self._before, self.last = self.last, step

    def stop_at(self, limit_s: float) -> None:
        """Take the last step back if it ended after the limit; a first step stays."""
        if self.seconds > limit_s:
            self.ended = True
            if self._before is not None:
                self.last, self._is_taken_back = self._before, True


def race(
    content: ImageTensor,
    style: ImageTensor,
    configs: Mapping[str, StylizeConfig],
    encoder: Encoder,
    equal: Equal,
) -> dict[str, Runner]:
    """Run all configs in turns.

    Args:
        equal: "evaluations": each makes those of its config. "seconds": the first config makes its own, and the others
            as many as fit into the engine's seconds that it took; their last image within them is taken.
    """
    runners: dict[str, Runner] = {}
    for name, config in configs.items():
        num_steps = MORE * config.num_steps if equal == "seconds" and runners else config.num_steps
        runners[name] = Runner(Job(content, (style,), config.replace(num_steps=num_steps)), encoder)
    pace = next(iter(runners.values()))
    while waiting := [runner for runner in runners.values() if not runner.ended]:
        behind = min(waiting, key=lambda runner: runner.seconds if equal == "seconds" else runner.num_steps)
        behind.advance()
        if equal == "seconds" and pace.ended:
            for runner in waiting:
                runner.stop_at(pace.seconds)
    return runners


def race_record(
    store: Store,
    prefix: str,
    content: ImageTensor,
    style: ImageTensor,
    configs: Mapping[str, StylizeConfig],
    equal: Equal,
) -> Record:
    """Race, then measure and save every runner's last image.

    Returns:
        {"results": {name: {seconds, num_steps, style, content, witness, energy, detail, image, diverged}},
        "images": [file names]}; `detail` is relative to the first runner's image.
    """
    results: dict[str, Record] = {}
    for name, runner in race(content, style, configs, store.encoder, equal).items():
        file = f"{prefix}-{name}.png".replace("%", "pct").replace(":", "-").replace(" ", "-")
        save_image(runner.image, store.images / file, runner.run.job.settings())
        results[name] = measure(runner.image, content, style) | {
            "seconds": round(runner.seconds, 3),
            "num_steps": runner.num_steps,
            "diverged": runner.run.reason == "diverged",
            "image": file,
        }
    reference = next(iter(results.values()))["energy"]
    for result in results.values():
        result["detail"] = round(result["energy"] / max(reference, 1e-12), 4)
    return {"results": results, "images": [result["image"] for result in results.values()]}


def measure(image: ImageTensor, content: ImageTensor, style: ImageTensor) -> Record:
    """The yardstick's distances of an image and its high-frequency energy."""
    distances = Yardstick(content, [style], image_size(image)).measure(image)
    rounded = {name: round(value, 5) for name, value in dataclasses.asdict(distances).items()}
    return rounded | {"energy": high_frequency_energy(image)}
