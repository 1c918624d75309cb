"""What a frame says besides its image: the status line and the loss curve, as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence

from demo.jobs import Frame, LossPoint

TERMS = ("style", "content")
MAX_DECADES = 6  # of the loss axis: the content term starts from nothing, and its first steps would flatten the rest


READY = "Ready. Press Stylize, and change anything later."
FAILED = "No picture this time. Mend what the message says, and press Stylize again."


def status(frame: Frame, ending: str = "") -> str:
    """A progress bar, and in words: steps, seconds and time left, or how the job ended."""
    total = frame.config.num_steps
    if ending:
        words = f"{ending} after {frame.step} of {total} steps, {duration(frame.seconds)}."
    elif frame.seconds_left is None:
        words = f"Step 0 of {total} · getting ready"
    else:
        words = f"Step {frame.step} of {total} · {duration(frame.seconds)} · about {duration(frame.seconds_left)} left"
    return message(words, frame.step / total)


def message(words: str, share: float = 0.0) -> str:
    """`words` under a progress bar that is filled to `share`."""
    bar = f"<div class='progress'><div style='width: {share:.1%}'></div></div>"
    return f"<div class='status'>{bar}<p>{words}</p></div>"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def loss_curve(curve: Sequence[LossPoint] = (), num_steps: int = 1) -> str:
    """The weighted terms on a logarithmic axis, against all steps planned: it grows to the right as the job does.

    Drawn here and not by a plotting library, which would draw anew (and flicker) with every frame.
    """
    logs = {term: _logarithms(curve, term) for term in TERMS}
    values = [value for points in logs.values() for _, value in points]
    if not values:
        return "<div class='curve'></div>"
    top = math.ceil(max(values))
    bottom = max(math.floor(min(values)), top - MAX_DECADES)

    def height(logarithm: float) -> str:  # of the drawing, from above, in percent
        return f"{100 * (top - logarithm) / max(1, top - bottom):.2f}"

    lines, labels = [], [f"<span class='x'>step 0</span><span class='x end'>{num_steps}</span>"]
    for decade in range(bottom, top + 1):
        y = height(decade)
        lines.append(f"<line x1='0' x2='100' y1='{y}' y2='{y}'/>")
        labels.append(f"<span class='y' style='top: {y}%'>10<sup>{decade}</sup></span>")
    for term, points in logs.items():
        path = " ".join(f"{100 * step / num_steps:.2f},{height(value)}" for step, value in points if value >= bottom)
        lines.append(f"<path class='{term}' d='M {path}'/>" if path else "")
        labels.append(f"<span class='key {term}'>{term} loss</span>")
    drawing = f"<svg viewBox='0 0 100 100' preserveAspectRatio='none'>{''.join(lines)}</svg>"
    return f"<div class='curve'>{drawing}{''.join(labels)}</div>"


def _logarithms(curve: Sequence[LossPoint], term: str) -> list[tuple[int, float]]:
    return [(point.step, math.log10(value)) for point in curve if (value := getattr(point, term)) > 0]
