"""The loop of a stage: no host in it, and the same whether it is made or replayed. A GPU is not needed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from accelerators import Watch, capture_on_tape
from torch import Tensor

from stylecore import loop
from stylecore.config import Stage, StylizeConfig
from stylecore.encoders import Encoder, load_encoder
from stylecore.engine import job_steps, stylize
from stylecore.errors import DivergenceError
from stylecore.job import Job
from stylecore.losses import STYLE_LOSSES
from stylecore.losses.gram import GramLoss
from stylecore.objective import Objective
from stylecore.presets import PRESETS, make_config
from stylecore.schedule import plan_stages

MakeImage = Callable[..., Tensor]
FEW = {"num_steps": 12, "size": 64}
MORE = {"num_steps": 24, "size": 64}
pytestmark = pytest.mark.usefixtures("unchecked")  # thousands of small operations
# What reads values back when it adapts, and how often a refresh does, at least and at most: all others never do.
READING_LOSSES = {"svd": (5, 15), "pca-paper": (5, 5), "svd-paper": (5, 5)}  # 5 layers, up to three ranks looked at
# What draws on the CPU, so that a seed means the same everywhere, and what a layer's refresh sends at most: positions,
# and directions.
SENDING_LOSSES = {"mmd-poly": 1, "mmd-gaussian": 1, "svd": 1, "nnfm": 1, "histogram": 1, "swd": 2}
JOBS: dict[str, dict[str, Any]] = {
    **{f"preset {name}": {"preset": name} for name in PRESETS},
    **{f"loss {name}": {"loss": name, "stages": (Stage(1.0, 1.0),), "refresh_every": 4} for name in STYLE_LOSSES},
    **{f"optimizer {name}": {"optimizer": name} for name in ("lbfgs", "projected", "adam", "pyramid")},
    **{f"encoder {name}": {"encoder": name} for name in ("vgg16", "vgg16-x2", "vgg16-x3")},
    "components by variance": {"loss": "pca", "components": "var:0.9"},
    "weights by Fisher": {"loss": "weighted", "weights_from": "fisher"},
    "bfloat16": {"dtype": "bfloat16"},
    "smooth": {"tv_weight": 1e-3},
    "average pooling": {"pooling": "average"},
    "colours kept": {"keep_colors": "luminance"},
    "two styles": {"style_weights": (1.0, 2.0)},
}


@cache
def on_meta(make_image: MakeImage, name: str) -> Watch:
    """A whole job on a device without values, watched."""
    config = make_config(**FEW | JOBS[name])
    encoder = load_encoder(config.encoder, pooling=config.pooling, dtype=getattr(torch, _dtype(config))).to("meta")
    styles = tuple(make_image(64, 80, seed=seed) for seed in range(1, 1 + (len(config.style_weights) or 1)))
    job = Job(make_image(64, 64), styles, config)
    with Watch() as watch:
        for step in job_steps(job, encoder=encoder):
            assert step.image.is_meta
            assert step.losses.total.is_meta
    return watch


def _dtype(config: StylizeConfig) -> str:
    return "bfloat16" if config.dtype == "bfloat16" else "float32"


@pytest.mark.parametrize("name", JOBS)
def test_no_round_waits_for_the_device_or_touches_the_host(make_image: MakeImage, name: str) -> None:
    watch, config = on_meta(make_image, name), make_config(**FEW | JOBS[name])
    reading, sending = config.loss in READING_LOSSES, config.loss in SENDING_LOSSES
    assert watch.read_backs["loop"] == 0
    assert sending or watch.on_host_in("loop") == []
    assert reading or sending or watch.on_host_in("refresh") == []
    assert reading or watch.read_backs["refresh"] == 0
    stages = [stage.num_steps for stage in plan_stages(config, (64, 64))]
    assert watch.read_backs["guard"] == sum(-(-steps // loop.CHECK_EVERY) for steps in stages)


@pytest.mark.parametrize("name", READING_LOSSES)
def test_losses_that_read_do_it_when_they_adapt_and_seldom(make_image: MakeImage, name: str) -> None:
    watch = on_meta(make_image, f"loss {name}")
    refreshes = 12 if name.endswith("paper") else 3
    least, most = READING_LOSSES[name]
    assert least * refreshes <= watch.read_backs["refresh"] <= most * refreshes


@pytest.mark.parametrize("name", sorted(SENDING_LOSSES))
def test_losses_that_draw_send_once_a_layer_and_refresh(make_image: MakeImage, name: str) -> None:
    watch = on_meta(make_image, f"loss {name}")
    copies = sum(count for key, count in watch.on_host.items() if key in ("loop: _to_copy", "refresh: _to_copy"))
    assert copies <= 5 * 3 * SENDING_LOSSES[name]


def test_a_value_that_is_read_is_noticed(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = GramLoss.distance
    monkeypatch.setattr(GramLoss, "distance", lambda *given: distance(*given) * (1 + distance(*given).item()))
    assert on_meta.__wrapped__(make_image, "preset preview").read_backs["loop"] >= 12


def test_an_operand_on_the_host_is_noticed(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    distance = GramLoss.distance
    monkeypatch.setattr(GramLoss, "distance", lambda *given: distance(*given) * torch.ones(1))
    with pytest.raises((RuntimeError, AssertionError)):
        assert on_meta.__wrapped__(make_image, "preset preview").on_host_in("loop") == []


# ---- replayed


REPLAYED = {
    "draft": {"preset": "draft", "stages": (Stage(0.5, 4.0), Stage(1.0, 20.0))},
    "gatys": {"preset": "gatys"},
    "a memory shorter than the run": {"preset": "standard", "history_size": 4, "stages": (Stage(1.0, 1.0),)},
    "adam": {"preset": "standard", "optimizer": "adam", "stages": (Stage(1.0, 1.0),)},
    "pca": {"preset": "preview", "loss": "pca"},
}


@pytest.fixture
def as_a_graph(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rounds are captured on a tape; the list holds how many operations each capture had."""
    captures: list[int] = []

    def capture(function: Callable[[], Tensor], device: torch.device) -> Any:
        replay, result = capture_on_tape(function, device)
        captures.append(len(replay.__self__.operations))  # type: ignore[attr-defined]
        return replay, result

    monkeypatch.setattr(loop, "capture", capture)
    adapts = Objective.adapts.fget
    monkeypatch.setattr(loop.Rounds, "can_be_captured", property(lambda rounds: not adapts(rounds.objective)))  # type: ignore[misc]
    return captures


@pytest.mark.parametrize("options", REPLAYED.values(), ids=REPLAYED)
def test_replayed_rounds_are_the_rounds_themselves(
    make_image: MakeImage, tiny_encoder: Encoder, as_a_graph: list[int], options: dict[str, Any]
) -> None:
    """The device alone knows how far the memory is filled and which pair is the oldest."""
    pictures, config = (make_image(64, 64), make_image(64, 80, seed=1)), make_config(**MORE | options, encoder="vgg16")
    steps = list(job_steps(Job(pictures[0], pictures[1:], config), encoder=tiny_encoder))
    assert as_a_graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "capture", make_again)
        made = list(job_steps(Job(pictures[0], pictures[1:], config), encoder=tiny_encoder))
    for replayed, expected in zip(steps, made, strict=True):
        torch.testing.assert_close(replayed.image, expected.image, atol=1e-5, rtol=0)
        torch.testing.assert_close(replayed.losses.total, expected.losses.total, rtol=1e-5, atol=0)


def make_again(function: Callable[[], Tensor], device: torch.device) -> Any:  # noqa: ARG001
    """A capture that is none: Python goes through every round."""
    losses = torch.zeros(4)
    return lambda: losses.copy_(function()), losses


def test_losses_that_adapt_are_not_captured(
    make_image: MakeImage, tiny_encoder: Encoder, as_a_graph: list[int]
) -> None:
    stylize(make_image(64, 64), make_image(64, 80, seed=1), encoder=tiny_encoder, preset="draft", loss="svd", **MORE)
    assert not as_a_graph


def test_a_round_that_cannot_be_captured_runs_as_it_is(
    make_image: MakeImage, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(loop, "capture", refuse)
    pictures = make_image(64, 64), make_image(64, 80, seed=1)
    options = {"encoder": tiny_encoder, "preset": "standard", "stages": (Stage(1.0, 1.0),), **FEW}
    expected = stylize(*pictures, **options)
    monkeypatch.setattr(loop.Rounds, "can_be_captured", True)
    with pytest.warns(UserWarning, match="without a CUDA graph"):
        found = stylize(*pictures, **options)
    torch.testing.assert_close(found.image, expected.image, atol=2e-3, rtol=0)


def test_divergence_is_noticed_in_a_replay(
    make_image: MakeImage, tiny_encoder: Encoder, as_a_graph: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "DIVERGED", 2500.0)
    options = {"preset": "gatys", "optimizer": "adam", "learning_rate": 400.0, **MORE}
    with pytest.raises(DivergenceError) as caught:
        stylize(make_image(64, 64), make_image(64, 80, seed=1), encoder=tiny_encoder, **options)
    assert bool(caught.value.last_good.isfinite().all())
    assert as_a_graph
