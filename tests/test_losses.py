"""Style losses against algebra and numerical gradients."""

import pytest
import torch
from torch import Tensor

from stylecore.errors import OptionError
from stylecore.losses import STYLE_LOSSES, GramLoss, content_loss, find_style_loss, gram_loss, total_variation
from stylecore.statistics import gram_matrix


def features(seed: int, channels: int = 4, height: int = 3, width: int = 5) -> Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_content_loss_is_the_mean_squared_difference() -> None:
    f, c = features(0).float(), features(1).float()
    expected = sum((a - b) ** 2 for a, b in zip(f.flatten().tolist(), c.flatten().tolist(), strict=True)) / f.numel()
    assert float(content_loss(f, c)) == pytest.approx(expected)


def test_total_variation_of_a_ramp_is_its_squared_slope() -> None:
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 7, 11)
    assert float(total_variation(ramp)) == pytest.approx(0.01, rel=1e-4)
    assert float(total_variation(torch.full((1, 3, 5, 5), 0.3))) == 0


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_is_zero_for_the_style_itself_and_positive_for_another(name: str) -> None:
    style = features(0)
    loss = find_style_loss(name)([style], [1.0]).double()
    assert float(loss(style)) == pytest.approx(0, abs=1e-12)
    assert float(loss(features(1))) > 1e-3


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_has_the_gradient_of_its_value(name: str) -> None:
    loss = find_style_loss(name)([features(0)], [1.0]).double()
    assert torch.autograd.gradcheck(loss, features(1).requires_grad_(True))


def test_content_and_variation_gradients() -> None:
    x, target = features(1).requires_grad_(True), features(2)
    assert torch.autograd.gradcheck(lambda f: (f - target).square().mean(), x)
    assert torch.autograd.gradcheck(total_variation, features(3, channels=3).requires_grad_(True))


def test_the_gram_module_equals_the_function() -> None:
    style, result = features(0), features(1, height=7, width=2)
    assert float(GramLoss([style], [1.0])(result)) == float(gram_loss(result, gram_matrix(style)))


def test_blended_styles_have_the_gradient_of_the_weighted_sum_of_losses() -> None:
    styles, weights = [features(0), features(1, height=6)], [0.3, 0.7]
    x = features(2).requires_grad_(True)
    (blended,) = torch.autograd.grad(GramLoss(styles, weights)(x), x)
    separate = sum(w * GramLoss([style], [1.0])(x) for style, w in zip(styles, weights, strict=True))
    (summed,) = torch.autograd.grad(separate, x)
    torch.testing.assert_close(blended, summed)


def test_an_unknown_loss_suggests_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'gram'"):
        find_style_loss("gramm")
