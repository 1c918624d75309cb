"""What is carried from frame to frame, where it can be believed, and the term that holds an image to it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore.encoders import Encoder
from stylecore.flow import agreement, certainty, is_installed, optical_flow, warp, warping_error
from stylecore.images import LEVELS
from stylecore.objective import TiledObjective, make_objective
from stylecore.presets import make_config
from stylecore.temporal import Anchor

MakeImage = Callable[..., Tensor]


def constant(across: float, down: float, height: int = 48, width: int = 64) -> Tensor:
    return torch.tensor([across, down], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, height, width).clone()


def test_whole_pixels_are_carried_exactly_and_halves_between_them(make_image: MakeImage) -> None:
    image = make_image(48, 64)
    torch.testing.assert_close(warp(image, constant(0, 0)), image)
    torch.testing.assert_close(warp(image, constant(3, 2))[..., :-2, :-3], image[..., 2:, 3:])
    beyond = warp(image, constant(3, 0))
    torch.testing.assert_close(beyond[..., -3:], image[..., -3:].flip(3), msg="beyond the edge it is mirrored")
    halfway = warp(image, constant(0.5, 0))
    torch.testing.assert_close(halfway[..., :-1], (image[..., :-1] + image[..., 1:]) / 2)


def test_a_flow_is_believed_where_the_flow_back_returns() -> None:
    there = constant(4, 0)
    sure = certainty(there, constant(-4, 0))
    assert sure[..., :-5].all()
    assert not sure[..., -3:].any(), "what comes from outside has no past"
    assert not certainty(there, constant(4, 0)).any()


def test_edges_of_motion_are_not_believed() -> None:
    there = constant(0, 0)
    there[:, 0, :, 32:] = 0.6  # so little that the two still return to within the tolerance
    sure = certainty(there, -there)
    assert not sure[..., 31].any()
    assert sure[..., 5:20].all()


def test_what_looks_otherwise_is_not_believed_nor_is_what_touches_it(make_image: MakeImage) -> None:
    image = make_image(48, 64)
    other = image.clone()
    other[..., 20, 30] += 0.1
    other[..., 40, 50] += 0.01  # light and noise change so much
    same = agreement(image, other)
    assert same.sum() == 48 * 64 - 9
    assert not same[..., 19:22, 29:32].any()


def test_the_error_of_a_frame_that_only_moved_is_nothing(make_image: MakeImage) -> None:
    image, where = make_image(48, 64), torch.ones(1, 1, 48, 64)
    where[..., -2:, :], where[..., -3:] = 0, 0
    moved = warp(image, constant(3, 2))
    assert warping_error(moved, image, constant(3, 2), where) < 1e-6
    assert warping_error(moved + 0.1, image, constant(3, 2), where) == pytest.approx(0.1, abs=1e-4)
    assert warping_error(moved, image, constant(3, 2), torch.zeros_like(where)) == 0


@pytest.mark.skipif(not is_installed(), reason="needs the extra video (make test-extras)")
def test_the_flow_of_a_picture_that_moved_is_its_motion() -> None:
    noise = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(noise, (120, 160), mode="bicubic").clamp(0, 1)
    flow = optical_flow(image[..., 5:101, 7:135], image[..., 2:98, 3:131])
    torch.testing.assert_close(flow[..., 16:-16, 16:-16].mean((0, 2, 3)), torch.tensor([4.0, 3.0]), atol=0.1, rtol=0)


# ---- the temporal term


def test_its_gradient_is_that_of_its_loss() -> None:
    where = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    where[..., :4] = 1
    anchor = Anchor(torch.rand(1, 3, 6, 8, dtype=torch.float64), where, 3.0)
    variable = (torch.rand(1, 3, 6, 8, dtype=torch.float64) * LEVELS).requires_grad_(True)
    loss, gradient = anchor.loss_and_gradient(variable)
    (expected,) = torch.autograd.grad(loss, variable)
    torch.testing.assert_close(gradient, expected)
    assert not gradient[..., 4:].any()
    assert anchor.loss_and_gradient(anchor.image * LEVELS)[0] < 1e-30


@pytest.mark.parametrize("tile_px", [0, 32])
def test_an_objective_has_it_beside_its_other_terms(tiny_encoder: Encoder, make_image: MakeImage, tile_px: int) -> None:
    image, content, style = (make_image(64, 64, seed=seed) for seed in range(3))
    config, anchor = make_config("gatys"), Anchor(content, torch.ones(1, 1, 64, 64), 10.0)
    plain = make_objective(tiny_encoder, content, [style], config, tile_px=tile_px)
    held = make_objective(tiny_encoder, content, [style], config, tile_px=tile_px, anchor=anchor)
    assert isinstance(held, TiledObjective) == bool(tile_px)
    alone, both = plain.evaluate(image * LEVELS), held.evaluate(image * LEVELS)
    loss, gradient = anchor.loss_and_gradient(image * LEVELS)
    torch.testing.assert_close(both.losses.total, alone.losses.total + loss)
    torch.testing.assert_close(both.gradient, alone.gradient + gradient)
    assert torch.equal(both.losses.style, alone.losses.style)
