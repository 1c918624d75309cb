"""Draw docs/images/readme.jpg: one photo in the manner of three of the project's own pictures.

python tools/make_readme_picture.py     # a few minutes on two cores
"""

from pathlib import Path

from PIL import Image

from stylecore import stylize
from stylecore.images import fit_image, to_uint8
from stylecore.sample_images import load_photo, load_style

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "images" / "readme.jpg"
PHOTO, STYLES = "chelsea", ("flow_strokes", "stained_glass", "woodblock_waves")
RECIPE = {"preset": "gatys", "size": 384, "style_weight": 0.1}
INSET_PX, GAP_PX = 96, 6


def panel(style: str) -> Image.Image:
    """The stylized photo with its style as a small inset."""
    photo, picture = load_photo(PHOTO), load_style(style)
    result = Image.fromarray(to_uint8(stylize(photo, picture, **RECIPE).image))
    inset = Image.fromarray(to_uint8(fit_image(picture, INSET_PX)))
    frame = Image.new("RGB", (inset.width + 4, inset.height + 4), "white")
    frame.paste(inset, (2, 2))
    result.paste(frame, (result.width - frame.width - 6, result.height - frame.height - 6))
    return result


def main() -> None:
    photo = load_photo(PHOTO)
    panels = [Image.fromarray(to_uint8(fit_image(photo, RECIPE["size"])))]
    panels += [panel(style) for style in STYLES]
    width, height = panels[0].size
    sheet = Image.new("RGB", (2 * width + GAP_PX, 2 * height + GAP_PX), "white")
    for index, picture in enumerate(panels):
        sheet.paste(picture, ((index % 2) * (width + GAP_PX), (index // 2) * (height + GAP_PX)))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(TARGET, quality=88)


if __name__ == "__main__":
    main()
