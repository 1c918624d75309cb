"""The photos that scikit-image and scikit-learn bundle and the styles we drew, and which may be used for what.

Whatever is fitted, distilled, calibrated or tuned uses FITTING and FITTING_STYLES alone; every figure that is reported
uses EVALUATION and EVALUATION_STYLES alone (and pictures that were not used in fitting). The lists stand here once, and
a test holds the project's tools to them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from stylecore.errors import OptionError, unknown
from stylecore.images import ImageTensor, load_image

# name -> (package, file). Credits are in NOTICE.
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
    "astronaut": ("skimage", "astronaut.png"),
    "rocket": ("skimage", "rocket.jpg"),
}
# Drawn by examples/draw_styles.py.
FITTING_STYLES = ("pointillism", "ink_marbling")
EVALUATION_STYLES = ("flow_strokes", "stained_glass", "woodblock_waves")
STYLES_FOLDER = Path(__file__).parent.parent / "examples" / "styles"
_FOLDERS = {"skimage": ("skimage", "data"), "sklearn": ("sklearn", "datasets/images")}


def photo_path(name: str) -> Path:
    """The file of a bundled photo. Raises an OptionError if it is unknown or its package is not installed."""
    photos = FITTING | EVALUATION
    if name not in photos:
        raise unknown("photo", name, photos)
    package, file = photos[name]
    module, folder = _FOLDERS[package]
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        pip_name = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise OptionError(f"The photo '{name}' comes with {pip_name}: pip install {pip_name}.")
    return Path(spec.origin).parent / folder / file


def load_photo(name: str) -> ImageTensor:
    """A bundled photo as a tensor (1, 3, H, W) in [0, 1]."""
    return load_image(photo_path(name))


def load_style(name: str) -> ImageTensor:
    """A drawn style as a tensor (1, 3, H, W) in [0, 1]. Raises an OptionError outside of a checkout of the project."""
    styles = FITTING_STYLES + EVALUATION_STYLES
    if name not in styles:
        raise unknown("style", name, styles)
    path = STYLES_FOLDER / f"{name}.jpg"
    if not path.is_file():
        raise OptionError(f"The drawn style '{name}' comes with the project's repository: name a file instead.")
    return load_image(path)
