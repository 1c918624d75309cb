"""Several ways to do one job, advanced in turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from studies.store import Record, Store
from stylecore.config import StylizeConfig
from stylecore.encoders.vgg import Encoder
from stylecore.engine import Step, stylize_steps
from stylecore.errors import DivergenceError
from stylecore.images import ImageTensor, image_size, save_image
from stylecore.metrics import Yardstick, high_frequency_energy

Equal = Literal["evaluations", "seconds"]
MORE = 20  # times the pace-maker's evaluations that a cheaper runner may make in its time


@dataclass
class Runner:
    """One way to do the job, and how far it has come."""

    config: StylizeConfig
    steps: Iterator[Step] = field(repr=False)
    image: ImageTensor = field(init=False, repr=False)
    seconds: float = 0.0  # the engine's own, targets and bases included
    num_steps: int = 0
    ended: bool = False
    diverged: bool = False
    before: tuple[ImageTensor, float, int] | None = field(default=None, repr=False)  # the last step's predecessor

    def advance(self) -> None:
        """One evaluation more."""
        if self.num_steps:
            self.before = (self.image, self.seconds, self.num_steps)
        try:
            step = next(self.steps)
        except DivergenceError as error:
            self.image, self.ended, self.diverged = error.last_good, True, True
            return
        self.image, self.seconds, self.num_steps = step.image, step.seconds, step.index
        self.ended = step.index == step.total

    def stop_at(self, limit_s: float) -> None:
        """Take the last step back if it ended after the limit; a first step stays."""
        if self.seconds > limit_s:
            if self.before is not None:
                self.image, self.seconds, self.num_steps = self.before
            self.ended = True


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
    runners = {}
    for number, (name, config) in enumerate(configs.items()):
        if equal == "seconds" and number:
            config = dataclasses.replace(config, num_steps=MORE * config.num_steps)  # noqa: PLW2901
        runners[name] = Runner(config, stylize_steps(content, style, config, encoder=encoder))
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
        save_image(runner.image, store.images / file, {"config": runner.config.to_dict()})
        results[name] = measure(runner.image, content, style) | {
            "seconds": round(runner.seconds, 3),
            "num_steps": runner.num_steps,
            "diverged": runner.diverged,
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
