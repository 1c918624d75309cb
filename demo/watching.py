"""What a frame says besides its image: the status line and the loss curve, as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence

from demo.jobs import Frame, LossPoint

TERMS = ("style", "content")
MAX_DECADES = 6  # of the loss axis: the content term starts from nothing, and its first steps would flatten the rest


def status(frame: Frame | None = None, ending: str = "") -> str:
    """A progress bar, and in words: steps, seconds and time left, or how the job ended; None: no job yet."""
    if frame is None:
        return _status(0.0, "Ready. Press Stylize, and change anything later.")
    total = frame.config.num_steps
    if ending:
        words = f"{ending} after {frame.step} of {total} steps, {duration(frame.seconds)}."
    elif frame.seconds_left is None:
        words = f"Step 0 of {total} · getting ready"
    else:
        words = f"Step {frame.step} of {total} · {duration(frame.seconds)} · about {duration(frame.seconds_left)} left"
    return _status(frame.step / total, words)


def _status(share: float, words: str) -> str:
    bar = f"<div class='progress'><div style='width: {share:.1%}'></div></div>"
    return f"<div class='status'>{bar}<p>{words}</p></div>"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def loss_curve(curve: Sequence[LossPoint] = (), num_steps: int = 1) -> str:
    """The weighted terms on a logarithmic axis, against all steps planned: the curve grows to the right as the job does.

    Drawn here and not by a plotting library, which would draw anew (and flicker) with every frame.
    """
    logs = {term: _logarithms(curve, term) for term in TERMS}
    values = [value for points in logs.values() for _, value in points]
    if not values:
        return "<div class='curve'></div>"
    top = math.ceil(max(values))
    bottom = max(math.floor(min(values)), top - MAX_DECADES)
    height = max(1, top - bottom)
    lines, labels = [], []
    for decade in range(bottom, top + 1):
        y = 100 * (top - decade) / height
        lines.append(f"<line x1='0' x2='100' y1='{y:.2f}' y2='{y:.2f}'/>")
        labels.append(f"<span class='y' style='top: {y:.2f}%'>10<sup>{decade}</sup></span>")
    for row, term in enumerate(TERMS):
        points = [(100 * step / num_steps, 100 * (top - value) / height) for step, value in logs[term] if value >= bottom]
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        lines.append(f"<path class='{term}' d='M {path}'/>" if path else "")
        labels.append(f"<span class='key {term}' style='top: {6 + 16 * row}px'>{term} loss</span>")
    labels.append(f"<span class='x' style='left: 0'>step 0</span><span class='x' style='right: 0'>{num_steps}</span>")
    drawing = f"<svg viewBox='0 0 100 100' preserveAspectRatio='none'>{''.join(lines)}</svg>"
    return f"<div class='curve'>{drawing}{''.join(labels)}</div>"


def _logarithms(curve: Sequence[LossPoint], term: str) -> list[tuple[int, float]]:
    return [(point.step, math.log10(value)) for point in curve if (value := getattr(point, term)) > 0]
