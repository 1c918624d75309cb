"""The objective: its gradient, terms of several targets and regions, and what is computed once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore.encoders import Encoder
from stylecore.images import LEVELS
from stylecore.losses import STYLE_LOSSES, LayerStyles, find_loss
from stylecore.objective import Objective, StyleTerm, make_objective
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]


def config_of(**options: Any) -> Any:
    return make_config("gatys", **{"style_layers": ("relu1_1", "relu2_1"), "content_layers": ("relu2_1",)} | options)


@pytest.mark.parametrize("terms", ["absolute", "relative"])
@pytest.mark.parametrize("reduction", ["mean", "half_sum"])
def test_the_gradient_is_that_of_the_total(
    tiny_encoder: Encoder, make_image: MakeImage, terms: str, reduction: str
) -> None:
    """With respect to the variable, which is the image in levels."""
    config = config_of(terms=terms, content_reduction=reduction, tv_weight=0.1)
    objective = make_objective(tiny_encoder.double(), make_image(), [make_image(seed=1)], config)
    variable = LEVELS * make_image(seed=2).double()
    evaluation = objective.evaluate(variable)
    step = torch.randn(variable.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ahead, behind = (float(objective.evaluate(variable + sign * 1e-4 * step).losses.total) for sign in (1, -1))
    assert float((evaluation.gradient * step).sum()) == pytest.approx((ahead - behind) / 2e-4, rel=1e-3)
    losses = evaluation.losses
    assert float(losses.total) == pytest.approx(float(losses.content + losses.style + losses.tv))


def test_a_style_is_0_from_itself_and_so_is_the_photo(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    image = make_image()
    losses = make_objective(tiny_encoder, image, [image], config_of()).evaluate(LEVELS * image).losses
    assert float(losses.total) == pytest.approx(0, abs=1e-6)


def test_terms_of_one_loss_and_region_share_a_summary(
    tiny_encoder: Encoder, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two styles of a sampled loss are two targets, of one sample of the image."""
    config = config_of(loss="mmd-poly")
    objective = make_objective(tiny_encoder, make_image(), [make_image(seed=1), make_image(seed=2)], config)
    assert [term.layer for term in objective.style_terms] == ["relu1_1", "relu1_1", "relu2_1", "relu2_1"]
    summarize, calls = STYLE_LOSSES["mmd-poly"].summarize, []
    monkeypatch.setattr(
        STYLE_LOSSES["mmd-poly"], "summarize", lambda *arguments: calls.append(1) or summarize(*arguments)
    )
    objective.evaluate(LEVELS * make_image(seed=3))
    assert len(calls) == 2


@pytest.mark.parametrize("loss", ["gram", "pca", "histogram", "weighted"])
def test_histograms_stand_beside_any_loss(tiny_encoder: Encoder, make_image: MakeImage, loss: str) -> None:
    """The style term is the sum of both, and what both fit to the pictures is kept."""
    image, styles = make_image(), [make_image(seed=1)]

    def made(name: str, **options: object) -> Objective:
        return make_objective(tiny_encoder, image, styles, config_of(loss=name, components="50%", **options))

    both, alone, histogram = made(loss, histogram_weight=0.5), made(loss), made("histogram")
    found, *parts = (float(each.evaluate(LEVELS * image).losses.style) for each in (both, alone, histogram))
    assert found == pytest.approx(parts[0] + 0.5 * parts[1])
    expected = {"components"} | set(alone.fitted().get("relu1_1", {}))
    assert set(both.fitted()["relu1_1"]) == expected


def test_each_region_of_an_image_can_have_its_own_style(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """Left one style, right another: the two terms are those of the halves by themselves, whatever loss they have."""
    config = config_of(style_layers=("relu1_1",), content_weight=0.0)
    images = make_image(), make_image(seed=1), make_image(seed=2)
    features, *of_styles = (tiny_encoder(image, ["relu1_1"])["relu1_1"] for image in images)
    losses = [
        find_loss(name)(LayerStyles("relu1_1", [style], [1.0]), config)
        for name, style in zip(("gram", "bn"), of_styles, strict=True)
    ]
    left = torch.zeros(1, 1, *features.shape[2:])
    left[..., : features.shape[3] // 2] = 1
    regions = left, 1 - left
    terms = [
        StyleTerm("relu1_1", loss, loss.targets[0], weight, region=region)
        for loss, region, weight in zip(losses, regions, (2.0, 3.0), strict=True)
    ]
    style = Objective(tiny_encoder, [], terms, config).evaluate(LEVELS * images[0]).losses.style
    half = features.shape[3] // 2
    expected = 2 * losses[0](features[..., :half]) + 3 * losses[1](features[..., half:])
    assert float(style) == pytest.approx(float(expected), rel=1e-4)


def test_losses_adapt_when_they_are_due(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    images = make_image(), [make_image(seed=1)]

    def changes(loss: str) -> list[bool]:
        objective = make_objective(tiny_encoder, *images, config_of(loss=loss, refresh_every=3))
        return [objective.evaluate(LEVELS * make_image(seed=2)).changed for _ in range(7)]

    assert changes("weighted") == [True, False, False, True, False, False, True]
    assert changes("svd") == changes("gram") == changes("svd-paper") == [False] * 7, "its memory stays of use"
