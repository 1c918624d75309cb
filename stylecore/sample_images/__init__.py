"""The styles that this project draws, photos to try them on, and what each of them may be used for.

Whatever is fitted, distilled, calibrated or tuned uses FITTING and FITTING_STYLES alone; every figure that is reported
uses EVALUATION and EVALUATION_STYLES alone (and pictures that were not used in fitting). The lists stand here once, and
a test holds the project's tools to them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from stylecore.errors import OptionError, unknown
from stylecore.images import ImageTensor, load_image

# name -> (package that has it, file). Credits are in NOTICE.
FITTING = {
    "brick": ("skimage", "brick.png"),
    "chelsea": ("skimage", "chelsea.png"),
    "china": ("sklearn", "china.jpg"),
    "coffee": ("skimage", "coffee.png"),
    "coins": ("skimage", "coins.png"),
    "flower": ("sklearn", "flower.jpg"),
    "grass": ("skimage", "grass.png"),
    "gravel": ("skimage", "gravel.png"),
    "hubble": ("skimage", "hubble_deep_field.jpg"),
    "ihc": ("skimage", "ihc.png"),
    "motorcycle": ("skimage", "motorcycle_left.png"),
    "retina": ("skimage", "retina.jpg"),
}
EVALUATION = {
    "astronaut": ("stylecore", "astronaut.png"),
    "rocket": ("stylecore", "rocket.jpg"),
}
# Drawn by examples/draw_styles.py.
FITTING_STYLES = ("pointillism", "ink_marbling")
EVALUATION_STYLES = ("flow_strokes", "stained_glass", "woodblock_waves")

PHOTOS = EVALUATION | FITTING
STYLES = EVALUATION_STYLES + FITTING_STYLES

# What pages call those that they show.
LABELS = {
    "astronaut": "Astronaut",
    "chelsea": "Chelsea the cat",
    "coffee": "A cup of coffee",
    "rocket": "Rocket on its pad",
    "flow_strokes": "Flowing strokes",
    "ink_marbling": "Ink marbling",
    "pointillism": "Pointillism",
    "stained_glass": "Stained glass",
    "woodblock_waves": "Woodblock waves",
}

_FOLDERS = {"stylecore": "sample_images", "skimage": "data", "sklearn": "datasets/images"}


def photo_path(name: str) -> Path:
    """The file of a photo. Raises an OptionError if the name is unknown or the package that has it is not installed."""
    if name not in PHOTOS:
        raise unknown("photo", name, PHOTOS)
    package, file = PHOTOS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise OptionError(f"The photo '{name}' comes with an extra: pip install 'stylecore[photos]'.")
    return Path(spec.origin).parent / _FOLDERS[package] / file


def style_path(name: str) -> Path:
    """The file of a drawn style. Raises an OptionError if the name is unknown."""
    if name not in STYLES:
        raise unknown("style", name, STYLES)
    return Path(__file__).parent / f"{name}.jpg"


def load_photo(name: str) -> ImageTensor:
    """A photo as a tensor (1, 3, H, W) in [0, 1]. Raises as `photo_path` does."""
    return load_image(photo_path(name))


def load_style(name: str) -> ImageTensor:
    """A drawn style as a tensor (1, 3, H, W) in [0, 1]. Raises as `style_path` does."""
    return load_image(style_path(name))
