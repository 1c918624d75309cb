"""Colour woodcut: breaking waves under a red sun, printed from a key block of ink lines and blocks of graded colour."""

import numpy as np
from PIL import Image, ImageDraw

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
    ramp,
    rgb,
    rotated,
    smooth_noise,
    smoothstep,
)

PAPER, INK = rgb("f3e6c8"), rgb("141a33")
SUN, SUN_CENTRE, SUN_RADIUS = rgb("d2402c"), (0.52, 0.40), 0.185
SKY = palette("17386b 3f6f9c 9dbcb8 efe0bd f4d5a4 f0b283 e08a63")
SEA = ("14356a", "e9e0c4", "1f5791", "7fb6c4", "1a4a86", "b9d6cc", "3a86b4", "123062")
FOAM, FOAM_SHADE = "f6efdc", "9fc3c8"
MIST, ISLE = "f0dcb4", ("51708f", "3a567c")

# One breaking wave that curls to the left, crest 1 high, x to the right and y up: its back from the foot to the tip of
# the lip, and its hollow face from the foot to the same tip.
BACK = [(2.3, 0.0), (1.55, 0.16), (1.0, 0.46), (0.55, 0.84), (0.10, 1.02), (-0.30, 0.94), (-0.54, 0.66)]
FACE = [(-1.25, 0.0), (-0.55, 0.05), (-0.10, 0.20), (0.10, 0.42), (0.04, 0.66), (-0.20, 0.78), (-0.54, 0.66)]
PLOVER = [(-1.0, 0.35), (-0.55, -0.25), (0.0, 0.05), (0.55, -0.35), (1.05, 0.10), (0.45, 0.02), (0.0, 0.30)]


def curve(points: list[Point], count: int = 120) -> Array:
    """A Catmull-Rom spline through the points."""
    p = np.array(points)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    span = np.linspace(0, len(points) - 1 - 1e-9, count)
    k = span.astype(int)
    t = (span - k)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


class Print:
    """The colour blocks and the key block while they are cut; a later shape hides what it covers on both."""

    def __init__(self, ground: Array) -> None:
        """Start from a printed ground and an uncut key block."""
        self.height = ground.shape[0]
        self.colour = Image.fromarray((ground * 255).astype(np.uint8))
        self.key = Image.new("L", self.colour.size, 0)
        self._colour, self._key = ImageDraw.Draw(self.colour), ImageDraw.Draw(self.key)

    def _pixels(self, points: Array) -> list[Point]:
        return [tuple(p) for p in np.asarray(points) * self.height]

    def fill(self, outline: Array, colour: str) -> None:
        """Cut a shape into a colour block."""
        self._colour.polygon(self._pixels(outline), fill=f"#{colour}")
        self._key.polygon(self._pixels(outline), fill=0)

    def line(self, points: Array, width: float = 0.0022) -> None:
        """An ink line that swells in the middle, as a brush makes it and the knife keeps it."""
        along = np.gradient(points, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
        half = width * (0.3 + 0.45 * np.sin(np.pi * np.linspace(0, 1, len(points))))[:, None] * normal
        self._key.polygon(self._pixels(np.vstack([points + half, (points - half)[::-1]])), fill=255)

    def _disc(self, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str | int) -> None:
        box = np.array([x - radius, y - radius, x + radius, y + radius]) * self.height
        draw.ellipse(tuple(box), fill=fill)

    def foam(self, discs: Array) -> None:
        """White water: rows of x, y, radius that flow together into one shape, outlined and shaded below."""
        for x, y, radius in discs:
            self._disc(self._key, x, y, radius + min(0.0019, 0.5 * radius), 255)
        for x, y, radius in discs:
            self._disc(self._key, x, y, radius, 0)
            self._disc(self._colour, x, y, radius, f"#{FOAM_SHADE}")
        for x, y, radius in discs:
            self._disc(self._colour, x - 0.16 * radius, y - 0.24 * radius, 0.74 * radius, f"#{FOAM}")


def claw(rng: np.random.Generator, at: Array, heading: float, size: float, turn: float, forks: int) -> list[Array]:
    """Discs along a curling finger of foam that forks into smaller ones."""
    radius, discs = size, []
    for step in range(15):
        discs.append(np.array([*at, radius]))
        at = at + 0.9 * radius * np.array([np.cos(heading), np.sin(heading)])
        heading += turn * (0.05 + 0.02 * step)
        radius *= 0.87
        if forks and step in (2, 5):
            aside = heading - np.sign(turn) * rng.uniform(0.5, 1.0)
            discs += claw(rng, at, aside, 0.75 * radius, turn * rng.uniform(0.9, 1.4), forks - 1)
    return discs


def crest_foam(rng: np.random.Generator, sheet: Print, back: Array, face: Array, size: float, facing: int) -> None:
    """Foam over the lip of a wave: clots along it, then claws over its edges, each outlined so that they overlap."""
    last = len(back) - 1
    forks = 2 if size > 0.5 else 1
    for t in np.linspace(0.72, 0.99, 30):
        k = int(t * last)
        spots = mix(back[k], face[k], rng.uniform(-0.04, 0.55, (4, 1)))
        spots = spots + rng.normal(0, 0.012 * size, spots.shape)
        radii = size * (0.012 + 0.05 * (t - 0.7)) * rng.uniform(0.7, 1.5, (4, 1))
        sheet.foam(np.hstack([spots, radii]))
    for t in np.linspace(0.74, 0.97, 12):
        k = int(t * last)
        tangent = back[k + 1] - back[k - 1]
        outward = np.arctan2(tangent[1], tangent[0]) + facing * rng.uniform(0.1, 0.5)
        reach = size * rng.uniform(0.013, 0.019)
        sheet.foam(np.array(claw(rng, back[k], outward, reach, -facing * rng.uniform(0.6, 1.2), 1)))
    for t in np.linspace(0.70, 1.0, 26):
        k = int(t * last)
        heading = np.pi / 2 + facing * rng.uniform(0.4, 1.2)
        reach = size * rng.uniform(0.011, 0.020)
        sheet.foam(np.array(claw(rng, face[k], heading, reach, -facing * rng.uniform(0.8, 1.7), forks)))


def spray(rng: np.random.Generator, centre: Array, size: float, facing: int, count: int) -> Array:
    """Drops flung ahead of the crest, fewer and smaller further out."""
    out = size * rng.exponential(0.26, count)
    angle = rng.uniform(-1.25, 0.9, count)
    x = centre[0] - facing * out * np.cos(angle)
    y = centre[1] + out * np.sin(angle)
    radius = size * 0.0075 * rng.uniform(0.4, 1.2, count) * np.exp(-out / size)
    return np.stack([x, y, radius], axis=1)


def breaker(rng: np.random.Generator, sheet: Print, foot: Point, size: float, facing: int) -> None:
    """A breaking wave at `foot`, `size` high; `facing` 1 curls it to the left and -1 to the right."""
    place = np.array([facing, -1.0]) * size
    back, face = (curve(points) * place + foot for points in (BACK, FACE))
    sheet.fill(np.vstack([back, face[::-1]]), SEA[0])
    stripes = max(9, round(24 * size**0.5))
    cuts = np.linspace(0, 1, stripes + 1) ** 0.9
    for k in range(stripes):
        low, high = mix(back, face, cuts[k]), mix(back, face, cuts[k + 1])
        sheet.fill(np.vstack([low, high[::-1]]), SEA[k % len(SEA)])
        sheet.line(low, 0.0024)
        sheet.line(mix(low, high, 0.5)[12:-20], 0.0014)
    sheet.line(back, 0.0040)
    sheet.line(face, 0.0040)
    sheet.foam(spray(rng, back[-12], size, facing, round(170 * size)))
    crest_foam(rng, sheet, back, face, size, facing)


def swell(rng: np.random.Generator, sheet: Print, top: float, pitch: float, height: float, facing: int) -> None:
    """A rank of small pointed waves across the sheet, contour below contour, with foam on the points."""
    width = sheet.colour.width / sheet.height
    x = np.linspace(-0.05, width + 0.05, 500)
    phase = np.pi * (x / pitch + 0.25 * np.sin(5 * x + rng.uniform(0, 6))) + rng.uniform(0, 6)
    size = height * (0.75 + 0.35 * np.sin(3 * x + rng.uniform(0, 6)))
    point = 1 - np.abs(np.sin(phase)) ** 0.8
    layers = 9
    below = np.array([[width + 0.05, 1.2], [-0.05, 1.2]])
    for k in range(layers):
        fade = (1 - k / layers) ** 0.7
        y = top + 0.55 * height * k - size * point * fade
        contour = np.stack([x, y], axis=1)
        sheet.fill(np.vstack([contour, below]), SEA[(k * 3 + 1) % len(SEA)] if k else SEA[0])
        sheet.line(contour, 0.0022 if k else 0.0036)
        if height > 0.03:  # finer ranks would fill up with ink
            sheet.line(contour + np.array([0, 0.25 * height]), 0.0013)
    peaks = np.flatnonzero((point[1:-1] > point[:-2]) & (point[1:-1] >= point[2:])) + 1
    for k in peaks:
        at = np.array([x[k], top - size[k] * point[k] + 0.1 * height])
        for step in range(6):
            down = np.array([facing * 0.16, 0.13]) * step * height
            sheet.foam(np.array(claw(rng, at + down, -np.pi / 2 - 1.1 * facing, 0.085 * height, -facing * 1.5, 1)))


def sky(rng: np.random.Generator, shape: Shape) -> Array:
    """Graded by wiping the block: deep blue above, paper in the middle, a flush of red towards the sea; and the sun."""
    x, y = coordinates(shape)
    wipe = 0.025 * smooth_noise(rng, shape, (shape[0] / 8, shape[0]))
    picture = ramp(SKY, np.clip(1.45 * y + wipe, 0, 1))
    disc = smoothstep(SUN_RADIUS + 0.0012, SUN_RADIUS - 0.0012, np.hypot(x - SUN_CENTRE[0], y - SUN_CENTRE[1]))
    graded = mix(SUN, SKY[4], (0.75 * smoothstep(0.40, 0.60, y + wipe))[..., None])
    return mix(picture, graded, disc[..., None])


def mist(sheet: Print, x: float, y: float, length: float, thickness: float) -> None:
    """A bank of mist as woodcuts draw it: a bar with round ends and a shorter one below it."""
    for shift, part, drop in ((0.0, 1.0, 0.0), (0.22, 0.62, 1.0)):
        left, right = x + shift * length, x + (shift + part) * length
        angle = np.linspace(np.pi / 2, 3 * np.pi / 2, 24)
        end = np.stack([np.cos(angle), np.sin(angle)], axis=1) * thickness / 2
        middle = y + drop * thickness
        outline = np.vstack([np.array([left, middle]) + end, np.array([right, middle]) - end])
        sheet.fill(outline, MIST)
        sheet.line(np.vstack([outline, outline[:1]]), 0.0018)


def isles(rng: np.random.Generator, sheet: Print) -> None:
    """Far rocky islands, hatched on their shadow side."""
    for left, width, height, tone in ((0.03, 0.30, 0.10, 0), (0.20, 0.22, 0.06, 1), (0.95, 0.42, 0.085, 0)):
        x = np.linspace(0, 1, 60)
        rock = np.sin(np.pi * x) ** 0.8 * (1 + 0.22 * np.sin(17 * x) + 0.10 * np.sin(41 * x))
        ridge = np.stack([left + width * x, 0.60 - height * rock], axis=1)
        sheet.fill(ridge, ISLE[tone])
        sheet.line(ridge, 0.0026)
        for k in range(8, 56, 3):
            fall = height * rock[k] * rng.uniform(0.3, 0.8)
            sheet.line(ridge[k] + np.linspace(0, 1, 12)[:, None] * np.array([0.25 * fall, fall]), 0.0016)


def plover(sheet: Print, x: float, y: float, size: float, tilt: float) -> None:
    """A small bird in flight: two bent wings and a body."""
    bird = rotated(curve(PLOVER, 60), tilt) * size + np.array([x, y])
    sheet.fill(bird, FOAM)
    sheet.line(np.vstack([bird, bird[:1]]), 0.0020)


def compose(rng: np.random.Generator, shape: Shape) -> Print:
    """Cut the blocks from back to front."""
    sheet = Print(sky(rng, shape))
    for bank in ((0.78, 0.235, 0.50, 0.030), (0.10, 0.30, 0.36, 0.026), (0.36, 0.475, 0.34, 0.024)):
        mist(sheet, *bank)
    for k in range(9):
        rise = 0.07 * np.sin(0.55 * k) + rng.uniform(-0.03, 0.03)
        plover(sheet, 0.13 + 0.052 * k, 0.20 - rise, 0.022, rng.normal(-0.2, 0.3))
    isles(rng, sheet)
    swell(rng, sheet, 0.605, 0.10, 0.020, 1)
    breaker(rng, sheet, (0.30, 0.74), 0.20, -1)
    swell(rng, sheet, 0.685, 0.17, 0.036, -1)
    breaker(rng, sheet, (1.02, 0.97), 0.80, 1)
    breaker(rng, sheet, (0.34, 0.98), 0.34, -1)
    swell(rng, sheet, 0.865, 0.24, 0.075, 1)
    return sheet


def wood_grain(rng: np.random.Generator, shape: Shape) -> Array:
    """Grain of a plank: growth rings that run along it and bend round a few slow swellings, plus short pores."""
    _, y = coordinates(shape)
    bend = 0.05 * smooth_noise(rng, shape, (shape[0] / 3, shape[0] / 1.5))
    rings = np.sin(2 * np.pi * 34 * (y + bend) + 1.2 * smooth_noise(rng, shape, (14, 300)))
    pores = smooth_noise(rng, shape, (2, 70))
    return 0.5 * rings + 0.5 * pores


def draw(rng: np.random.Generator) -> Array:
    """Print the colour blocks and then, not quite in register, the key block."""
    shape = canvas_shape(10, 7)
    sheet = compose(rng, shape)
    colour = np.asarray(sheet.colour) / 255.0
    key = np.asarray(sheet.key) / 255.0
    _, y = coordinates(shape)
    wiped = smoothstep(0.66, 1.05, y)[..., None]
    colour = mix(colour, colour * np.array([0.55, 0.68, 0.85]), 0.4 * wiped)
    # Baren and grain show where much pigment lies; bare paper takes neither.
    load = np.clip(np.abs(colour - PAPER).max(axis=-1) * 1.4, 0, 1)
    speckle = smoothstep(1.1, 2.2, fractal_noise(rng, shape, 3, 2))
    density = 1 - load * (0.13 + 0.11 * wood_grain(rng, shape) + 0.05 * smooth_noise(rng, shape, 60) + 0.16 * speckle)
    printed = mix(PAPER, colour, np.clip(density, 0, 1)[..., None])
    ink = np.roll(key, (1, -2), (0, 1)) * (0.93 - 0.25 * speckle)
    return mix(printed, INK, ink[..., None]) * paper(rng, shape)[..., None]
