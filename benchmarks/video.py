"""How much a painted video flickers, on a drawn clip whose motion is known.

python -m benchmarks.video      # two minutes on a quiet machine, with the extra `video`

The clip: a window that moves over `rocket` by (2, 1) px a frame, and before it a disc cut out of `astronaut`, which
moves by (-3, 1). The warping error compares each result with the one before it, carried along by that motion, where
the motion hides and uncovers nothing. Writes video.json, the record, video.md, its view, and video.jpg.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import stylecore
from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.flow import Certainty, Flow, warping_error
from stylecore.images import ImageTensor, image_size
from stylecore.metrics import Yardstick
from stylecore.report import Table, contact_sheet, document, picture_of
from stylecore.report.sheets import jpeg
from stylecore.sample_images import load_photo, load_style
from stylecore.video import stylize_frames

FOLDER = Path("docs/benchmarks")
STYLE, PRESET = "woodblock_waves", "draft"
NUM_FRAMES, HEIGHT, WIDTH = 40, 192, 256
PAN, DRIFT = (2, 1), (-3, 1)  # px a frame, to the right and down: of the window, and of the disc
RADIUS, BEGINS = 32, (200, 60)  # of the disc in px, and where it begins
SHOWN = (0, 1, 2, 13, 26, 39)


def main() -> None:
    frames = [frame(number) for number in range(NUM_FRAMES)]
    style, config = load_style(STYLE), stylecore.make_config(PRESET, size=WIDTH)
    stylecore.stylize(frames[0], style, config)  # the first run of a process is slower
    rows, results = [], {}
    for name in ("each by itself", "stylecore video"):
        started = time.perf_counter()
        if name == "stylecore video":
            results[name] = [*stylize_frames(frames, [style], config)]
        else:
            results[name] = [stylecore.stylize(each, style, config).image for each in frames]
        seconds = (time.perf_counter() - started) / len(frames)
        rows.append([name, flicker(results[name]), style_distance(frames, results[name], style), seconds])
    record = {"environment": environment(torch.device("cpu")), "num_frames": len(frames), "rows": rows}
    write_json(FOLDER / "video.json", record)
    write_file(FOLDER / "video.md", view(record).encode())
    shown = [number for number in SHOWN if number < len(frames)]
    sheet = [[picture_of(made[number], f"{name}, {number}") for number in shown] for name, made in
             {"clip": frames, **results}.items()]  # fmt: skip
    write_file(FOLDER / "video.jpg", jpeg(contact_sheet(sheet, WIDTH)))


def frame(number: int) -> ImageTensor:
    """Of the clip."""
    top, left = PAN[1] * number, PAN[0] * number
    window = load_photo("rocket")[:, :, top : top + HEIGHT, 160 + left : 160 + left + WIDTH]
    across, down = place(number)
    face = load_photo("astronaut")[:, :, 100 : 100 + HEIGHT, 100 : 100 + WIDTH]
    moved = torch.roll(face, (down - HEIGHT // 2, across - WIDTH // 2), (2, 3))
    return torch.where(disc(number), moved, window).contiguous()


def place(number: int) -> tuple[int, int]:
    """The disc's centre in px, to the right and down."""
    return BEGINS[0] + DRIFT[0] * number, BEGINS[1] + DRIFT[1] * number


def disc(number: int) -> torch.Tensor:
    """Where it is, (H, W)."""
    across, down = place(number)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return (x - across) ** 2 + (y - down) ** 2 <= RADIUS**2


def motion(number: int) -> tuple[Flow, Certainty]:
    """Where each place of a frame lies in the one before, and where that is to be seen there."""
    is_disc = disc(number)
    flow = torch.stack([torch.where(is_disc, -DRIFT[axis], PAN[axis]) for axis in (0, 1)])[None].float()
    was_disc = torch.roll(disc(number - 1), (-PAN[1], -PAN[0]), (0, 1))
    is_seen = is_disc | ~was_disc
    is_seen[-PAN[1] :], is_seen[:, -PAN[0] :] = False, False
    return flow, is_seen[None, None].float()


def flicker(results: Sequence[ImageTensor]) -> float:
    """The mean warping error."""
    errors = [warping_error(results[n], results[n - 1], *motion(n)) for n in range(1, len(results))]
    return round(sum(errors) / len(errors), 4)


def style_distance(frames: Sequence[ImageTensor], results: Sequence[ImageTensor], style: ImageTensor) -> float:
    """The mean of the frames that are shown."""
    numbers = [number for number in SHOWN if number < len(results)]
    measured = [
        Yardstick(frames[number], [style], image_size(results[number])).measure(results[number]).style
        for number in numbers
    ]
    return round(sum(measured) / len(measured), 4)


def view(record: dict[str, Any]) -> str:
    """The record as a page."""
    columns = {"": "{}", "warping error": "{:.3f}", "style distance": "{:.3f}", "seconds a frame": "{:.2f}"}
    return document(
        "# A video's flicker",
        f"{record['num_frames']} frames of {WIDTH} px in `{PRESET}`, drawn with known motion; the warping error is the "
        "root of the mean square of what differs from the frame before, in [0, 1]; that of the clip itself is 0. Made "
        "by `python -m benchmarks.video`.",
        Table.of(columns, record["rows"]),
        "![Frames of the clip, of results by themselves and of the video](video.jpg)",
    )


if __name__ == "__main__":
    main()
