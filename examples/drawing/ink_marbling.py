"""Marbled paper: inks dropped on a bath, drawn through with tines, and lifted off on a sheet.

Every tool moves the surface of the bath by a closed formula that keeps areas, as the flow of a liquid does (S. Lu and
others, "Mathematical Marbling", 2012). Each has an exact inverse, so a pixel is coloured by taking its point back
through the history of the bath, last tool first, until it lies inside the drop that coloured it.
"""

from dataclasses import dataclass

import numpy as np

from drawing.canvas import (
    Array,
    Point,
    Shape,
    canvas_shape,
    coordinates,
    fractal_noise,
    mix,
    palette,
    paper,
    rgb,
    rotated,
    smooth_noise,
    smoothstep,
)

BARE_SHEET = rgb("f7f0de")
INKS = palette("13234f 1d5c8c c7362f f2ead6 e2a12e 0f6e6b 7c1f45 f2d9a8 0d1424 e8743b")
INDIGO, BLUE, VERMILION, WHITE, GOLD, TEAL, WINE, CREAM, BLACK, CORAL = range(len(INKS))


def axes(angle: float) -> tuple[Array, Array]:
    """Unit vectors along a direction and across it."""
    along = np.array([np.cos(angle), np.sin(angle)])
    return along, np.array([-along[1], along[0]])


@dataclass(frozen=True)
class Drop:
    """Ink let fall on the bath; it pushes aside what was there."""

    centre: Point
    radius: float
    ink: int


@dataclass(frozen=True)
class Comb:
    """Parallel tines drawn through the bath in the direction `angle`, dragging the ink beside them along."""

    angle: float
    offset: float  # of one of the tines from the origin
    pitch: float
    pull: float
    reach: float  # distance at which the drag has fallen to 1 / e

    def undo(self, points: Array) -> Array:
        """Where these points of the bath were before."""
        along, across = axes(self.angle)
        position = points @ across - self.offset
        distance = np.abs((position + self.pitch / 2) % self.pitch - self.pitch / 2)
        return points - (self.pull * np.exp(-distance / self.reach))[:, None] * along


@dataclass(frozen=True)
class Wave:
    """A rake moved to and fro while it is drawn along `angle`."""

    angle: float
    length: float
    height: float
    phase: float = 0.0

    def undo(self, points: Array) -> Array:
        """Where these points of the bath were before."""
        along, across = axes(self.angle)
        swing = self.height * np.sin(2 * np.pi * (points @ along) / self.length + self.phase)
        return points - swing[:, None] * across


@dataclass(frozen=True)
class Whirl:
    """A stylus turned around `centre`: every circle about it turns rigidly, the inner ones furthest."""

    centre: Point
    turn: float
    reach: float

    def undo(self, points: Array) -> Array:
        """Where these points of the bath were before."""
        offset = points - self.centre
        angle = -self.turn * np.exp(-((np.hypot(*offset.T) / self.reach) ** 2))
        return rotated(offset, angle) + self.centre


Tool = Drop | Comb | Wave | Whirl


def lift(bath: list[Tool], points: Array, base: int) -> tuple[Array, Array]:
    """The ink at every point, and how near it lies to the rim of its drop: 0 at the centre, 1 at the rim."""
    inks = np.full(len(points), base)
    rim = np.zeros(len(points))
    floating = np.arange(len(points))
    for tool in reversed(bath):
        if not isinstance(tool, Drop):
            points = tool.undo(points)
            continue
        offset = points - tool.centre
        ratio = np.sum(offset**2, axis=1) / tool.radius**2
        inside = ratio < 1
        inks[floating[inside]] = tool.ink
        rim[floating[inside]] = np.sqrt(ratio[inside])
        floating, offset, ratio = floating[~inside], offset[~inside], ratio[~inside]
        points = tool.centre + offset * np.sqrt(1 - 1 / ratio)[:, None]
    return inks, rim


def sprinkle(
    rng: np.random.Generator, count: int, inks: list[int], low: float, high: float, width: float
) -> list[Tool]:
    """Drops shaken from a brush all over the bath."""
    spots = rng.uniform((-0.15, -0.15), (width + 0.15, 1.15), (count, 2))
    radii = rng.uniform(low, high, count)
    return [Drop((x, y), r, inks[k % len(inks)]) for k, ((x, y), r) in enumerate(zip(spots, radii, strict=True))]


def history(rng: np.random.Generator, width: float) -> list[Tool]:
    """What was done to the bath: stones, a to-and-fro rake, a fine comb, then whirls and a last light sprinkle."""
    bath = sprinkle(rng, 80, [INDIGO, VERMILION, CREAM, TEAL, GOLD, WINE, BLUE], 0.06, 0.12, width)
    bath += sprinkle(rng, 170, [BLUE, WHITE, CORAL, INDIGO, GOLD, TEAL, CREAM, VERMILION, BLACK], 0.03, 0.06, width)
    bath += [
        Comb(0.0, 0.03, 0.24, 0.35, 0.06),
        Comb(np.pi, 0.15, 0.24, 0.35, 0.06),
        Comb(np.pi / 2, 0.02, 0.060, 0.17, 0.017),
        Wave(np.pi / 2, 0.42, 0.035),
    ]
    bath += [
        Whirl((0.30 * width, 0.34), 3.6, 0.20),
        Whirl((0.78 * width, 0.70), -3.8, 0.22),
        Whirl((0.80 * width, 0.18), 2.6, 0.13),
        Whirl((0.20 * width, 0.84), -2.6, 0.14),
    ]
    bath += sprinkle(rng, 70, [WHITE, GOLD, BLACK, VERMILION], 0.003, 0.010, width)
    return bath


def draw(rng: np.random.Generator) -> Array:
    """Lift the sheet off the bath: ink pools at the rims of drops, granulates, and sinks into the paper."""
    shape: Shape = canvas_shape(4, 3)
    x, y = coordinates(shape)
    # A hand is never perfectly steady: the sheet meets a slightly stirred bath.
    sway = [0.004 * fractal_noise(rng, shape, shape[0] / 6, 2) for _ in range(2)]
    points = np.stack([x + sway[0], y + sway[1]], axis=-1).reshape(-1, 2).astype(np.float32)
    inks, rim = lift(history(rng, shape[1] / shape[0]), points, base=INDIGO)
    colour = INKS[inks].reshape(*shape, 3)
    pooled = smoothstep(0.55, 1.0, rim.reshape(shape))
    density = 0.93 + 0.12 * pooled + 0.03 * smooth_noise(rng, shape, 60) + 0.05 * fractal_noise(rng, shape, 4, 2)
    return mix(BARE_SHEET, colour, np.clip(density, 0, 1.1)[..., None]) * paper(rng, shape)[..., None]
