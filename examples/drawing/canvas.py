"""What every picture needs whatever its technique: coordinates, noise, colour ramps, relief light and paper.

Pictures are float arrays of sRGB in 0..1, drawn `SUPERSAMPLE` times too large. A composition is measured in units of
the picture's height, a material (the cell of a noise, a thread, a hair) in drawn pixels.
"""

import numpy as np
from PIL import Image

Array = np.ndarray
Shape = tuple[int, int]
Point = tuple[float, float]  # x, y

LONG_SIDE = 768
SUPERSAMPLE = 2


def canvas_shape(width: int, height: int) -> Shape:
    """Rows and columns to draw for a picture of this aspect ratio."""
    scale = LONG_SIDE * SUPERSAMPLE / max(width, height)
    return round(height * scale), round(width * scale)


def finish(picture: Array) -> Image.Image:
    """Bring a drawn picture down to its final size."""
    full = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return full.resize((full.width // SUPERSAMPLE, full.height // SUPERSAMPLE), Image.Resampling.LANCZOS)


def coordinates(shape: Shape) -> tuple[Array, Array]:
    """x and y of every pixel in units, y pointing down."""
    y, x = np.mgrid[: shape[0], : shape[1]] / float(shape[0])
    return x, y


def rotated(points: Array, angle: Array | float) -> Array:
    """Rows of x, y turned about the origin, by one angle or by one each."""
    x, y = points.T
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, and a smooth ramp between; `low` may be the greater, for a falling ramp."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, weight: Array | float) -> Array:
    """Linear interpolation from `a` (weight 0) to `b` (weight 1)."""
    return a + (b - a) * weight


def rgb(code: str) -> Array:
    """A colour from its six hexadecimal digits."""
    return np.frombuffer(bytes.fromhex(code), np.uint8) / 255.0


def palette(codes: str) -> Array:
    """Colours from hexadecimal codes separated by spaces, one a row."""
    return np.stack([rgb(code) for code in codes.split()])


def ramp(colours: Array, t: Array) -> Array:
    """The colour at `t` along evenly spaced `colours`, for `t` in 0..1."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(t, stops, channel) for channel in colours.T], axis=-1)


def smooth_noise(rng: np.random.Generator, shape: Shape, cell: float | tuple[float, float]) -> Array:
    """Noise of about unit variance that varies over `cell` pixels, or over (rows, columns) for a directed grain."""
    rows, columns = np.broadcast_to(cell, 2)
    # A margin of two knots on every side keeps the bicubic filter's clamped border out of the picture.
    knots = rng.normal(size=(int(shape[0] / rows) + 5, int(shape[1] / columns) + 5)).astype(np.float32)
    box = (2, 2, 2 + shape[1] / columns, 2 + shape[0] / rows)
    image = Image.fromarray(knots).resize(shape[::-1], Image.Resampling.BICUBIC, box=box)
    return np.asarray(image, dtype=np.float64) * 1.4  # interpolation shrinks the variance of the knots


def fractal_noise(rng: np.random.Generator, shape: Shape, cell: float | tuple[float, float], octaves: int = 4) -> Array:
    """Noise with detail at every scale from `cell` down, each octave half as large and half as strong."""
    cells = np.asarray(cell, dtype=float)
    layers = [smooth_noise(rng, shape, np.maximum(cells / 2**k, 1.0)) * 0.5**k for k in range(octaves)]
    return sum(layers) / np.sqrt(sum(0.25**k for k in range(octaves)))


def box_blur(field: Array, radius: int, axis: int) -> Array:
    """Running mean over 2 * radius + 1 pixels, with the border repeated."""
    width = 2 * radius + 1
    padding = [(radius + 1, radius) if k == axis else (0, 0) for k in range(field.ndim)]
    total = np.cumsum(np.pad(field, padding, mode="edge"), axis=axis)
    ahead = np.take(total, range(width, total.shape[axis]), axis=axis)
    behind = np.take(total, range(total.shape[axis] - width), axis=axis)
    return (ahead - behind) / width


def blur(field: Array, sigma: float) -> Array:
    """Nearly Gaussian blur of the first two axes: three box blurs, by the central limit theorem."""
    radius = max(1, round((np.sqrt(4 * sigma * sigma + 1) - 1) / 2))
    for axis in (0, 1):
        for _ in range(3):
            field = box_blur(field, radius, axis)
    return field


def relief(height: Array, depth: float, gloss: float = 0.0) -> tuple[Array, Array]:
    """Light a height field from the upper left.

    Returns a factor for the colours, 1 where the surface is flat, and a highlight to add to them.
    """
    slope_y, slope_x = np.gradient(height * depth)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    light, viewer = np.array([-0.48, -0.58, 0.66]), np.array([0, 0, 1])
    facing = (-slope_x * light[0] - slope_y * light[1] + light[2]) / length
    halfway = (light + viewer) / np.linalg.norm(light + viewer)
    mirror = np.clip((-slope_x * halfway[0] - slope_y * halfway[1] + halfway[2]) / length, 0, 1)
    return mix(0.45, 1.0, facing / light[2]), gloss * mirror**24


def paper(rng: np.random.Generator, shape: Shape) -> Array:
    """Handmade paper as a factor for the colours: cloudy pulp, fine tooth and a scatter of long fibres."""
    cloud = fractal_noise(rng, shape, 90, octaves=3)
    tooth = fractal_noise(rng, shape, 5, octaves=2)
    fibres = np.maximum(smooth_noise(rng, shape, (3, 40)), smooth_noise(rng, shape, (40, 3)))
    return 1 + 0.015 * cloud + 0.025 * tooth - 0.05 * smoothstep(1.6, 2.6, fibres)
