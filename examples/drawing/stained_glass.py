"""Leaded window: a sunrise over hills and a stream, with irises in front, framed by a border of small panes.

The design is a map that gives every pixel the number of its pane. Lead runs wherever that number changes.
"""

import numpy as np

from drawing.canvas import (
    Array,
    Point,
    Shape,
    blur,
    canvas_shape,
    coordinates,
    fractal_noise,
    mix,
    palette,
    relief,
    smooth_noise,
    smoothstep,
)

SUN = (0.42, 0.33)
LEAD_WIDTH = 0.0043  # half of it, in units

GLASS = {
    "disc": palette("fff3b0"),
    "sun": palette("ffe88a ffd24a"),
    "ray": palette("ffb62e f5832a e8552f ffcf5a"),
    "sky": palette("2f7fd0 1f55b5 4fa9dc 6a4fb8 8fd0e6 27409a"),
    "far": palette("6a3f9c 8a4fae 4a3a96 a85fa8"),
    "hill": palette("1f8a5a 4fae4a 12694f 9cc23a 2f9c7c"),
    "stream": palette("2fb0c8 1f7fc0 6fd6d6 1a5aa6 b0ecdc"),
    "ground": palette("0f6a3a 2f8f2f 145a4a 6aa82f"),
    "petal": palette("7a2fb0 a04fd0 5a2a9c c07fe0"),
    "fall": palette("c01f5a e0457f 9a1a5f f07f9c"),
    "heart": palette("ffd83a ffb01f"),
    "leaf": palette("1f9a3a 6ac03a 0f7a4a"),
    "frame": palette("b8182f d83a2a 8f1030"),
    "jewel": palette("f5b020 1f6fc0 12906a"),
}


class Design:
    """The panes laid out so far; later shapes lie over earlier ones."""

    def __init__(self, rng: np.random.Generator, shape: Shape) -> None:
        """Start with nothing laid out."""
        self.rng, self.shape = rng, shape
        # Panes are cut by hand, so no line is quite straight.
        self.x, self.y = (axis + 0.0022 * smooth_noise(rng, shape, 70) for axis in coordinates(shape))
        self.panes = np.zeros(shape, int)
        self.colours: list[Array] = []  # of the panes, by number
        self.paint = np.ones(shape)  # the light let through by vitreous paint, which is fired on before leading

    def cut(self, mask: Array, piece: Array, glass: str) -> None:
        """Fill `mask` with panes of one kind of glass, one for every value of the integer field `piece` there."""
        _, number = np.unique(piece[mask], return_inverse=True)
        self.panes[mask] = number.ravel() + len(self.colours)
        self.paint[mask] = 1
        shades = GLASS[glass]
        order = np.arange(number.max(initial=-1) + 1) + self.rng.integers(len(shades))
        chosen = shades[order % len(shades)] + self.rng.normal(0, 0.035, (len(order), 3))
        self.colours += list(np.clip(chosen, 0, 1))


def uneven(rng: np.random.Generator, low: float, high: float, count: int) -> Array:
    """`count` cuts between two ends, about but not exactly evenly spaced, as cut by hand."""
    step = (high - low) / count
    return low + step * (np.arange(count) + rng.uniform(0.25, 0.75, count))


def lay_sky(design: Design) -> None:
    """Rays from the sun, crossed by rings that do not line up from ray to ray; every other ray is warm."""
    x, y = design.x - SUN[0], design.y - SUN[1]
    distance = np.hypot(x, y)
    turn = (np.arctan2(y, x) + 0.35 * distance) / (2 * np.pi) % 1
    ray = np.floor(turn * 30).astype(int)
    stagger = np.array([0.0, 0.045, -0.02, 0.065, 0.02])[ray % 5]
    ring = np.searchsorted([0.22, 0.33, 0.45, 0.60], distance - stagger)
    warm = (ray % 2 == 0) & (distance < 0.36 + stagger)
    everywhere = np.ones(design.shape, bool)
    design.cut(everywhere, ray * 10 + ring, "sky")
    design.cut(warm, ray * 10 + ring, "ray")
    design.cut(distance < 0.145, np.floor(turn * 16 + 0.5).astype(int) % 16, "ray")
    design.cut(distance < 0.100, np.floor(turn * 8).astype(int), "sun")
    design.cut(distance < 0.052, np.zeros(design.shape, int), "disc")


def lay_band(design: Design, crest: Array, rows: float, columns: int, glass: str) -> None:
    """Everything below `crest`, cut into rows that follow it and columns that lean."""
    depth = design.y - crest
    row = np.floor(depth / rows).astype(int)
    lean = design.x + 0.25 * depth + 0.05 * np.sin(40 * depth) + (row % 2) * 0.5 / columns
    column = np.searchsorted(uneven(design.rng, -0.3, 1.3, round(columns * 1.6)), lean)
    design.cut(depth > 0, row * 100 + column, glass)


def lay_land(design: Design) -> None:
    """Violet mountains, green hills, the stream that winds through them, and the near bank."""
    x, y = design.x, design.y
    peaks = 0.50 + 0.05 * np.abs(((x * 3.1 + 0.35) % 1) - 0.5) * 2 + 0.03 * np.sin(9 * x)
    lay_band(design, peaks, 0.085, 5, "far")
    lay_band(design, 0.595 + 0.035 * np.sin(6 * x + 0.5), 0.085, 6, "hill")
    below = np.clip(y - 0.605, 0, 1)
    middle = 0.40 + 0.13 * np.sin(13 * np.sqrt(below + 0.02)) * (0.25 + below)
    half_width = 0.03 + 0.5 * below
    across = (x - middle) / half_width
    row = np.floor(below**0.7 * 15 + 0.35 * np.cos(3 * across)).astype(int)
    column = np.floor(across + 0.5 * (row % 2)).astype(int)
    design.cut((np.abs(across) < 1) & (y > 0.605), row * 100 + column, "stream")
    lay_band(design, 0.90 + 0.05 * np.cos(7 * x), 0.06, 7, "ground")


def lay_petal(design: Design, at: Point, size: Point, angle: float, glass: str) -> None:
    """One pointed petal or leaf from `at` towards `angle`, its veins painted on the glass."""
    dx, dy = design.x - at[0], design.y - at[1]
    along = (dx * np.cos(angle) + dy * np.sin(angle)) / size[0]
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / size[1]
    inside = np.clip(along, 0, 1)
    bend = 0.25 * np.sin(np.pi * inside)
    outline = np.sin(np.pi * inside**0.8) ** 0.75
    mask = (along > 0) & (along < 1) & (np.abs(across - bend) < outline)
    design.cut(mask, np.zeros(design.shape, int), glass)
    vein = np.abs(np.sin(2.6 * np.pi * (across - bend) / np.maximum(outline, 0.05)))
    strength = 0.6 * smoothstep(1.0, 0.2, along) * smoothstep(0.0, 0.1, outline)
    design.paint[mask] = (1 - strength * smoothstep(0.34, 0.05, vein))[mask]


def lay_iris(design: Design, at: Point, size: float) -> None:
    """An iris on its stem: two blades, three falls hanging, three standards rising, and a golden heart."""
    x, y = design.x - at[0], design.y - at[1]
    stem = (np.abs(x - 0.02 * np.sin(6 * y)) < 0.011) & (y > 0)
    design.cut(stem, np.floor(y / 0.13).astype(int), "leaf")
    for turn, length in ((-0.30, 0.34), (0.33, 0.27)):
        lay_petal(design, (at[0], 1.02), (length, 0.030), -np.pi / 2 + turn, "leaf")
    for angle in (0.62, np.pi - 0.62, np.pi / 2):
        lay_petal(design, at, (size, 0.36 * size), angle, "fall")
    for angle in (-0.75, -np.pi + 0.75, -np.pi / 2):
        lay_petal(design, at, (size, 0.38 * size), angle, "petal")
    design.cut(np.hypot(x, y) < 0.2 * size, (y > 0).astype(int), "heart")


def lay_border(design: Design) -> None:
    """Oblong panes around the window in one glass, every third one a jewel of another."""
    x, y = coordinates(design.shape)  # a frame is straight
    width, thickness = x.max(), 0.042
    to_side = np.minimum(x, width - x)
    to_end = np.minimum(y, 1 - y)
    upright = to_side < to_end
    along = np.where(upright, y, x) / np.where(upright, 1.0, width)
    number = np.floor(along * np.where(upright, 18, 13)).astype(int)
    side = 2 * upright + np.where(upright, x > width / 2, y > 0.5)
    border = np.minimum(to_side, to_end) < thickness
    design.cut(border, side * 100 + number, "frame")
    design.cut(border & (number % 3 == 1), side * 100 + number, "jewel")


def distance_to_edges(panes: Array, reach: int) -> Array:
    """Distance in pixels to the nearest change of pane, by jump flooding; beyond `reach` only roughly right."""
    edge = np.zeros(panes.shape, bool)
    edge[:, 1:] |= panes[:, 1:] != panes[:, :-1]
    edge[1:] |= panes[1:] != panes[:-1]
    y, x = np.mgrid[: panes.shape[0], : panes.shape[1]].astype(np.float32)
    far = np.float32(1e4)
    seed_y, seed_x = np.where(edge, y, -far), np.where(edge, x, -far)
    best = np.hypot(seed_y - y, seed_x - x)
    jump = reach
    while jump:
        for shift in ((0, jump), (0, -jump), (jump, 0), (-jump, 0)):
            near_y, near_x = np.roll(seed_y, shift, (0, 1)), np.roll(seed_x, shift, (0, 1))
            distance = np.hypot(near_y - y, near_x - x)
            closer = distance < best
            seed_y, seed_x = np.where(closer, near_y, seed_y), np.where(closer, near_x, seed_x)
            best = np.where(closer, distance, best)
        jump //= 2
    return best


def mirrored(index: Array, size: int) -> Array:
    """Indices folded back and forth into 0..size - 1, so that a texture continues past its edge without a seam."""
    return size - 1 - np.abs(index.astype(int) % (2 * size - 2) - (size - 1))


def streaks(rng: np.random.Generator, panes: Array, count: int) -> Array:
    """Colour pulled through molten glass in long strands; each pane was cut from its sheet at its own angle."""
    sheet = fractal_noise(rng, panes.shape, (16, 210), 3)
    angle = rng.uniform(0, np.pi, count)[panes]
    y, x = np.mgrid[: panes.shape[0], : panes.shape[1]]
    fold = 22 * smooth_noise(rng, panes.shape, 130)
    row = y * np.cos(angle) - x * np.sin(angle) + fold
    column = x * np.cos(angle) + y * np.sin(angle)
    return sheet[mirrored(row, panes.shape[0]), mirrored(column, panes.shape[1])]


def glaze(rng: np.random.Generator, design: Design, from_edge: Array) -> Array:
    """Hand-made glass: streaks in another direction in every pane, ripples, seeds, and grime along the lead."""
    shape = design.shape
    base = np.array(design.colours)[design.panes]
    streak = streaks(rng, design.panes, len(design.colours))
    ripple, glint = relief(fractal_noise(rng, shape, 26, 3), depth=1.3, gloss=0.10)
    seeds = smoothstep(2.2, 2.6, smooth_noise(rng, shape, 7))
    pale, deep = mix(base, np.ones(3), 0.42), base**2.2 * 0.85
    glass = mix(base, np.where((streak > 0)[..., None], pale, deep), np.clip(np.abs(streak) * 0.62, 0, 1)[..., None])
    glass = glass * (ripple * design.paint * mix(0.5, 1.0, smoothstep(0, 24, from_edge)))[..., None]
    return glass + (glint * 0.6 + 0.14 * seeds)[..., None]


def lead(rng: np.random.Generator, shape: Shape, from_edge: Array, half_width: float) -> tuple[Array, Array]:
    """The cames: their colour, and how far they cover each pixel."""
    wander = half_width * (1 + 0.10 * smooth_noise(rng, shape, 30))
    round_profile = np.sqrt(np.clip(1 - (from_edge / wander) ** 2, 0, 1))
    shade, glint = relief(round_profile * half_width + 0.4 * smooth_noise(rng, shape, 6), depth=0.8, gloss=0.35)
    metal = palette("2a2a30")[0] * shade[..., None] + glint[..., None] * np.array([0.8, 0.85, 1.0])
    return metal, smoothstep(1.08, 0.92, from_edge / wander)


def draw(rng: np.random.Generator) -> Array:
    """Lay out the panes, glaze them, lead them, and let the sun shine through."""
    shape = canvas_shape(3, 4)
    x, y = coordinates(shape)
    design = Design(rng, shape)
    lay_sky(design)
    lay_land(design)
    for at, size in (((0.165, 0.715), 0.135), ((0.585, 0.675), 0.145), ((0.375, 0.83), 0.12)):
        lay_iris(design, at, size)
    lay_border(design)
    from_edge = distance_to_edges(design.panes, reach=32)
    glass = glaze(rng, design, from_edge)
    from_sun = np.hypot(x - SUN[0], y - SUN[1])
    backlight = 0.98 + 0.36 * np.exp(-((from_sun / 0.38) ** 2)) + 0.07 * smooth_noise(rng, shape, 300)
    metal, cover = lead(rng, shape, from_edge, LEAD_WIDTH * shape[0])
    window = mix(glass * backlight[..., None], metal, cover[..., None])
    # Bright glass dazzles: its light spills over the lead beside it.
    spill = blur(np.clip(window - 0.45, 0, None), 14)
    return 1 - (1 - np.clip(window, 0, 1)) * (1 - np.clip(0.75 * spill, 0, 1))
