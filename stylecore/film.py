"""A film of a painting as it comes about: WebP and GIF by Pillow, WebM and MP4 by the extra `video`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from stylecore.clips import ENCODERS, encoder_of, write_clip
from stylecore.errors import OutputError
from stylecore.files import check_writable, reason, replacing
from stylecore.images import ImageTensor, fit_size, resize_image, to_uint8

BY_PILLOW = {".webp": "WEBP", ".gif": "GIF"}
SUFFIXES = (*BY_PILLOW, *ENCODERS)
MAX_SIDE_PX = 512
MAX_FRAMES = 60
PAINTING_S, FRAME_S, LAST_S = 2.0, (0.1, 0.4), 2.0  # few frames are slow enough to be seen; the finished one stays
EFFORT = 2  # of WebP, of 6: more takes twice the time for 2 % of the bytes


def check_film(path: str | os.PathLike[str]) -> Path:
    """Raise an OutputError now if a film could not be written to `path` later; nothing is created."""
    target = check_writable(path, *SUFFIXES)
    if target.suffix.lower() in ENCODERS:
        encoder_of(target)
    return target


class Film:
    """Sees a run's steps, and is written when it ends, however it does.

    Args:
        path: its suffix says the format.
        size: (height, width) in px of the result.

    Raises:
        OutputError: it could not be written, or the format takes an extra that is not here.
    """

    def __init__(self, path: str | os.PathLike[str], size: tuple[int, int]) -> None:
        self.path = check_film(path)
        self.size = fit_size(size, min(MAX_SIDE_PX, max(size)))
        self.frames: list[Image.Image] = []
        self._num_seen = 0
        self._stride = 1  # of so many images one is kept

    def see(self, image: ImageTensor) -> None:
        """An image on the way. Of more than `MAX_FRAMES` every second one is kept, and so on."""
        if self._num_seen % self._stride == 0:
            if len(self.frames) == MAX_FRAMES:
                del self.frames[1::2]
                self._stride *= 2
            self._add(image)
        self._num_seen += 1

    def _add(self, image: ImageTensor) -> None:
        self.frames.append(Image.fromarray(to_uint8(resize_image(image.detach().cpu(), *self.size))))

    def write(self, result: ImageTensor) -> Path:
        """With the result as its last frame. Raises an OutputError where that is impossible."""
        self._add(result)
        frame_s = min(max(PAINTING_S / len(self.frames), FRAME_S[0]), FRAME_S[1])
        seconds = [frame_s] * (len(self.frames) - 1) + [LAST_S]
        try:
            with replacing(self.path) as file:
                if kind := BY_PILLOW.get(self.path.suffix.lower()):
                    milliseconds = [round(1000 * each) for each in seconds]
                    first, *others = self.frames
                    options = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0}
                    first.save(file, kind, method=EFFORT, **options)
                else:
                    # A video's last frame ends with it: shown once more, it stays.
                    times = [frame_s * number for number in range(len(seconds))] + [sum(seconds)]
                    write_clip(
                        file, self.path, zip(times, map(np.asarray, [*self.frames, self.frames[-1]]), strict=True)
                    )
        except OSError as error:
            raise OutputError(f"The film '{self.path}' could not be written: {reason(error)}.") from error
        return self.path
