"""Style distance against seconds as HTML: lines in the page's own colours, letters of one size at any width."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from stylecore.compare import Record
from stylecore.report.charts import COLORS

SUBDIVISIONS = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,))  # of a decade, the finest first
STEPS = (0.1, 0.2, 0.5, 1)  # of a power of ten, within a decade
MIN_TICKS, MAX_TICKS = 3, 6


def curves_html(records: Sequence[Record]) -> str:
    """A line a variant on logarithmic axes, and a legend in the order of the ends. Styled by viewer.css."""
    drawn = [record for record in records if record.curve]
    if not drawn:
        return ""
    points = [point for record in drawn for point in record.curve]
    across, up = (_Scale([point[side] for point in points]) for side in (0, 1))
    grid = "".join(f"<line x1='0' x2='100' y1='{100 - y:.2f}' y2='{100 - y:.2f}'/>" for y, _ in up.ticks)
    labels = "".join(f"<span class='y' style='top: {100 - y:.2f}%'>{word}</span>" for y, word in up.ticks)
    labels += "".join(f"<span class='x' style='left: {x:.2f}%'>{word}</span>" for x, word in across.ticks)
    labels += "<span class='title y'>style distance</span><span class='title x'>seconds</span>"
    lines = []
    for record in drawn:
        path = " L ".join(f"{across.place(x):.2f},{100 - up.place(y):.2f}" for x, y in record.curve)
        lines.append(f"<path {_stroke(records, record)} d='M {path}'/>")
    rows = [
        f"<li><svg viewBox='0 0 26 10'><path {_stroke(records, record)} d='M 1,5 L 25,5'/></svg>"
        f"{record.style_distance:.2f} {html.escape(record.name)}</li>"
        for record in sorted(drawn, key=lambda record: record.style_distance)
    ]
    drawing = f"<svg viewBox='0 0 100 100' preserveAspectRatio='none' aria-hidden='true'>{grid}{''.join(lines)}</svg>"
    return f"<div class='curves-plot'><div class='plot'>{drawing}{labels}</div><ol>{''.join(rows)}</ol></div>"


def _stroke(records: Sequence[Record], record: Record) -> str:
    """Its colour; dashed in the second turn of them."""
    turn, color = divmod(records.index(record), len(COLORS))
    return f"style='--line: {COLORS[color]}'" + " stroke-dasharray='6 4'" * bool(turn)


class _Scale:
    """Values on a logarithmic axis of 100 units."""

    def __init__(self, values: Sequence[float]) -> None:
        logs = [math.log10(value) for value in values if value > 0] or [0.0]
        self.low, self.high = min(logs), max(logs)
        if self.high - self.low < 0.1:  # of one point
            self.low, self.high = self.low - 0.1, self.high + 0.1

    def place(self, value: float) -> float:
        """0 to 100."""
        log = math.log10(value) if value > 0 else self.low
        return 100 * (log - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and plain numbers, a handful."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        several = ([factor * 10.0**decade for decade in decades for factor in factors] for factors in SUBDIVISIONS)
        found = self._first_that_fits(several)
        if len(found) < MIN_TICKS:
            first, last = 10**self.low, 10**self.high
            unit = 10.0 ** math.floor(math.log10(last - first))
            found = self._first_that_fits(_multiples(factor * unit, first, last) for factor in STEPS)
        return [(self.place(number), f"{number:g}") for number in found]

    def _first_that_fits(self, candidates: Iterable[Sequence[float]]) -> list[float]:
        """Those within the axis, of the first candidates that are not too many."""
        found: list[float] = []
        for numbers in candidates:
            found = [number for number in numbers if self.low <= math.log10(number) <= self.high]
            if len(found) <= MAX_TICKS:
                break
        return found


def _multiples(step: float, first: float, last: float) -> list[float]:
    return [step * number for number in range(math.ceil(first / step), math.floor(last / step) + 1)]
