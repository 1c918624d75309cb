"""Colour statistics: what is carried over, and that nothing breaks where there is no colour."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore.color import LUMA, match_colors, transfer_luminance


def mild(seed: int, mean: tuple[float, float, float] = (0.5, 0.5, 0.5), spread: float = 0.05) -> Tensor:
    """(1, 3, 40, 50) with correlated channels, so far from 0 and 1 that nothing is clamped."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, 3, generator=generator)
    mix = mix / mix.norm(dim=1, keepdim=True) + 0.5 * torch.eye(3)
    pixels = mix @ torch.rand(3, 2000, generator=generator).sub(0.5)
    return (torch.tensor(mean)[:, None] + spread * 2 * pixels).view(1, 3, 40, 50)


def mean_and_covariance(image: Tensor) -> tuple[Tensor, Tensor]:
    pixels = image[0].flatten(1).double()
    return pixels.mean(1), torch.cov(pixels, correction=0)


def luma(image: Tensor) -> Tensor:
    return 0.299 * image[:, 0] + 0.587 * image[:, 1] + 0.114 * image[:, 2]


def chroma(image: Tensor) -> Tensor:
    """R - Y and B - Y, all that luma leaves."""
    return torch.stack([image[:, 0] - luma(image), image[:, 2] - luma(image)])


# ---- match_colors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_result_has_the_references_mean_and_covariance(seed: int) -> None:
    image, reference = mild(seed), mild(seed + 10, mean=(0.6, 0.4, 0.5), spread=0.08)
    matched = match_colors(image, reference)
    mean, covariance = mean_and_covariance(matched)
    goal_mean, goal_covariance = mean_and_covariance(reference)
    torch.testing.assert_close(mean, goal_mean, atol=1e-6, rtol=0)
    assert (covariance - goal_covariance).norm() < 0.02 * goal_covariance.norm()
    assert (mean_and_covariance(image)[1] - goal_covariance).norm() > 0.3 * goal_covariance.norm()


def test_the_reference_may_have_any_size() -> None:
    reference = mild(1)
    doubled = reference.repeat_interleave(2, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(match_colors(mild(0), doubled), match_colors(mild(0), reference))


def test_an_image_whose_colours_match_already_stays_as_it_is() -> None:
    image = mild(0)
    torch.testing.assert_close(match_colors(image, image), image, atol=1e-6, rtol=0)
    shuffled = image.flatten(2)[:, :, torch.randperm(2000, generator=torch.Generator().manual_seed(0))].view_as(image)
    torch.testing.assert_close(match_colors(image, shuffled), image, atol=1e-5, rtol=0)


def test_brightness_and_contrast_alone_are_moved_without_turning_hues() -> None:
    """Of a reference that is the image itself, darker and flatter, the optimal transport is that very change."""
    image = mild(0)
    flatter = 0.4 + 0.5 * (image - 0.5)
    torch.testing.assert_close(match_colors(image, flatter), flatter, atol=2e-3, rtol=0)


def test_the_map_is_one_symmetric_matrix_for_all_pixels() -> None:
    """What makes it the transport that moves colours least: its Jacobian is symmetric and positive."""
    image, reference = mild(3), mild(4, spread=0.08)
    pixels, matched = image[0].flatten(1).double(), match_colors(image, reference)[0].flatten(1).double()
    centred, target = pixels - pixels.mean(1, keepdim=True), matched - matched.mean(1, keepdim=True)
    linear = target @ torch.linalg.pinv(centred)
    torch.testing.assert_close(linear @ centred, target, atol=1e-6, rtol=0)
    torch.testing.assert_close(linear, linear.mT, atol=1e-4, rtol=0)
    assert torch.linalg.eigvalsh(linear).min() > 0


def plain(*color: float) -> Tensor:
    return torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 40, 50).contiguous()


def grey() -> Tensor:
    return torch.linspace(0, 1, 2000).view(1, 1, 40, 50).expand(1, 3, 40, 50).contiguous()


@pytest.mark.parametrize("image", [plain(0, 0, 0), plain(1, 1, 1), plain(0.2, 0.5, 0.9), grey(), mild(0)])
@pytest.mark.parametrize("reference", [plain(0, 0, 0), plain(0.2, 0.5, 0.9), grey(), mild(1)])
def test_images_without_colours_or_contrast_stay_finite(image: Tensor, reference: Tensor) -> None:
    matched = match_colors(image, reference)
    assert matched.shape == image.shape
    assert matched.isfinite().all()
    assert matched.min() >= 0
    assert matched.max() <= 1
    # Clamping moves the mean only where the reference itself touches the ends.
    torch.testing.assert_close(matched.mean((2, 3)), reference.mean((2, 3)), atol=0.02, rtol=0)


def test_a_one_coloured_image_takes_the_references_mean() -> None:
    matched = match_colors(plain(0.9, 0.1, 0.1), mild(1))
    torch.testing.assert_close(matched, plain(*mild(1).mean((0, 2, 3)).tolist()), atol=1e-5, rtol=0)


def test_a_one_coloured_reference_leaves_one_colour() -> None:
    matched = match_colors(mild(0), plain(0.2, 0.5, 0.9))
    torch.testing.assert_close(matched, plain(0.2, 0.5, 0.9), atol=0.02, rtol=0)


def test_a_grey_reference_leaves_greys() -> None:
    matched = match_colors(mild(0), grey())
    assert float((matched.amax(1) - matched.amin(1)).max()) < 0.03


def test_wild_colours_are_clamped(make_image: Callable[..., Tensor]) -> None:
    checkerboard = (torch.arange(2000) % 2).float().view(1, 1, 40, 50).expand(1, 3, 40, 50).contiguous()
    matched = match_colors(make_image(40, 50), checkerboard)
    assert float(matched.min()) == 0
    assert float(matched.max()) == 1


# ---- transfer_luminance ---------------------------------------------------------------------------------------------


def test_luma_of_one_and_chroma_of_the_other() -> None:
    light, colors = mild(0), mild(1, mean=(0.6, 0.4, 0.5))
    both = transfer_luminance(light, colors)
    torch.testing.assert_close(luma(both), luma(light))
    torch.testing.assert_close(chroma(both), chroma(colors), atol=1e-6, rtol=0)
    assert (chroma(light) - chroma(colors)).abs().max() > 0.1


def test_an_image_gives_itself_back() -> None:
    torch.testing.assert_close(transfer_luminance(mild(0), mild(0)), mild(0))


def test_grey_light_on_colours_and_colours_on_a_grey_photo() -> None:
    torch.testing.assert_close(transfer_luminance(mild(0), grey()), luma(mild(0)).unsqueeze(1).expand(1, 3, 40, 50))


def test_the_weights_of_luma_make_white_1() -> None:
    assert sum(LUMA) == pytest.approx(1)
    assert torch.equal(transfer_luminance(plain(1, 1, 1), plain(0, 0, 0)), plain(1, 1, 1))


def test_the_result_stays_displayable(make_image: Callable[..., Tensor]) -> None:
    both = transfer_luminance(make_image(seed=1), make_image(seed=2))
    assert both.min() >= 0
    assert both.max() <= 1
