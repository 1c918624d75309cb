"""What a frame says besides its image: the status line and the curves, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from stylecore.devices import device_in_words, find_device

from ..live import Frame, Point
from .fields import in_labels

TERMS = ("style", "content")
MAX_DECADES = 6  # of the loss axis: the content term starts from nothing, and its first steps would flatten the rest

READY = "Ready. Press Stylize, and change anything later."
STALE = "This picture was made with other settings. Press Stylize to paint with those you see."
WAITING = "Waiting for its turn…"
NOT_BEGUN = "Stopped before its turn came."
REJOINED = "Here you are again: the job goes on."
GIVEN_UP = "The job that ran here was given up, for its page had been gone for over a minute. Press Stylize again."
NOT_TAKEN = "The server did not take this job, or has lost it: try again in a moment."


def status(frame: Frame, ending: str = "") -> str:
    """A progress bar, and in words: steps, seconds and time left, or how the job ended and how good the result is."""
    total = frame.job.config.num_steps
    if ending:
        where = device_in_words(find_device(frame.job.config.device))
        words = f"{ending} after {frame.step} of {total} steps, {duration(frame.seconds)} on {where}."
        if frame.distances and frame.distances[-1].step == frame.step:
            words += f" Style distance {frame.distances[-1].style:.2f}, content {frame.distances[-1].content:.2f}."
        if frame.trouble:
            words = f"{frame.trouble} {words}"
    elif frame.seconds_left is None:
        words = f"Step 0 of {total} · getting ready"
    else:
        words = f"Step {frame.step} of {total} · {duration(frame.seconds)} · about {duration(frame.seconds_left)} left"
    return message(words, frame.share_done)


def message(words: str, share: float = 0.0, kind: str = "") -> str:
    """`words` under a progress bar that is filled to `share`."""
    bar = f"<div class='progress'><div style='width: {share:.1%}'></div></div>"
    return f"<div class='status {kind}'>{bar}<p role='status'>{html.escape(words)}</p></div>"


def stale(is_stale: bool) -> str:
    """What is said of a picture that is not of the settings beside it."""
    return f"<p role='status'>{STALE if is_stale else ''}</p>"


def waiting(num_before: int, seconds: float | None) -> str:
    """The place in the queue, and how long that has been of late."""
    if not num_before:
        return message("You are next.")
    jobs = "One job is" if num_before == 1 else f"{num_before} jobs are"
    about = "" if seconds is None else f", about {duration(seconds)}"
    return message(f"{jobs} before yours{about}.")


def failure(words: str) -> str:
    """The sentence that says why there is nothing new, so that it is seen."""
    return message(in_labels(words), kind="failed")


def failure_words(words: str) -> str:
    """The same as plain HTML, where nothing has run."""
    return html.escape(in_labels(words))


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def curves(frame: Frame) -> str:
    """The losses, and beside them the distances as far as they were measured."""
    num_steps = frame.job.config.num_steps
    return f"<div class='curves'>{curve(frame.losses, num_steps, 'loss')}{_distances(frame, num_steps)}</div>"


def _distances(frame: Frame, num_steps: int) -> str:
    return curve(frame.distances, num_steps, "distance") if len(frame.distances) > 1 else ""


def curve(points: Sequence[Point], num_steps: int, quantity: str) -> str:
    """Style and content terms on a logarithmic axis, against all steps planned: it grows as the job does.

    Drawn here and not by a plotting library, which would draw anew (and flicker) with every frame.
    """
    logs = {term: _logarithms(points, term) for term in TERMS}
    values = [value for line in logs.values() for _, value in line]
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
    for term, line in logs.items():
        path = " ".join(f"{100 * step / num_steps:.2f},{height(value)}" for step, value in line if value >= bottom)
        lines.append(f"<path class='{term}' d='M {path}'/>" if path else "")
    keys = "".join(f"<span class='{term}'>{term} {quantity}</span>" for term in TERMS)
    drawing = f"<svg viewBox='0 0 100 100' preserveAspectRatio='none'>{''.join(lines)}</svg>"
    return f"<div class='curve'>{drawing}{''.join(labels)}<div class='key'>{keys}</div></div>"


def _logarithms(points: Sequence[Point], term: str) -> list[tuple[int, float]]:
    return [(point.step, math.log10(value)) for point in points if (value := getattr(point, term)) > 0]
