"""Videos in and out, by the extra `video` (PyAV, which brings FFmpeg). Imported only where a video is asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from stylecore.errors import ImageError, OutputError
from stylecore.files import is_file

# Suffix -> encoders that will do, best first. What a WebM needs is free; encoders of H.264 are under the GPL or the
# system's own, and come with the user's FFmpeg or not at all.
ENCODERS = {
    ".webm": ("libvpx-vp9",),
    ".mp4": ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf"),
}
QUALITY = {"libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4"}, "libx264": {"crf": "18"}}
SOUND = {".webm": ("libopus", 48000), ".mp4": ("aac", 48000)}  # encoder and rate in Hz
TIME_BASE = Fraction(1, 1000)  # s; what WebM has

Frame = UInt8[np.ndarray, "H W 3"]


def is_installed() -> bool:
    """Whether the extra's PyAV is here."""
    return find_spec("av") is not None


def _check_installed(path: str | os.PathLike[str]) -> None:
    if not is_installed():
        raise OutputError(f"'{path}' is a video: pip install 'stylecore[video]'.")


def encoder_of(path: Path) -> str:
    """The encoder that a video of that name takes.

    Raises:
        OutputError: the extra is not installed, or has none for it.
    """
    _check_installed(path)
    import av

    for name in ENCODERS[path.suffix.lower()]:
        if name in av.codecs_available:
            return name
    raise OutputError(f"This FFmpeg has no encoder for '{path}': name the output '{path.with_suffix('.webm')}'.")


@dataclass(frozen=True)
class Clip:
    """A video that has been read from its beginning to its end, so that nothing of it is a surprise later."""

    path: Path
    times: tuple[float, ...]  # s, at which its frames are shown; rates may vary
    has_audio: bool

    @classmethod
    def scan(cls, path: str | os.PathLike[str]) -> Clip:
        """Raises an ImageError for what is no video, has no frames or is damaged; an OutputError without the extra."""
        _check_installed(path)
        if not is_file(Path(path)):
            raise ImageError(f"There is no file '{path}'.")
        times = tuple(second for second, _ in _decoded(Path(path)))
        if not times:
            raise ImageError(f"'{path}' holds no frames: name a video.")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ImageError(f"The frames of '{path}' are in no order of time: convert it to MP4 or WebM first.")
        with _opened(Path(path)) as container:
            return cls(Path(path), times, bool(container.streams.audio))

    def frames(self) -> Iterator[Frame]:
        """Upright, in order."""
        for _, frame in _decoded(self.path):
            yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageError(f"'{path}' has no picture: name a video.")
            yield container
    except av.FFmpegError as error:
        raise ImageError(f"'{path}' is no video that can be read: {error.strerror}.") from error


def _decoded(path: Path) -> Iterator[tuple[float, Any]]:
    """Frames with their seconds. Raises an ImageError where a video is damaged: what follows would be smeared."""
    import av

    second = 0.0
    with _opened(path) as container:
        try:
            for frame in container.decode(video=0):
                if frame.is_corrupt:
                    raise av.InvalidDataError(0, "a frame cannot be decoded")
                second = frame.time if frame.time is not None else second
                yield second, frame
        except av.FFmpegError as error:
            raise ImageError(f"'{path}' is damaged after {second:.1f} s: mend it, or cut it there.") from error


class _Sound:
    """A video's sound, encoded again beside the pictures of another."""

    def __init__(self, container: Any, path: Path, suffix: str) -> None:
        import av

        self.container, self.source = container, av.open(str(path))
        self.stream = container.add_stream(*SOUND[suffix])
        layout = "mono" if self.source.streams.audio[0].channels == 1 else "stereo"
        self.resampler = av.AudioResampler(format=self.stream.format, layout=layout, rate=SOUND[suffix][1])
        self.stream.layout = layout
        self.frames = self.source.decode(audio=0)
        self.waiting: Any = None

    def until(self, second: float) -> None:
        """Encode what is heard before that."""
        while (frame := self.waiting or next(self.frames, None)) is not None:
            if frame.time is not None and frame.time > second:
                self.waiting = frame
                return
            self.waiting = None
            self._encode(frame)

    def finish(self) -> None:
        """Encode the rest."""
        self.until(math.inf)
        self._encode(None)
        self.container.mux(self.stream.encode())
        self.source.close()

    def _encode(self, frame: Any) -> None:
        for resampled in self.resampler.resample(frame):
            self.container.mux(self.stream.encode(resampled))


def write_clip(file: BinaryIO, path: Path, frames: Iterable[tuple[float, Frame]], sound_of: Path | None = None) -> None:
    """Encode frames, each with the second at which it is shown, into an open file of the kind that `path` names, with
    the sound of another video, if one is named."""
    import av

    encoder = encoder_of(path)
    with av.open(file, "w", format=path.suffix.lower().removeprefix(".")) as container:
        stream: Any = None
        sound: _Sound | None = None
        for second, pixels in frames:
            even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]  # colours are stored at half the size
            if stream is None:
                stream = _stream(container, encoder, even.shape[:2])
                sound = None if sound_of is None else _Sound(container, sound_of, path.suffix.lower())
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame.pts, frame.time_base = round(second / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
            if sound is not None:
                sound.until(second)
        container.mux(stream.encode())
        if sound is not None:
            sound.finish()


def _stream(container: Any, encoder: str, size: tuple[int, int]) -> Any:
    stream = container.add_stream(encoder, rate=25, options=QUALITY.get(encoder, {}))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    return stream
