"""Pictures to start from, all found on this machine: scikit-image's photos and the styles that the project draws."""

from __future__ import annotations

from pathlib import Path

import skimage.data
from gradio.utils import get_upload_folder
from PIL import Image

STYLES_FOLDER = Path(__file__).parent.parent / "examples" / "styles"
PHOTOS = {
    "chelsea": skimage.data.chelsea,
    "astronaut": skimage.data.astronaut,
    "coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
}
CREDITS = (
    "Example photos from scikit-image: Chelsea by Stéfan van der Walt (CC0), astronaut by NASA (public domain), "
    "coffee by Rachel Michetti (CC0), rocket by SpaceX (CC0). The example styles are drawn by this project."
)


def photo_files() -> list[Path]:
    """The bundled photos as PNG files, written once into the folder that Gradio serves files from."""
    folder = Path(get_upload_folder()) / "example_photos"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in PHOTOS]
    for file in files:
        if not file.exists():
            Image.fromarray(PHOTOS[file.stem]()).save(file)
    return files


def style_files() -> list[Path]:
    """The drawn styles."""
    return sorted(STYLES_FOLDER.glob("*.jpg"))
