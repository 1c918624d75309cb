"""Draw the example style images, so that the project ships pictures that are its own.

    python examples/draw_styles.py                      # all of them, into stylecore/sample_images
    python examples/draw_styles.py pointillism -o /tmp  # one, elsewhere

Needs only numpy and Pillow. Every picture has its own fixed seed, so a run always gives the same pixels.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from drawing import flow_strokes, ink_marbling, pointillism, stained_glass, woodblock_waves
from drawing.canvas import Array, finish
from PIL import Image

SAMPLE_IMAGES = Path(__file__).parent.parent / "stylecore" / "sample_images"
SEED = 20
MAX_BYTES = 220_000
STYLES: dict[str, Callable[[np.random.Generator], Array]] = {
    "flow_strokes": flow_strokes.draw,
    "stained_glass": stained_glass.draw,
    "woodblock_waves": woodblock_waves.draw,
    "pointillism": pointillism.draw,
    "ink_marbling": ink_marbling.draw,
}


def jpeg_bytes(image: Image.Image) -> bytes:
    """The image as a JPEG of the best quality that stays within `MAX_BYTES`."""
    for quality in range(92, 70, -2):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()


def parse_arguments() -> argparse.Namespace:
    """The command line, with the names of the pictures checked."""
    parser = argparse.ArgumentParser(description="Draw the example style images.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"pictures to draw: {', '.join(STYLES)} (default: all)"
    )
    parser.add_argument("-o", "--output", type=Path, default=SAMPLE_IMAGES, help="folder to write to")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in STYLES]:
        parser.error(f"unknown picture {', '.join(unknown)}; choose from {', '.join(STYLES)}")
    return arguments


def main() -> None:
    """Draw what was asked for and say where it went."""
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or STYLES:
        image = finish(STYLES[name](np.random.default_rng(SEED)))
        path = arguments.output / f"{name}.jpg"
        path.write_bytes(jpeg_bytes(image))
        print(f"{path}  {image.width} x {image.height}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
