"""Videos in and out, by the extra `video` (PyAV, which brings FFmpeg). Imported only where a video is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from stylecore.errors import OutputError

# Suffix -> encoders that will do, best first. What a WebM needs is free; encoders of H.264 are under the GPL or the
# system's own, and come with the user's FFmpeg or not at all.
ENCODERS = {
    ".webm": ("libvpx-vp9",),
    ".mp4": ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf"),
}
QUALITY = {"libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4"}, "libx264": {"crf": "18"}}
TIME_BASE = Fraction(1, 1000)  # s; what WebM has

Frame = UInt8[np.ndarray, "H W 3"]


def is_installed() -> bool:
    """Whether the extra's PyAV is here."""
    return find_spec("av") is not None


def encoder_of(path: Path) -> str:
    """The encoder that a video of that name takes.

    Raises:
        OutputError: the extra is not installed, or has none for it.
    """
    if not is_installed():
        raise OutputError(f"'{path}' is a video: pip install 'stylecore[video]'.")
    import av

    for name in ENCODERS[path.suffix.lower()]:
        if name in av.codecs_available:
            return name
    raise OutputError(f"This FFmpeg has no encoder for '{path}': name the output '{path.with_suffix('.webm')}'.")


def write_clip(file: BinaryIO, path: Path, frames: Iterable[tuple[float, Frame]]) -> None:
    """Encode frames, each with the second at which it is shown, into an open file of the kind that `path` names."""
    import av

    encoder = encoder_of(path)
    with av.open(file, "w", format=path.suffix.lower().removeprefix(".")) as container:
        stream: Any = None
        for second, pixels in frames:
            even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]  # colours are stored at half the size
            if stream is None:
                stream = _stream(container, encoder, even.shape[:2])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame.pts, frame.time_base = round(second / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _stream(container: Any, encoder: str, size: tuple[int, int]) -> Any:
    stream = container.add_stream(encoder, rate=25, options=QUALITY.get(encoder, {}))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    return stream
