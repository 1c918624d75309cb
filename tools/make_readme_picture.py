"""Draw docs/images/readme.jpg: one photo in the manner of three of the project's own pictures.

python -m tools.make_readme_picture     # a few minutes on two cores
"""

from pathlib import Path
from typing import Any

from stylecore import stylize
from stylecore.files import write_file
from stylecore.images import fit_image
from stylecore.report import Picture, contact_sheet, picture_of
from stylecore.report.sheets import jpeg
from stylecore.sample_images import load_photo, load_style

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "images" / "readme.jpg"
PHOTO, STYLES = "chelsea", ("flow_strokes", "stained_glass", "woodblock_waves")
SIZE_PX, INSET_PX, FRAME_PX = 384, 96, 2
RECIPE: dict[str, Any] = {"preset": "gatys", "size": SIZE_PX, "style_weight": 0.1}


def panel(style: str) -> Picture:
    """The stylized photo with its style as a small framed inset."""
    picture = load_style(style)
    result = picture_of(stylize(load_photo(PHOTO), picture, **RECIPE).image)
    inset = picture_of(fit_image(picture, INSET_PX)).image
    left, top = (outer - inner - 8 for outer, inner in zip(result.image.size, inset.size, strict=True))
    frame = (left - FRAME_PX, top - FRAME_PX, left + inset.width + FRAME_PX, top + inset.height + FRAME_PX)
    result.image.paste("white", frame)
    result.image.paste(inset, (left, top))
    return result


def main() -> None:
    first, second, third, fourth = (picture_of(fit_image(load_photo(PHOTO), SIZE_PX)), *map(panel, STYLES))
    sheet = contact_sheet([[first, second], [third, fourth]], SIZE_PX, margin_px=0, gap_px=6)
    write_file(TARGET, jpeg(sheet, quality=88))


if __name__ == "__main__":
    main()
