"""The schedule: evaluations over stages, stages too small left out, and budgets kept."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore.config import MAX_SIZE_PX, MIN_SIZE_PX, Stage
from stylecore.encoders import Encoder
from stylecore.engine import prepare_encoder, stylize, stylize_steps
from stylecore.errors import OptionError
from stylecore.metrics import Distances, Yardstick
from stylecore.presets import COARSEST_PX, PRESETS, REFERENCES, begun_as_small, make_config
from stylecore.schedule import MIN_STAGE_PX, PlannedStage, TimeBudget, plan_stages

MakeImage = Callable[..., Tensor]
COARSE_TO_FINE = (Stage(0.25, 1), Stage(0.5, 1), Stage(1, 2))


def test_stages_have_their_sizes_and_shares() -> None:
    plan = plan_stages(make_config("gatys", size=512, num_steps=40, stages=COARSE_TO_FINE), (768, 1024))
    assert [(stage.size, stage.num_steps) for stage in plan] == [((96, 128), 10), ((192, 256), 10), ((384, 512), 20)]


@pytest.mark.parametrize("size", [64, 128, 200, 256])
def test_stages_too_small_to_tell_a_style_give_their_evaluations_to_the_others(size: int) -> None:
    plan = plan_stages(make_config("gatys", size=size, num_steps=40, stages=COARSE_TO_FINE), (600, 800))
    assert sum(stage.num_steps for stage in plan) == 40
    assert plan[-1].scale == 1
    assert all(min(stage.size) >= MIN_STAGE_PX for stage in plan[:-1])


def test_a_stage_left_out_leaves_its_evaluations_to_the_next() -> None:
    """To the finest they would cost many times what was planned."""
    plan = plan_stages(make_config("gatys", size=256, num_steps=40, stages=COARSE_TO_FINE), (400, 600))
    assert [(stage.scale, stage.num_steps) for stage in plan] == [(0.5, 20), (1.0, 20)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 512), (512, 70)])
def test_every_preset_plans_every_shape(preset: str, shape: tuple[int, int]) -> None:
    plan = plan_stages(make_config(preset, size=max(shape)), shape)
    assert plan[-1].size == shape
    assert sum(stage.num_steps for stage in plan) == make_config(preset).num_steps


@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {*REFERENCES}))
@pytest.mark.parametrize("size", [724, 1000, 2048, 4096, MAX_SIZE_PX])
def test_a_large_picture_is_begun_as_small_as_one_of_the_default_size(preset: str, size: int) -> None:
    """And doubles from there, by the recipe's own network at its coarsest, with no more evaluations."""
    plan = plan_stages(make_config(preset, size=size), (size, size))
    sides = [stage.size[0] for stage in plan]
    assert COARSEST_PX / 2**0.5 - 1 < sides[0] < COARSEST_PX * 2**0.5 + 1
    assert all(after == pytest.approx(2 * before, abs=2) for before, after in itertools.pairwise(sides))
    assert len({stage.encoder for stage in plan[:-2]}) == 1
    assert sum(stage.num_steps for stage in plan) == make_config(preset).num_steps


def test_sizes_up_to_the_default_and_stages_that_are_given_have_none_added() -> None:
    for size in (MIN_SIZE_PX, 256, 512, 700):
        assert make_config("preview", size=size).stages == PRESETS["preview"]["stages"]
    assert make_config("preview", size=4096, stages=("0.5:2", "1:1")).stages == (Stage(0.5, 2.0), Stage(1.0, 1.0))
    for preset in REFERENCES:
        assert make_config(preset, size=4096).stages == make_config(preset).stages


def test_a_saved_recipe_at_a_larger_size_begins_as_small_as_it_did() -> None:
    saved = make_config("preview", size=256)
    larger = begun_as_small(saved.replace(size=1024), saved.size)
    assert larger.stages == (Stage(1 / 16, 4.0), Stage(1 / 8, 4.0), *saved.stages)
    assert begun_as_small(larger.replace(size=512), larger.size).stages == larger.stages
    for preset in REFERENCES:
        config = make_config(preset, size=2048)
        assert begun_as_small(config, 256) == config


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_stage_without_an_evaluation_is_not_planned(num_steps: int) -> None:
    plan = plan_stages(make_config("full", size=512, num_steps=num_steps), (512, 512))
    assert all(stage.num_steps for stage in plan)
    assert sum(stage.num_steps for stage in plan) == num_steps


def test_a_stage_may_have_its_own_encoder() -> None:
    stages = (Stage(0.5, 1, "vgg16-x3"), Stage(1, 1))
    plan = plan_stages(make_config("gatys", stages=stages), (512, 512))
    assert [stage.encoder for stage in plan] == ["vgg16-x3", ""]
    with pytest.raises(OptionError, match="layers of vgg19"):
        make_config("gatys", encoder="vgg19", stages=stages)
    with pytest.raises(OptionError, match="did you mean 'vgg"):
        make_config("gatys", stages=(Stage(0.5, 1, "vgg61"), Stage(1, 1)))


def test_an_encoder_that_is_typed_serves_every_stage() -> None:
    for preset in PRESETS:
        assert set(make_config(preset, encoder="vgg19").encoders) == {"vgg19"}


def run_against(budget: TimeBudget, plan: list[PlannedStage], seconds_per_pixel: float) -> tuple[list[int], float]:
    """Evaluations of each stage and the seconds in all, if every evaluation costs by its pixels."""
    now, made = 0.0, []
    for number, stage in enumerate(plan):
        began, steps = now, 0
        for _ in range(stage.num_steps):
            now += seconds_per_pixel * stage.size[0] * stage.size[1]
            steps += 1
            if budget.is_spent(number, steps, began, now):
                break
        made.append(steps)
    return made, now


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0, 9.0])
def test_a_budget_shortens_all_stages_alike_and_is_kept(seconds: float) -> None:
    plan = plan_stages(make_config("gatys", size=512, num_steps=400, stages=COARSE_TO_FINE), (512, 512))
    made, total = run_against(TimeBudget(seconds, plan), plan, 1e-6)
    assert total <= seconds
    assert total >= seconds - 0.05 * seconds - 2 * 0.27  # the reserve, and a step at the end of the last stages
    shares = [steps / stage.num_steps for steps, stage in zip(made, plan, strict=True)]
    assert max(shares) < 1
    assert max(shares) - min(shares) < 0.05


def test_a_budget_that_suffices_changes_nothing() -> None:
    plan = plan_stages(make_config("gatys", num_steps=40, stages=COARSE_TO_FINE), (512, 512))
    assert run_against(TimeBudget(1e6, plan), plan, 1e-6)[0] == [10, 10, 20]
    assert run_against(TimeBudget(0, plan), plan, 1e-6)[0] == [10, 10, 20]


def test_a_job_ends_within_its_seconds(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    result = stylize(make_image(), make_image(seed=1), encoder=tiny_encoder, size=64, num_steps=10_000, time_budget=0.5)
    assert 1 <= result.num_steps < 10_000
    assert result.seconds < 1.0  # half of it would do; another process may hold the machine for a moment


def test_a_job_ends_at_its_distance(
    monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoder, make_image: MakeImage
) -> None:
    """Looked for at every eighth part of the last stage."""
    found = iter([0.5, 0.3, 0.2, 0.1])
    monkeypatch.setattr(Yardstick, "measure", lambda *_: Distances(next(found), 1.0, 0.0))
    options = {"size": 64, "num_steps": 80, "target_distance": 0.2}
    assert list(stylize_steps(make_image(), make_image(seed=1), encoder=tiny_encoder, **options))[-1].index == 30


def test_a_distance_that_was_asked_for_is_reached(astronaut: Tensor, flow_strokes: Tensor) -> None:
    result = stylize(astronaut, flow_strokes, preset="standard", size=96, num_steps=80, target_distance=0.4)
    assert result.num_steps < 80
    assert result.style_distance <= 0.4


def test_stages_of_two_encoders_are_two_jobs_one_after_the_other(astronaut: Tensor, flow_strokes: Tensor) -> None:
    options = {"preset": "standard", "size": 64}
    whole = (Stage(1, 1),)
    both = stylize(astronaut, flow_strokes, **options, num_steps=6, stages=(Stage(1, 1, "vgg16-x3"), Stage(1, 1)))
    reduced = prepare_encoder(make_config(encoder="vgg16-x3"))
    first = stylize(astronaut, flow_strokes, **options, num_steps=3, stages=whole, encoder=reduced)
    steps = stylize_steps(astronaut, flow_strokes, **options, num_steps=3, stages=whole, start=first.image)
    *_, last = steps
    assert torch.equal(last.image, both.image)
