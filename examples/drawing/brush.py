"""Oil paint: bristle brushes that lay down colour and thickness, stroke over stroke, and the light on the result."""

from dataclasses import dataclass

import numpy as np

from drawing.canvas import Array, Shape, mix, relief, smooth_noise, smoothstep

# A stroke is sampled more densely than the pixels it lands on, or it would have holes.
SAMPLES_PER_PIXEL = 1.5


@dataclass(frozen=True)
class Mark:
    """The print of one loaded brush, by (way along the stroke, way across it)."""

    cover: Array  # how far the paint hides what is below, 0..1
    body: Array  # thickness of the paint
    streak: Array  # which of the brush's two colours the bristle carried, 0..1


def bristle_mark(rng: np.random.Generator) -> Mark:
    """A long mark: every bristle draws its own line, and the paint runs out towards the end."""
    shape = (160, 40)
    along = np.linspace(0, 1, shape[0])[:, None]
    across = np.linspace(-1, 1, shape[1])[None, :]
    hairs = smooth_noise(rng, shape, (60, 2.2))
    # Bristles touch down and lift off one by one, so both ends are ragged.
    ragged = 0.03 * smooth_noise(rng, (1, shape[1]), (1, 3))
    touch = smoothstep(0.0, 0.06, along + ragged - 0.04) * smoothstep(1.0, 0.86, along + ragged)
    side = smoothstep(1.0, 0.78, np.abs(across) + 0.05 * smooth_noise(rng, shape, (25, 6)))
    spent = 1.44 * smoothstep(0.45, 1.0, along)
    cover = touch * side * smoothstep(-1.9, -1.2, hairs - spent)
    # Pressure squeezes paint out to both edges and piles it up where the brush stops.
    edge = np.exp(-(((np.abs(across) - 0.8) / 0.14) ** 2))
    pile = np.exp(-(((along - 0.88) / 0.06) ** 2))
    body = cover * (0.62 + 0.18 * hairs + 0.34 * edge + 0.3 * pile)
    streak = np.clip(0.45 + 0.3 * smooth_noise(rng, shape, (90, 3)), 0, 1)
    return Mark(cover, body, streak)


def dab_mark(rng: np.random.Generator) -> Mark:
    """A short touch of a round brush: a blob with a soft dome and a slightly uneven outline."""
    shape = (28, 28)
    along = np.linspace(-1, 1, shape[0])[:, None]
    across = np.linspace(-1, 1, shape[1])[None, :]
    radius = np.hypot(along, across) + 0.07 * smooth_noise(rng, shape, 9)
    cover = smoothstep(0.98, 0.78, radius)
    rim = np.exp(-(((radius - 0.72) / 0.16) ** 2))
    body = cover * (0.5 + 0.35 * rim + 0.1 * smooth_noise(rng, shape, (14, 3)))
    streak = np.clip(0.35 + 0.3 * smooth_noise(rng, shape, (14, 4)), 0, 1)
    return Mark(cover, body, streak)


class Painting:
    """A canvas in progress: the colour and the thickness of the paint at every pixel."""

    def __init__(self, ground: Array, weave: Array) -> None:
        """Start from the colour of the ground and the height of the bare canvas."""
        self.colour = ground.copy()
        self.thickness = weave.copy()

    @property
    def shape(self) -> Shape:
        """Rows and columns of the canvas."""
        return self.thickness.shape

    def stroke(self, path: Array, width: float, colours: Array, mark: Mark) -> None:
        """Drag a brush of `width` pixels loaded with two `colours` along `path`, rows of x, y in pixels."""
        steps = np.diff(path, axis=0)
        travelled = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
        u = np.linspace(0, 1, max(4, int(travelled[-1] * SAMPLES_PER_PIXEL)))
        v = np.linspace(-0.5, 0.5, max(4, int(width * SAMPLES_PER_PIXEL)))
        x, y = (np.interp(u * travelled[-1], travelled, path[:, k]) for k in (0, 1))
        dx, dy = np.gradient(x), np.gradient(y)
        reach = width / np.maximum(np.hypot(dx, dy), 1e-9)
        columns = np.rint(x[:, None] - (dy * reach)[:, None] * v).astype(int)
        rows = np.rint(y[:, None] + (dx * reach)[:, None] * v).astype(int)
        inside = (rows >= 0) & (rows < self.shape[0]) & (columns >= 0) & (columns < self.shape[1])
        print_u = np.rint(u * (mark.cover.shape[0] - 1)).astype(int)
        print_v = np.rint((v + 0.5) * (mark.cover.shape[1] - 1)).astype(int)
        where = np.ix_(print_u, print_v)
        self._lay(
            rows[inside], columns[inside], colours, *(m[where][inside] for m in (mark.cover, mark.body, mark.streak))
        )

    def _lay(self, rows: Array, columns: Array, colours: Array, cover: Array, body: Array, streak: Array) -> None:
        paint = mix(colours[0], colours[1], streak[:, None])
        self.colour[rows, columns] = mix(self.colour[rows, columns], paint, cover[:, None])
        # The brush flattens the wet paint below it but does not scrape it off, so early strokes still show as ridges.
        self.thickness[rows, columns] = self.thickness[rows, columns] * (1 - 0.65 * cover) + body

    def lit(self, depth: float, gloss: float) -> Array:
        """The picture as a raking light shows it."""
        shade, highlight = relief(self.thickness, depth, gloss)
        return self.colour * shade[..., None] + highlight[..., None]


def canvas_weave(shape: Shape, pitch: float = 5.0) -> Array:
    """Height of a plain-woven linen, threads `pitch` pixels apart."""
    y, x = np.mgrid[: shape[0], : shape[1]] * (np.pi / pitch)
    return 0.12 * np.where((np.sin(x) > 0) == (np.sin(y) > 0), np.abs(np.sin(x)), np.abs(np.sin(y)))


def trace(angle: Array, starts: Array, length: Array, steps: int = 14) -> Array:
    """Paths through a field of directions: for every start (x, y), `steps` points that follow it for `length` pixels.

    The start is the middle of its path. Directions have no sign, so each step keeps the sense of the one before.
    """
    halves = []
    for sense in (-1.0, 1.0):
        at = starts.astype(float)
        heading = None
        points = [at]
        for _ in range(steps // 2):
            row = np.clip(at[:, 1].astype(int), 0, angle.shape[0] - 1)
            column = np.clip(at[:, 0].astype(int), 0, angle.shape[1] - 1)
            here = angle[row, column]
            step = np.stack([np.cos(here), np.sin(here)], axis=1)
            step *= sense if heading is None else np.sign((step * heading).sum(1, keepdims=True) + 1e-12)
            heading = step
            at = at + step * (length / steps)[:, None]
            points.append(at)
        halves.append(np.stack(points, axis=1))
    return np.concatenate([halves[0][:, :0:-1], halves[1]], axis=1)
