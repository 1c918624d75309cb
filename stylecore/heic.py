"""HEIC by the extra `heif`, in a process of its own: of a damaged file its decoder may crash, and that must not end a
server. Run as a script, this file is that process; it imports nothing of ours.
"""

from __future__ import annotations

import io
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

TIMEOUT_S = 60


def is_installed() -> bool:
    """Whether the extra is here."""
    return find_spec("pi_heif") is not None


def open_heic(heic: bytes, max_pixels: int) -> tuple[tuple[int, int], Image.Image | None]:
    """(width, height) in px as shown, and the picture, upright and 8-bit, unless it has more pixels than allowed.

    Raises:
        OSError: no HEIC, or a damaged one.
    """
    command = [sys.executable, "-P", str(Path(__file__)), str(max_pixels)]  # -P: our modules' names are not for it
    try:
        done = subprocess.run(command, check=False, input=heic, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise OSError("it takes too long") from error
    if done.returncode:
        raise OSError("it cannot be decoded")
    size, _, png = done.stdout.partition(b"\n")
    width, height = map(int, size.split())
    return (width, height), Image.open(io.BytesIO(png), formats=["PNG"]) if png else None


def main() -> None:
    """stdin: a HEIC file. stdout: its width and height, then, unless that is too much, a PNG of it."""
    from pi_heif import HeifImageFile

    image = HeifImageFile(io.BytesIO(sys.stdin.buffer.read()))
    width, height = image.size
    sys.stdout.buffer.write(b"%d %d\n" % (width, height))
    if width * height <= int(sys.argv[1]):
        image.load()
        image.save(sys.stdout.buffer, "PNG", compress_level=1, icc_profile=image.info.get("icc_profile"))


if __name__ == "__main__":
    main()
