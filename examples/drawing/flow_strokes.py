"""Impasto landscape: sunset over terraced hills, painted in strokes that follow the flow of sky, fields and trees."""

from dataclasses import dataclass

import numpy as np

from drawing.brush import Mark, Painting, bristle_mark, canvas_weave, trace
from drawing.canvas import (
    Array,
    Shape,
    canvas_shape,
    coordinates,
    fractal_noise,
    mix,
    palette,
    ramp,
    smooth_noise,
    smoothstep,
)

SUN = (0.86, 0.40)
SUN_RADIUS = 0.075
RIVER_HEAD = 0.62
SWIRLS = [(0.40, 0.20, 0.13), (0.12, 0.36, 0.09), (0.62, 0.07, 0.08), (1.18, 0.12, 0.09)]  # x, y, radius

SKY_DAY = palette("ffdc6a fdb840 f58a32 ea5f3f c9486f 7a4a9c 3555a8 1c3f8f")
SKY_DEEP = palette("0e1f55 183a8a 2458b0 2b86b6 5fbcc2 c4e2c4 f8e3a8")
SUN_GLOW = palette("fffdea fff6c4 fff0a0 ffe47a")
FIELD_NEAR = palette("0f2f2c 1a5236 3f8438 92b03a e8cf48 f0642f")
FIELD_MIDDLE = palette("1b4a4f 2c7460 5ea561 b9c75a f3d566 f08a45")
FIELD_FAR = palette("2b3f86 3c68a8 5a9bb0 9cc4a0 f0c58a")
RIVER = palette("17386f 2566a0 4fa3b8 b7d8b5 ffe08a ffb547")
SIENNA = palette("7a4a2a")[0]
TREE = palette("0b1a22 10303a 17503f 3a7a3e 9c8f2e e8862f")


@dataclass(frozen=True)
class Passage:
    """A part of the scene that is painted in one manner."""

    mask: Array  # where it shows
    angle: Array  # the direction its strokes follow
    colour: Array  # the mean colour of a stroke there
    width: float  # of a stroke, in units
    length: float


def flow_angle(potential: Array) -> Array:
    """The direction along the contour lines of a potential."""
    slope_y, slope_x = np.gradient(potential)
    return np.arctan2(-slope_x, slope_y)


def sky(rng: np.random.Generator, shape: Shape) -> Passage:
    """Wind in whorls, and rings of light around the sun; the colour bands run with the flow."""
    x, y = coordinates(shape)
    from_sun = np.hypot(x - SUN[0], y - SUN[1])
    stream = y + 0.05 * np.sin(5 * x + 1) + 0.02 * fractal_noise(rng, shape, shape[0] / 4, 2)
    for cx, cy, radius in SWIRLS:
        distance = np.hypot(x - cx, y - cy)
        stream = stream + 2.2 * radius * np.exp(-((distance / radius) ** 2) / 1.6)
    near_sun = smoothstep(0.56, 0.14, from_sun)
    stream = mix(stream, 2.0 * from_sun, near_sun)
    band = 0.5 + 0.5 * np.sin(58 * stream)
    warm = ramp(SKY_DAY, np.clip((from_sun - 0.06) / 0.62, 0, 1) + 0.13 * (band - 0.5))
    cool = ramp(SKY_DEEP, np.clip(0.08 + 0.95 * band * (0.45 + y), 0, 1))
    colour = mix(cool, warm, (smoothstep(0.62, 0.25, from_sun + 0.08 * (band - 0.5)))[..., None])
    return Passage(np.ones(shape, bool), flow_angle(stream), colour, 0.0135, 0.085)


def sun(shape: Shape) -> Passage:
    """The disc, in strokes short enough to turn tightly around its centre."""
    x, y = coordinates(shape)
    distance = np.hypot(x - SUN[0], y - SUN[1])
    colour = ramp(SUN_GLOW, distance / SUN_RADIUS)
    return Passage(distance < SUN_RADIUS, flow_angle(distance), colour, 0.012, 0.035)


def hill(
    rng: np.random.Generator, shape: Shape, crest: Array, colours: Array, furrows: float, slant: float, size: float
) -> Passage:
    """A hillside below `crest` (its y at each x), ploughed in furrows that fan out towards the viewer."""
    x, y = coordinates(shape)
    depth = y - crest
    vanishing = SUN[0] + slant
    fan = (x - vanishing) / (depth + 0.16) + 2.5 * depth
    rows = mix(fan * 0.12, depth * 1.6, smoothstep(0.05, 0.0, depth))
    ripple = 0.012 * fractal_noise(rng, shape, shape[0] / 5, 2)
    band = 0.5 + 0.5 * np.sin(furrows * (rows + ripple))
    glow = 0.55 * np.exp(-(((x - SUN[0]) / 0.30) ** 2)) * smoothstep(0.22, 0.0, depth)
    tone = 0.1 + 0.55 * band + glow - 0.5 * np.clip(depth, 0, 0.4)
    return Passage(depth > 0, flow_angle(rows + ripple), ramp(colours, np.clip(tone, 0, 1)), size, size * 5.5)


def river(rng: np.random.Generator, shape: Shape) -> Passage:
    """A river that winds down from the sun and carries its colours."""
    x, y = coordinates(shape)
    below = np.clip(y - RIVER_HEAD, 0, 1)
    middle = SUN[0] - 0.09 + 0.12 * np.sin(15 * np.sqrt(below + 0.01)) - 0.35 * below
    half_width = 0.008 + 0.45 * below**1.2
    across = (x - middle) / half_width
    glint = np.exp(-(((across - 0.25) / 0.5) ** 2)) + 0.35 * smooth_noise(rng, shape, (9, 90))
    tone = np.clip(0.22 + 0.55 * glint, 0, 1)
    angle = flow_angle(y + 0.012 * np.sin(14 * x + 30 * y))
    return Passage((np.abs(across) < 1) & (y > RIVER_HEAD), angle, ramp(RIVER, tone), 0.011, 0.06)


def cypress(rng: np.random.Generator, shape: Shape, foot: float, top: float, half_width: float) -> Passage:
    """A flame-shaped tree, dark against the sky and lit by the sun on its right."""
    x, y = coordinates(shape)
    rise = np.clip((1.0 - y) / (1.0 - top), 0, 1)
    lean = 0.018 * np.sin(9 * rise) * rise
    edge = half_width * (1 - rise) ** 0.55 * (0.75 + 0.5 * np.sin(np.pi * np.sqrt(rise)))
    across = (x - foot - lean) / np.maximum(edge, 1e-4)
    ragged = 0.10 * fractal_noise(rng, shape, (50, 22), 3)
    flame = 0.5 + 0.5 * np.sin(7 * across + 26 * y + 3 * smooth_noise(rng, shape, 130))
    tone = 0.1 + 0.5 * flame * (0.6 + 0.4 * across) + 0.45 * smoothstep(0.45, 1.0, across)
    angle = -np.pi / 2 + 0.5 * np.clip(across, -1, 1) * (0.3 + rise) + 0.2 * np.sin(26 * y + 5 * across)
    shown = (np.abs(across + ragged) < 1) & (y > top)
    return Passage(shown, angle, ramp(TREE, np.clip(tone, 0, 1)), 0.0115, 0.05)


def scene(rng: np.random.Generator, shape: Shape) -> list[Passage]:
    """The passages from back to front."""
    x, _ = coordinates(shape)
    far = 0.545 + 0.035 * np.sin(5.2 * x + 0.6) + 0.018 * np.sin(13 * x)
    middle = 0.615 + 0.045 * np.sin(3.7 * x + 2.2)
    near = 0.80 - 0.13 * np.cos(2.4 * x) + 0.02 * np.sin(8 * x)
    return [
        sky(rng, shape),
        sun(shape),
        hill(rng, shape, far, FIELD_FAR, 80, 0.3, 0.0095),
        hill(rng, shape, middle, FIELD_MIDDLE, 60, -0.1, 0.0105),
        hill(rng, shape, near, FIELD_NEAR, 75, -0.35, 0.0125),
        river(rng, shape),
        cypress(rng, shape, 0.19, 0.05, 0.105),
        cypress(rng, shape, 0.36, 0.36, 0.065),
    ]


def jitter(rng: np.random.Generator, colour: Array) -> Array:
    """Broken colour: neighbouring strokes differ in value and a little in hue, as no two loadings of a brush agree."""
    value = rng.normal(0, 0.075, (len(colour), 1))
    hue = rng.normal(0, 0.035, colour.shape)
    return np.clip(colour + value + hue, 0, 1)


def scatter(rng: np.random.Generator, mask: Array, count: int) -> Array:
    """About `count` points x, y spread evenly over the mask, in random order.

    They are Roberts' R2 sequence, which leaves smaller gaps than independent points would.
    """
    total = int(count / mask.mean())
    places = np.outer(rng.permutation(total), [0.7548776662, 0.5698402910]) % 1
    points = (places * mask.shape[::-1]).astype(int)
    return points[mask[points[:, 1], points[:, 0]]]


def cover_passage(
    rng: np.random.Generator, painting: Painting, passage: Passage, marks: list[Mark], size: float, coats: float
) -> None:
    """Paint a passage `coats` times over with strokes `size` times its usual size."""
    unit = painting.shape[0]
    width, length = passage.width * size * unit, passage.length * size * unit
    starts = scatter(rng, passage.mask, int(coats * passage.mask.sum() / (width * length)))
    count = len(starts)
    lengths = length * rng.uniform(0.6, 1.3, count)
    widths = width * rng.uniform(0.75, 1.25, count)
    base = passage.colour[starts[:, 1], starts[:, 0]]
    first, second = jitter(rng, base), jitter(rng, base)
    for k, path in enumerate(trace(passage.angle, starts, lengths)):
        painting.stroke(path, widths[k], np.stack([first[k], second[k]]), marks[rng.integers(len(marks))])


def underpainting(passages: list[Passage]) -> Array:
    """The scene in thin dark washes over a sienna ground, which shows wherever the strokes leave a gap."""
    wash = np.broadcast_to(SIENNA, passages[0].colour.shape)
    for passage in passages:
        wash = np.where(passage.mask[..., None], mix(SIENNA, passage.colour, 0.8) * 0.7, wash)
    return wash


def draw(rng: np.random.Generator) -> Array:
    """Every passage gets a broad coat, then a finer one that leaves the broad one showing."""
    shape = canvas_shape(5, 4)
    passages = scene(rng, shape)
    painting = Painting(underpainting(passages), canvas_weave(shape))
    marks = [bristle_mark(rng) for _ in range(24)]
    for passage in passages:
        cover_passage(rng, painting, passage, marks, size=1.5, coats=2.2)
        cover_passage(rng, painting, passage, marks, size=1.0, coats=1.3)
    return painting.lit(depth=1.5, gloss=0.10)
