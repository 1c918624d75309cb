"""First-order optimisers of one image, without a line search and without waiting for the device.

The variable is in 8-bit levels, 0..255: steps of the size of a level are then far from float32's rounding, which
swallows them for an image in [0, 1]. An optimiser maps (variable, gradient) to the next variable; one call a step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.config import FIRST_ORDER, MAX_STEPS, StylizeConfig
from stylecore.devices import exact_dtype
from stylecore.images import LEVELS
from stylecore.memory import CONVERTED_LENGTH, MemoryPlan
from stylecore.scratch import Scratch

SMALLEST_COSINE = 1e-8  # between a step and the change of gradient along it, for their curvature to be believed
DECAY_AFTER_DETAIL = 0.5  # of the preconditioner with frequency; 0, 0.25, 0.75 and 1 are no better on fitting pairs
SMALLEST = 1e-30  # mean of a gradient that a step is divided by: it is 0 where content and style are one picture


class Optimizer(ABC):
    """Keeps what it has learned between steps."""

    @abstractmethod
    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        """The next variable, a new tensor; the arguments stay as they are.

        Args:
            variable, gradient: of any one shape.
            loss: at the variable, which cannot fall below 0; infinite where it is not known.
        """

    def fix_shapes(self) -> None:  # noqa: B027 - only a memory grows
        """From the next step on all shapes stay as they are, as a graph that is replayed asks for."""


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright 2006, section 7.2) with steps of fixed length.

    Differs from `torch.optim.LBFGS` without line search in three ways. The first step moves each value by one level on
    average, where torch's sums to one level over the whole image and is lost to rounding. A step is shortened to
    `MAX_STEP` levels on average: the Gram loss is a quartic, and where its curvature is next to nothing, as on small
    images of strong styles, a quasi-Newton step goes thousands of levels too far. And s is the step that was really
    made, after rounding and clamping, so that the curvature is that of points visited.
    """

    FIRST_STEP = 1.0  # levels on average
    MAX_STEP = 16.0  # levels on average; undisturbed runs stay under half of it

    def __init__(
        self,
        learning_rate: float = 1.0,
        history_size: int = 100,
        history_dtype: torch.dtype | None = None,
        history_on_disk: bool = False,
    ) -> None:
        self.learning_rate = learning_rate
        self.history_size = history_size
        self.history_dtype = history_dtype  # None: the variable's
        self.history_on_disk = history_on_disk
        self.history: History | None = None  # made by the first step, which knows the image's size

    def fix_shapes(self) -> None:
        if self.history is not None:
            self.history.fix_shapes()

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        x, g = variable.detach(), gradient.contiguous()
        if self.history is None:
            self.history = RingHistory(self.history_size, x, g, self.history_dtype, on_disk=self.history_on_disk)
        else:
            s, y = self.history.advance(x, g)
            self.history.remember(s, y, self._precondition(y))
        direction = self._direction(self.history, x, g, loss)
        shortened = direction * (self.MAX_STEP / direction.abs().mean().clamp_min(self.MAX_STEP))
        return x + self.learning_rate * shortened

    def _direction(self, history: History, variable: Tensor, gradient: Tensor, loss: Tensor | float) -> Tensor:  # noqa: ARG002 - bounds would ask for the variable
        return self._quasi_newton(history, gradient, loss)

    def _quasi_newton(self, history: History, gradient: Tensor, loss: Tensor | float) -> Tensor:
        """-H g."""

        def scale(steepest: Tensor) -> Tensor:
            return torch.where(history.scale > 0, history.scale, self._first_scale(steepest, gradient, loss))

        return history.product(gradient.neg(), self._precondition, scale)

    def _precondition(self, values: Tensor) -> Tensor:
        """The initial inverse Hessian times `values`, up to its scale: here the identity."""
        return values

    def _first_scale(self, direction: Tensor, gradient: Tensor, loss: Tensor | float) -> Tensor:  # noqa: ARG002 - bounds would ask for them
        """What makes a step of the direction while nothing is known of the curvature."""
        return self.FIRST_STEP / direction.abs().mean().clamp_min(SMALLEST)


class History(ABC):
    """The newest pairs of L-BFGS, s between two variables and y between their gradients, and the H that they make."""

    scale: Tensor  # c of the initial H0 = c P: (s.y) / (y.P y) of the newest pair that is usable; 0: none yet

    @abstractmethod
    def advance(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """s and y from the last variable and gradient to these."""

    @abstractmethod
    def remember(self, s: Tensor, y: Tensor, py: Tensor) -> None:
        """Put a pair, and P y, in the oldest one's place. One without positive curvature must do nothing: to leave it
        out, the device would have to be asked."""

    @abstractmethod
    def product(self, v: Tensor, precondition: Callable[[Tensor], Tensor], scale: Callable[[Tensor], Tensor]) -> Tensor:
        """H v.

        Args:
            precondition: P of a vector.
            scale: c; gets P v.
        """

    def fix_shapes(self) -> None:  # noqa: B027 - not every memory grows
        """As `Optimizer.fix_shapes`."""


def is_usable(curvature: Tensor, s_square: Tensor, y_square: Tensor) -> Tensor:
    """Whether s.y of a pair is positive beyond rounding."""
    return curvature > SMALLEST_COSINE * (s_square * y_square).sqrt()


class RingHistory(History):
    """Pairs in buffers that stay where they are; the place of the newest is known to the device alone, so that steps
    can be captured and replayed.

    H v by the compact form (Byrd, Nocedal and Schnabel 1994, theorem 2.2): with the columns of S and Y from old to new,
    R the upper triangle of S^T Y and D its diagonal,
    H v = H0 v + S R^-T ((D + Y^T H0 Y) R^-1 S^T v - Y^T H0 v) - H0 Y R^-1 S^T v.
    That is what the two loops over the pairs compute one by one, in a few products with all of them.

    Args:
        size: pairs at most.
        x, g: the first variable and its gradient.
        dtype: of the pairs; None: the variable's. In bfloat16 they take half the memory, and the H that they make is
            that of the rounded pairs: products are float32 or better.
        on_disk: the pairs, in another dtype than the variable's, so that a block at a time is in memory.

    Raises:
        OutputError: the disk has no room for them.
    """

    def __init__(
        self, size: int, x: Tensor, g: Tensor, dtype: torch.dtype | None = None, *, on_disk: bool = False
    ) -> None:
        self.x, self.g = x.clone(), g.clone()
        is_rounded = dtype not in (None, x.dtype)
        length = min(CONVERTED_LENGTH if is_rounded else block_length(x.device), x.numel()) or x.numel()
        blocks = math.ceil(x.numel() / length)
        self.padding = blocks * length - x.numel()
        shape, dtype = (blocks, size, length), dtype or x.dtype
        self.scratch = [Scratch(shape, dtype) for _ in range(2)] if on_disk else []
        made = [each.tensor for each in self.scratch] or [x.new_zeros(shape, dtype=dtype) for _ in range(2)]
        self.s, self.py = made
        self.sy = _exact_zeros(x.device, size, size)  # row j, column i: s_i . y_j
        self.ypy = torch.zeros_like(self.sy)  # y_i . P y_j
        self.usable = self.sy.new_zeros(size)  # 1 for a pair of positive curvature
        self.scale = self.sy.new_zeros(())
        self.newest = torch.full((1,), -1, device=x.device)
        self.num_used = 0

    def fix_shapes(self) -> None:
        self.num_used = self.s.shape[1]  # those that are not there yet are not usable

    def advance(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        s, y = x - self.x, g - self.g
        self.x.copy_(x)
        self.g.copy_(g)
        return s, y

    def remember(self, s: Tensor, y: Tensor, py: Tensor) -> None:
        size = self.s.shape[1]
        self.num_used = min(self.num_used + 1, size)
        self.newest.add_(1).remainder_(size)
        vector = self._blocks(y)
        curvature, of_py = _dot(s, y), _dot(y, py)
        usable = is_usable(curvature, _dot(s, s), _dot(y, y))
        self.scale.copy_(torch.where(usable, curvature / of_py, self.scale))
        self.usable.index_copy_(0, self.newest, usable[None].to(self.usable))
        self.s.index_copy_(1, self.newest, self._blocks(s)[:, None].to(self.s))
        self.py.index_copy_(1, self.newest, self._blocks(py)[:, None].to(self.py))
        self._leave()
        self.sy.index_copy_(0, self.newest, self._products(self.s, vector)[None].to(self.sy))
        products = self._products(self.py, vector).to(self.ypy)
        self.ypy.index_copy_(0, self.newest, products[None])
        self.ypy.index_copy_(1, self.newest, products[:, None])

    def product(self, v: Tensor, precondition: Callable[[Tensor], Tensor], scale: Callable[[Tensor], Tensor]) -> Tensor:
        pv, used = precondition(v), self.num_used
        c = scale(pv)
        if not used:
            return c.to(pv) * pv
        s, py, vector = self.s[:, :used], self.py[:, :used], self._blocks(v)
        order = (self.newest + 1 + torch.arange(used, device=v.device)) % used  # from the oldest to the newest
        mask = self.usable[order]
        of_s, of_py = (self._products(rows, vector).to(mask)[order] * mask for rows in (s, py))
        lower = (self.sy[order][:, order] * mask[:, None] * mask).tril()
        curvatures = lower.diagonal()
        lower = lower + (1 - mask).diag()
        inner = torch.linalg.solve_triangular(lower.mT, of_s[:, None], upper=True)
        spread = self.ypy[order][:, order] @ inner - of_py[:, None]
        middle = curvatures[:, None] * inner + c * mask[:, None] * spread
        outer = torch.linalg.solve_triangular(lower, middle, upper=False)
        weights = torch.cat([outer, -c * inner], 1)
        weights = torch.empty_like(weights).index_copy_(0, order, weights).to(v.dtype)
        found = self._combination(s, weights[:, 0]) + self._combination(py, weights[:, 1])
        return found.flatten()[: v.numel()].view_as(v).addcmul(pv, c.to(pv))

    def _blocks(self, vector: Tensor) -> Tensor:
        """(blocks, length)"""
        flat = vector.flatten()
        return (F.pad(flat, (0, self.padding)) if self.padding else flat).view(len(self.s), -1)

    def _products(self, rows: Float[Tensor, "blocks pairs length"], vector: Float[Tensor, "blocks length"]) -> Tensor:
        """Of each pair's row with the vector, (pairs,)."""
        if rows.dtype != vector.dtype:
            return torch.stack([block @ v for block, v in zip(self._converted(rows, vector), vector, strict=True)]).sum(
                0
            )
        return rows[0] @ vector[0] if len(rows) == 1 else (rows @ vector[:, :, None])[:, :, 0].sum(0)

    def _combination(self, rows: Float[Tensor, "blocks pairs length"], weights: Float[Tensor, " pairs"]) -> Tensor:
        """The sum of the rows by weights, (blocks, length)."""
        if rows.dtype != weights.dtype:
            return torch.stack([weights @ block for block in self._converted(rows, weights)])
        return (weights @ rows[0])[None] if len(rows) == 1 else (rows.mT @ weights[:, None])[:, :, 0]

    def _converted(self, rows: Float[Tensor, "blocks pairs length"], like: Tensor) -> Iterator[Tensor]:
        """Each block in another dtype; of pairs on the disk, only that."""
        for block in rows:
            yield block.to(like)
            self._leave()

    def _leave(self) -> None:
        for each in self.scratch:
            each.leave()


def block_length(device: torch.device) -> int:
    """Values of a vector that are multiplied as one block: a GPU is slow at few long rows; 0: all of them."""
    return 0 if device.type == "cpu" else 4096


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a.flatten().dot(b.flatten())


class ProjectedLBFGS(LBFGS):
    """L-BFGS for an image: within 0..255 at every step, and with an inverse Hessian that knows what images are like.

    What is saved is clamped to 8 bits, so an optimum outside the range is none. A value at a bound whose gradient
    points out of the range is left out of the step (the two-metric projection of Bertsekas 1982), and the step is
    clamped. The initial inverse Hessian is 1 / frequency instead of the identity: between white (0) and the power
    spectrum of natural images (1 / frequency^2, Field 1987), the best of 0, 0.5, 0.7, 1, 1.3 and 2 on fitting photos.
    Of an image whose large shapes were painted at a lower resolution what is wrong is finer, and half of that decay is
    the best.
    """

    FIRST_STEP = 10.0  # the best of 1, 4, 6, 8 and 10 on fitting photos

    def __init__(
        self,
        learning_rate: float = 1.0,
        history_size: int = 100,
        decay: float = 1.0,
        history_dtype: torch.dtype | None = None,
        history_on_disk: bool = False,
    ) -> None:
        super().__init__(learning_rate, history_size, history_dtype, history_on_disk)
        self.decay = decay  # d of 1 / frequency^d

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        return super().step(variable, gradient, loss).clamp(0, LEVELS)

    def _direction(self, history: History, variable: Tensor, gradient: Tensor, loss: Tensor | float) -> Tensor:
        free = ~(((variable <= 0) & (gradient > 0)) | ((variable >= LEVELS) & (gradient < 0)))
        return self._quasi_newton(history, gradient * free, loss) * free

    def _first_scale(self, direction: Tensor, gradient: Tensor, loss: Tensor | float) -> Tensor:
        # Polyak's step (1987), loss / slope, would end at 0 on a straight line: further is never meant, however good
        # the start is.
        slope = (direction * gradient).sum().abs().clamp_min(SMALLEST)
        return torch.minimum(super()._first_scale(direction, gradient, loss), loss / slope)

    def _precondition(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        spectrum = torch.fft.rfft2(values) * inverse_frequencies(height, width, values.device, self.decay)
        return torch.fft.irfft2(spectrum, s=(height, width))


@lru_cache(maxsize=4)
def inverse_frequencies(height: int, width: int, device: torch.device, decay: float = 1.0) -> Tensor:
    """1 / frequency^decay of each coefficient of `rfft2`, 1 at half a cycle a pixel; the mean counts as one cycle."""
    vertical = torch.fft.fftfreq(height, dtype=torch.float32, device=device)
    horizontal = torch.fft.rfftfreq(width, dtype=torch.float32, device=device)
    frequency = (vertical[:, None].square() + horizontal.square()).sqrt()
    return (0.5 / frequency.clamp_min(1 / max(height, width))).pow(decay)


def _exact_zeros(device: torch.device, *shape: int) -> Tensor:
    """In the most exact dtype that the device has."""
    return torch.zeros(shape, dtype=exact_dtype(device), device=device)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1); `learning_rate` in levels a step."""

    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, learning_rate: float = 1.0) -> None:
        self.learning_rate = learning_rate
        self.state: tuple[Tensor, Tensor, Tensor] | None = (
            None  # steps made, mean of the gradients and of their squares
        )

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:  # noqa: ARG002
        first, second = self.BETAS
        if self.state is None:
            made = _exact_zeros(gradient.device)
            self.state = made, torch.zeros_like(gradient), torch.zeros_like(gradient)
        made, mean, square = self.state
        made.add_(1)
        mean.lerp_(gradient, 1 - first)
        square.lerp_(gradient.square(), 1 - second)
        mean = mean / (1 - first**made)
        spread = (square / (1 - second**made)).sqrt() + self.EPSILON
        return variable.detach() - self.learning_rate * mean / spread


class PyramidAdam(Optimizer):
    """Adam on the levels of a Laplacian pyramid (Burt and Adelson 1983) instead of pixels, as Kolkin et al. 2022 have
    it: a few steps of the coarse levels move what is large.

    The image is linear in the levels, so the levels' steps add up to a step of the image.
    """

    NUM_LEVELS = 6  # each half the size of the one before

    def __init__(self, learning_rate: float = 1.0) -> None:
        self.levels = [Adam(learning_rate) for _ in range(self.NUM_LEVELS)]

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:  # noqa: ARG002
        height, width = gradient.shape[2:]
        sizes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(self.NUM_LEVELS)]
        still = [gradient.new_zeros(*gradient.shape[:2], *size).requires_grad_(True) for size in sizes]
        with torch.enable_grad():
            gradients = torch.autograd.grad(_collapsed(still), still, gradient)
        steps = [adam.step(level, g) for adam, level, g in zip(self.levels, still, gradients, strict=True)]
        return variable.detach() + _collapsed(steps)


def _collapsed(levels: Sequence[Tensor]) -> Tensor:
    """The image of a Laplacian pyramid, whose finest level comes first."""
    *finer, image = levels
    for level in reversed(finer):
        image = level + F.interpolate(image, level.shape[2:], mode="bilinear", align_corners=False)
    return image


def make_optimizer(
    config: StylizeConfig,
    num_steps: int,
    *,
    is_detailed: bool = False,
    memory: MemoryPlan | None = None,
) -> Optimizer:
    """A fresh optimiser of the config's kind.

    Args:
        num_steps: that it will make at most: it needs no more memory.
        is_detailed: for a start that was painted coarsely and given detail.
        memory: how L-BFGS remembers; None: as the config says.
    """
    if config.optimizer in FIRST_ORDER:
        return (Adam if config.optimizer == "adam" else PyramidAdam)(config.learning_rate)
    max_pairs = memory.num_pairs if memory else MAX_STEPS
    history_size = max(1, min(config.history_size, num_steps - 1, max_pairs))
    history = (memory.history_dtype, memory.history_on_disk) if memory else (None, False)
    if config.optimizer == "projected":
        decay = DECAY_AFTER_DETAIL if is_detailed else 1.0
        return ProjectedLBFGS(config.learning_rate, history_size, decay, *history)
    return LBFGS(config.learning_rate, history_size, *history)
