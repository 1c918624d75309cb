"""Divisionist painting: a river at evening in layers of dabs, each colour split into purer neighbours."""

import numpy as np

from drawing.brush import Mark, Painting, canvas_weave, dab_mark
from drawing.canvas import (
    Array,
    Point,
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

HORIZON = 0.50
SUN = (0.52, 0.40)

SKY = palette("2b4c9b 4a6fbe 8a86c8 cf8fb0 f59a7c fdb65a ffd977")
FAR_BANK = palette("2c3a86 4a4c9c 8d5a94 d97a5a")
POPLAR = palette("14264a 1d4a52 2f7350 7fa04a e2c04f ffb84a")
AUTUMN = palette("2f1f5a 6a2a5c a83c46 dc6b34 f7a93c ffdf78")
MEADOW = palette("1d3a4f 2c6a4c 6a9a45 b9bf4a f4d35f")
PRIMING = palette("d9b98a")[0]
TANNED_SAIL = palette("8c2f3f c9492f f79a45")
GLITTER = palette("ffd489")[0]
HULL = palette("1f1a4a")[0]
SUNLIT = palette("fff8d8")[0]
SHADE = palette("2a3f86")[0]
TO_OPPONENT = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC's YIQ


def paint_over(picture: Array, mask: Array, colour: Array) -> Array:
    """The picture with `colour` over it where `mask`, boolean or 0..1, says so."""
    return mix(picture, colour, mask[..., None])


def crown(rng: np.random.Generator, shape: Shape, centre: Point, size: Point, clump: float) -> tuple[Array, Array]:
    """The foliage of a tree: where it is, and how much of the low sun each clump of leaves catches, 0..1."""
    x, y = coordinates(shape)
    across, up = (x - centre[0]) / size[0], (y - centre[1]) / size[1]
    leaves = fractal_noise(rng, shape, clump * shape[0], 3)
    mask = smoothstep(1.06, 0.94, np.hypot(across, up) + 0.08 * leaves)
    towards_sun = np.sign(SUN[0] - centre[0])
    light = 0.36 + 0.34 * towards_sun * across - 0.12 * up + 0.15 * leaves
    return mask, np.clip(light, 0, 1)


def sky(rng: np.random.Generator, shape: Shape) -> Array:
    """Blue above, gold around a sun that has nearly touched the far bank, and a few lit bars of cloud."""
    x, y = coordinates(shape)
    from_sun = np.hypot((x - SUN[0]) * 0.75, y - SUN[1])
    picture = ramp(SKY, np.clip(1.02 - 1.55 * from_sun, 0, 1))
    cloud = smoothstep(0.5, 1.5, fractal_noise(rng, shape, (shape[0] / 14, shape[0] / 2.5), 3))
    lit = ramp(SKY[3:], np.clip(1.2 - 1.4 * from_sun, 0, 1)) + 0.05
    picture = paint_over(picture, 0.75 * cloud * smoothstep(0.03, 0.15, from_sun), lit)
    return paint_over(picture, smoothstep(0.056, 0.046, np.hypot(x - SUN[0], y - SUN[1])), SUNLIT)


def trees(rng: np.random.Generator, shape: Shape, picture: Array) -> Array:
    """A far wooded bank, and on either side poplars and autumn trees that come towards the viewer."""
    x, y = coordinates(shape)
    hills = HORIZON - 0.035 - 0.02 * np.sin(7 * x + 1) - 0.012 * smooth_noise(rng, shape, (shape[0], shape[0] / 30))
    light = np.clip(np.exp(-(((x - SUN[0]) / 0.18) ** 2)) + 0.12 * fractal_noise(rng, shape, 40, 2), 0, 1)
    picture = paint_over(picture, smoothstep(-0.004, 0.004, y - hills), ramp(FAR_BANK, light))
    poplars = [
        (0.985, 0.40, 0.028, 0.11),
        (1.05, 0.36, 0.036, 0.16),
        (1.13, 0.30, 0.046, 0.22),
        (1.25, 0.24, 0.06, 0.30),
    ]
    for cx, cy, half_width, half_height in poplars:
        mask, light = crown(rng, shape, (cx, cy), (half_width, half_height), 0.028)
        picture = paint_over(picture, mask, ramp(POPLAR, light))
    bushes = [(0.31, 0.445, 0.07, 0.06), (0.20, 0.41, 0.10, 0.10), (0.04, 0.30, 0.17, 0.23)]
    for cx, cy, half_width, half_height in bushes:
        mask, light = crown(rng, shape, (cx, cy), (half_width, half_height), 0.05)
        picture = paint_over(picture, mask, ramp(AUTUMN, light))
    return picture


def boat(shape: Shape, picture: Array) -> Array:
    """A small boat under sail, a little off the axis of the sun."""
    x, y = coordinates(shape)
    bottom, mast = HORIZON + 0.030, 0.735
    up = np.clip((bottom - 0.022 - y) / 0.27, 0, 1)
    raised = (up > 0) & (up < 1)
    sail = raised & (x > mast - 0.12 * (1 - up) ** 1.3) & (x < mast)
    jib = raised & (x > mast + 0.008) & (x < mast + 0.008 + 0.085 * (0.8 - up))
    hull = (np.abs(x - mast + 0.012) < 0.115 - 1.3 * np.clip(y - bottom + 0.018, 0, 1)) & (np.abs(y - bottom) < 0.019)
    picture = paint_over(picture, sail, ramp(TANNED_SAIL, np.clip((mast - x) / 0.10, 0, 1)))
    picture = paint_over(picture, jib, TANNED_SAIL[0])
    return paint_over(picture, hull, HULL)


def reflect(rng: np.random.Generator, shape: Shape, picture: Array) -> Array:
    """Turn everything below the horizon into water: the scene upside down, broken by ripples, with a path of sun."""
    x, y = coordinates(shape)
    nearness = np.clip((y - HORIZON) / (1 - HORIZON), 0, 1)
    ripple = smooth_noise(rng, shape, (7, 80)) * (1 - nearness) + smooth_noise(rng, shape, (18, 170)) * nearness
    rows = np.clip(2 * HORIZON - y + 0.045 * ripple * (0.3 + nearness) + 0.05, 0, 1) * (shape[0] - 1)
    columns = np.clip(x + 0.006 * ripple, 0, x.max()) * (shape[0] - 1)
    water = picture[rows.astype(int), columns.astype(int)]
    water = mix(water, SHADE, (0.18 + 0.22 * smoothstep(-0.3, 1.2, ripple))[..., None])
    glitter = np.exp(-(((x - SUN[0]) / (0.03 + 0.08 * nearness)) ** 2)) * smoothstep(-0.4, 0.9, ripple)
    water = paint_over(water, 0.9 * glitter, GLITTER)
    return paint_over(picture, smoothstep(-0.001, 0.001, y - HORIZON), water)


def meadow(rng: np.random.Generator, shape: Shape, picture: Array) -> Array:
    """The near bank across the lower left corner, with flowers in the grass."""
    x, y = coordinates(shape)
    edge = 0.76 + 0.42 * np.clip(x, 0, 2) ** 1.6 - 0.025 * np.sin(11 * x) - 0.012 * smooth_noise(rng, shape, (400, 12))
    depth = y - edge
    light = 0.74 - 3.0 * np.abs(depth - 0.02) + 0.16 * fractal_noise(rng, shape, (50, 24), 3)
    picture = paint_over(picture, smoothstep(-0.003, 0.003, depth), ramp(MEADOW, np.clip(light, 0, 1)))
    blossom = smoothstep(1.5, 1.9, smooth_noise(rng, shape, 13)) * smoothstep(0.02, 0.06, depth)
    return paint_over(picture, blossom, ramp(palette("e8455a f7a6b0 fff0c8"), 0.5 + 0.4 * smooth_noise(rng, shape, 40)))


def divide(rng: np.random.Generator, colour: Array) -> Array:
    """Optical mixture: swing every dab's hue and raise its purity, with some complements among them.

    The swing is symmetric and lightness is kept, so from a distance the dabs average back to the colour meant.
    """
    opponent = colour @ TO_OPPONENT.T
    count = len(colour)
    complement = rng.random(count) < 0.08
    turn = rng.normal(0, 0.38, count) + np.pi * complement
    purity = np.where(complement, 0.7, 1.3)
    chroma = (opponent[:, 1] + 1j * opponent[:, 2]) * np.exp(1j * turn) * purity
    lightness = opponent[:, 0] + rng.normal(0, 0.06, count)
    return np.clip(np.stack([lightness, chroma.real, chroma.imag], axis=1) @ np.linalg.inv(TO_OPPONENT).T, 0, 1)


def dab_angle(shape: Shape, at: Array) -> Array:
    """The direction of the dabs at pixels x, y: around the sun above the horizon, level on the water."""
    x, y = at.T / shape[0]
    return np.where(y < HORIZON, np.arctan2(y - SUN[1], x - SUN[0]) + np.pi / 2, 0.0)


def dab_layer(rng: np.random.Generator, painting: Painting, scene: Array, marks: list[Mark], size: float) -> None:
    """Cover the canvas once with dabs about `size` pixels across, on a shaken grid and in random order."""
    rows, columns = (np.arange(0, side, size * 0.92) for side in painting.shape)
    spots = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    spots = rng.permutation(spots + rng.normal(0, 0.3 * size, spots.shape))
    at = np.clip(spots.astype(int), 0, np.array(painting.shape[::-1]) - 1)
    meant = scene[at[:, 1], at[:, 0]]
    loaded = np.stack([divide(rng, meant), divide(rng, meant)], axis=1)
    # The second colour only tints the first: a dab is one touch of one colour, not wholly even.
    loaded[:, 1] = mix(loaded[:, 0], loaded[:, 1], 0.35)
    angle = dab_angle(painting.shape, at) + rng.normal(0, 0.25, len(spots))
    half = 0.5 * size * rng.uniform(1.2, 1.8, (len(spots), 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for spot, reach, colours in zip(spots, half, loaded, strict=True):
        painting.stroke(np.stack([spot - reach, spot + reach]), size, colours, marks[rng.integers(len(marks))])


def draw(rng: np.random.Generator) -> Array:
    """Broad dabs first, then smaller ones between and over them, on a thin underpainting."""
    shape = canvas_shape(4, 3)
    scene = trees(rng, shape, sky(rng, shape))
    scene = meadow(rng, shape, reflect(rng, shape, boat(shape, scene)))
    painting = Painting(mix(scene, PRIMING, 0.3), canvas_weave(shape))
    marks = [dab_mark(rng) for _ in range(24)]
    for size in (19, 14, 10.5):
        dab_layer(rng, painting, scene, marks, size)
    return painting.lit(depth=0.9, gloss=0.05)
