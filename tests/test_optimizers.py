"""The optimisers against torch's own and against scale."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylecore import optimizers
from stylecore.images import LEVELS
from stylecore.optimizers import (
    LBFGS,
    Adam,
    Optimizer,
    ProjectedLBFGS,
    PyramidAdam,
    RingHistory,
    inverse_frequencies,
    make_optimizer,
)
from stylecore.presets import make_config

HESSIAN = torch.diag(torch.tensor([1.0, 4.0, 25.0, 100.0], dtype=torch.float64))
MINIMUM = torch.tensor([3.0, -2.0, 1.0, 5.0], dtype=torch.float64)


def gradient(x: Tensor) -> Tensor:
    return HESSIAN @ (x - MINIMUM)


def run(optimizer: Optimizer, steps: int, start: Tensor | None = None, scale: float = 1.0) -> Tensor:
    x = torch.zeros(4, dtype=torch.float64) if start is None else start
    for _ in range(steps):
        x = optimizer.step(x, scale * gradient(x))
    return x


def test_lbfgs_solves_a_quadratic() -> None:
    assert torch.allclose(run(LBFGS(), 40), MINIMUM, atol=1e-6)


def test_lbfgs_takes_torchs_steps_from_the_same_history() -> None:
    """After the first step, whose length is ours, both make the same quasi-Newton steps."""
    x = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    variable = x.clone().requires_grad_(True)
    theirs = torch.optim.LBFGS([variable], max_iter=1, history_size=5, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        variable.grad = gradient(variable.detach())
        return 0.5 * (variable - MINIMUM) @ HESSIAN @ (variable - MINIMUM)

    ours = LBFGS(history_size=5)
    theirs.step(closure)
    ours.step(x, gradient(x))
    x = variable.detach().clone()  # both go on from torch's first step
    for _ in range(8):
        theirs.step(closure)
        x = ours.step(x, gradient(x))
        torch.testing.assert_close(x, variable.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fixed", [False, True], ids=["growing", "fixed shapes"])
@pytest.mark.parametrize("length", [0, 3], ids=["whole rows", "blocks"])
@pytest.mark.parametrize("num_pairs", [1, 3, 4, 9])
def test_the_memory_multiplies_with_the_matrix_of_its_newest_pairs(
    num_pairs: int, length: int, fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against H built up pair by pair (Nocedal and Wright 2006, eq. 6.17); a pair of negative curvature does nothing,
    and of more pairs than there is room for the newest count."""
    monkeypatch.setattr(optimizers, "block_length", lambda _: length)
    generator = torch.Generator().manual_seed(num_pairs)
    size, dimension = 4, 7

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    root = draw(dimension, dimension)
    preconditioner = root @ root.mT + torch.eye(dimension, dtype=torch.float64)
    x, g = draw(dimension), draw(dimension)
    history, pairs = RingHistory(size, x, g), []
    for number in range(num_pairs):
        s, curved = draw(dimension), draw(dimension)
        y = curved * torch.sign(s @ curved) * (-1 if number == 1 else 1)
        x, g = x + s, g + y
        s, y = history.advance(x, g)
        history.remember(s, y, preconditioner @ y)
        pairs.append((s, y))
        if fixed and number == 0:
            history.fix_shapes()

    usable = [(s, y) for s, y in pairs if s @ y > 0]
    s, y = usable[-1]
    expected = (s @ y) / (y @ preconditioner @ y) * preconditioner
    identity = torch.eye(dimension, dtype=torch.float64)
    for s, y in [pair for pair in pairs[-size:] if pair[0] @ pair[1] > 0]:
        left = identity - torch.outer(s, y) / (s @ y)
        expected = left @ expected @ left.mT + torch.outer(s, s) / (s @ y)
    v = draw(dimension)
    found = history.product(v, lambda values: preconditioner @ values, lambda _: history.scale)
    torch.testing.assert_close(found, expected @ v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_lbfgs_does_not_care_how_the_loss_is_scaled(scale: float) -> None:
    torch.testing.assert_close(run(LBFGS(), 6, scale=scale), run(LBFGS(), 6), rtol=1e-5, atol=1e-7)


def test_the_first_step_of_lbfgs_is_one_level_on_average_and_not_lost_in_float32() -> None:
    """torch's first step sums to one level over the whole image: at 256 px it moves a pixel by less than rounding."""
    x = torch.full((1, 3, 256, 256), 128.0)
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    moved = (LBFGS().step(x, g) - x).abs()
    assert float(moved.mean()) == pytest.approx(1.0, rel=1e-3)
    torchs = (x - g / g.abs().sum() - x).abs()
    assert float(torchs.mean()) < 1e-4


def test_lbfgs_survives_a_zero_gradient_and_negative_curvature() -> None:
    optimizer, x = LBFGS(), torch.ones(4)
    for g in (torch.zeros(4), torch.zeros(4), torch.ones(4), -torch.ones(4)):
        x = optimizer.step(x, g)
        assert bool(x.isfinite().all())


def test_a_step_of_lbfgs_is_never_longer_than_its_limit() -> None:
    """Nearly no curvature asks for a step of thousands of levels."""
    optimizer, x = LBFGS(), torch.zeros(4)
    following = optimizer.step(x, torch.full((4,), 1e4))
    far = optimizer.step(following, torch.full((4,), 1e4 - 0.1))
    assert float((far - following).abs().mean()) == pytest.approx(LBFGS.MAX_STEP)


def test_adam_takes_torchs_steps() -> None:
    variable = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([variable], lr=0.5)
    for _ in range(20):
        variable.grad = gradient(variable.detach())
        theirs.step()
    torch.testing.assert_close(run(Adam(0.5), 20), variable.detach())


def test_adam_on_a_pyramid_is_adam_on_its_levels() -> None:
    """torch's Adam on the levels themselves, of which the image is made anew at every step; odd sizes."""
    x = torch.rand(1, 3, 13, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal = x.flip(3)
    sizes = [(13, 40), (7, 20), (4, 10), (2, 5), (1, 3), (1, 2)]
    levels = [torch.zeros(1, 3, *size, dtype=torch.float64, requires_grad=True) for size in sizes]
    theirs, ours, variable = torch.optim.Adam(levels, lr=0.5), PyramidAdam(0.5), x

    def of_levels() -> Tensor:
        image = levels[-1]
        for level in levels[-2::-1]:
            image = level + F.interpolate(image, level.shape[2:], mode="bilinear", align_corners=False)
        return x + image

    for _ in range(5):
        theirs.zero_grad()
        (of_levels() - goal).square().sum().backward()
        variable = ours.step(variable, 2 * (variable - goal))
        theirs.step()
    torch.testing.assert_close(variable, of_levels().detach())


@pytest.mark.parametrize("optimizer", [LBFGS(), Adam(), PyramidAdam()])
def test_arguments_stay_as_they_are(optimizer: Optimizer) -> None:
    x, g = torch.ones(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    optimizer.step(x, g)
    following = optimizer.step(x, g)
    assert torch.equal(x, torch.ones(1, 3, 2, 2))
    assert torch.equal(g, torch.full((1, 3, 2, 2), 0.5))
    assert following.shape == x.shape


def test_projected_lbfgs_never_leaves_the_range_and_finds_the_minimum_inside_it() -> None:
    """Where the unbounded minimum lies outside, the bound is the answer."""
    target = torch.linspace(-200, 400, 3 * 16 * 16).view(1, 3, 16, 16)
    image, optimizer = torch.full_like(target, 128.0), ProjectedLBFGS()
    for _ in range(60):
        image = optimizer.step(image, image - target)
        assert torch.equal(image, image.clamp(0, LEVELS))
    torch.testing.assert_close(image, target.clamp(0, LEVELS), atol=0.5, rtol=0)


def test_the_preconditioner_pays_where_coarse_structure_is_slow() -> None:
    """A loss whose curvature grows with the frequency, as losses of edges and textures do."""
    generator = torch.Generator().manual_seed(0)
    target = 128 + 20 * torch.randn(1, 3, 32, 32, generator=generator)

    def slope(image: Tensor) -> Tensor:
        curved = torch.fft.rfft2(image - target) / inverse_frequencies(32, 32, image.device)
        return torch.fft.irfft2(curved, s=(32, 32))

    left = {}
    for kind in (LBFGS, ProjectedLBFGS):
        image, optimizer = torch.full_like(target, 100.0), kind()
        for _ in range(6):
            image = optimizer.step(image, slope(image))
        left[kind] = float((image - target).square().mean())
    assert left[ProjectedLBFGS] < 0.1 * left[LBFGS]


@pytest.mark.parametrize("kind", [LBFGS, ProjectedLBFGS])
def test_nothing_to_do_leaves_the_image(kind: type[LBFGS]) -> None:
    """A photo in its own style: a gradient of exactly 0."""
    image, optimizer = torch.full((1, 3, 8, 10), 100.0), kind()
    for _ in range(3):
        assert torch.equal(optimizer.step(image, torch.zeros_like(image)), image)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (9, 16), (33, 32)])
def test_the_preconditioner_is_symmetric_positive_and_real(height: int, width: int) -> None:
    """Or what it starts from would be no inverse Hessian."""
    units = torch.eye(height * width).view(-1, height, width)
    columns = torch.stack([ProjectedLBFGS()._precondition(unit).flatten() for unit in units])
    torch.testing.assert_close(columns, columns.mT, atol=1e-4, rtol=1e-4)
    assert float(torch.linalg.eigvalsh(columns.double()).min()) > 0.49
    assert float(inverse_frequencies(height, width, torch.device("cpu")).max()) == pytest.approx(
        0.5 * max(height, width)
    )


def test_a_start_that_is_nearly_there_is_not_thrown_away() -> None:
    """Four levels would be forty times too far; the loss says how far there is to go at most."""
    target = torch.full((1, 3, 16, 16), 128.0)
    image = target + 0.1
    step = ProjectedLBFGS().step(image, image - target, 0.5 * (image - target).square().sum())
    assert float((step - target).abs().max()) <= 0.1 + 1e-4


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_projected_lbfgs_does_not_care_how_the_loss_is_scaled(scale: float) -> None:
    target = 100 + 50 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for factor in (1.0, scale):
        image, optimizer = torch.full_like(target, 128.0), ProjectedLBFGS()
        for _ in range(6):
            loss = factor * (image - target).pow(4).sum()
            image = optimizer.step(image, 4 * factor * (image - target).pow(3), loss)
        found.append(image)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_after_detail_fine_structure_is_moved_more() -> None:
    """The decay is that of 1 / frequency: 0.5 makes the root of it, and only a start with detail asks for it."""
    config = make_config("preview")
    plain, detailed = make_optimizer(config, 15), make_optimizer(config, 15, is_detailed=True)
    assert isinstance(plain, ProjectedLBFGS)
    assert isinstance(detailed, ProjectedLBFGS)
    values = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    twice = detailed._precondition(detailed._precondition(values))
    assert torch.allclose(twice, plain._precondition(values), atol=1e-5)
