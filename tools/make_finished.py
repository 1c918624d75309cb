"""Paint what the page shows before anything is pressed: demo/painted/*.jpg, with their settings in finished.json.

python -m tools.make_finished      # ten minutes on two cores; finished pictures are not painted again

Look at them before you commit.
"""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from demo.finished import FOLDER, LIST, STOP_PICTURES
from demo.stops import STOPS
from stylecore import stylize
from stylecore.files import write_file
from stylecore.images import ImageTensor, to_uint8
from stylecore.sample_images import load_photo, load_style

SIZE_PX, QUALITY, STOP_QUALITY = 384, 86, 92
# Photo, style, strength; the first is the one that the page opens with.
PAIRS = (
    ("chelsea", "stained_glass", 55),
    ("rocket", "flow_strokes", 70),
    ("coffee", "flow_strokes", 60),
    ("chelsea", "woodblock_waves", 80),
    ("astronaut", "woodblock_waves", 55),
    ("rocket", "stained_glass", 65),
    ("coffee", "ink_marbling", 55),
    ("chelsea", "flow_strokes", 65),
)
CROP = (150, 40, 270, 160)  # left, top, right, bottom in px: where the stops differ most, an eye


def write_jpeg(name: str, image: ImageTensor, crop: tuple[int, int, int, int] | None = None) -> None:
    """A picture, or a part of it."""
    file, picture = io.BytesIO(), Image.fromarray(to_uint8(image))
    picture = picture.crop(crop) if crop else picture
    picture.save(file, "JPEG", quality=STOP_QUALITY if crop else QUALITY, optimize=True, progressive=True)
    write_file(FOLDER / name, file.getvalue())


def paint(photo: str, style: str, strength: float, preset: str, name: str, crop: Any = None) -> dict[str, Any]:
    """One picture, and what the list says of it."""
    result = stylize(load_photo(photo), load_style(style), preset=preset, size=SIZE_PX, strength=strength)
    write_jpeg(name, result.image, crop)
    settings = {"photo": photo, "style": style, "strength": strength, "preset": preset, "size": SIZE_PX}
    distances = {
        "style_distance": round(result.style_distance, 3),
        "content_distance": round(result.distances.content, 3),
    }
    return {"file": name, "settings": settings, **distances}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = {each["file"]: each for each in json.loads(LIST.read_text("utf-8"))} if LIST.is_file() else {}
    photo, style, strength = PAIRS[0]
    presets = ["preview"] + ["standard"] * (len(PAIRS) - 1)  # the first is what a press of the button paints
    wanted = [(*pair, preset, f"{pair[0]}_{pair[1]}.jpg", None) for pair, preset in zip(PAIRS, presets, strict=True)]
    wanted += [(photo, style, strength, preset, STOP_PICTURES[preset], CROP) for preset in STOPS.values()]
    for picture in wanted:
        if picture[4] not in made:
            made[picture[4]] = paint(*picture)
            write_file(LIST, json.dumps([made[each[4]] for each in wanted if each[4] in made], indent=1).encode())
            print(made[picture[4]], flush=True)


if __name__ == "__main__":
    main()
