# The public names and where they live; __init__.py reads them here.
from .blending import blend
from .config import Stage, StylizeConfig
from .encoders import Encoder, load_encoder
from .engine import Result, Step, prepare_encoder, stylize, stylize_steps
from .errors import (
    DivergenceError,
    ImageError,
    NotEnoughMemoryError,
    OptionError,
    OutputError,
    StylecoreError,
    WeightsError,
)
from .images import ImageNote, load_image, read_settings, save_image
from .job import Job
from .measured_run import MeasuredRun
from .metrics import Distances, Yardstick, content_distance, style_distance
from .presets import PRESETS, make_config
from .regions import MaskImage, Region

__version__: str

__all__ = [
    "PRESETS",
    "Distances",
    "DivergenceError",
    "Encoder",
    "ImageError",
    "ImageNote",
    "Job",
    "MaskImage",
    "MeasuredRun",
    "NotEnoughMemoryError",
    "OptionError",
    "OutputError",
    "Region",
    "Result",
    "Stage",
    "Step",
    "StylecoreError",
    "StylizeConfig",
    "WeightsError",
    "Yardstick",
    "blend",
    "content_distance",
    "load_encoder",
    "load_image",
    "make_config",
    "prepare_encoder",
    "read_settings",
    "save_image",
    "style_distance",
    "stylize",
    "stylize_steps",
]
