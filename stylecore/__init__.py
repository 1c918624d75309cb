"""stylecore: neural style transfer by optimisation, with reduced style losses and fast lower-detail previews."""

from stylecore.config import Stage, StylizeConfig
from stylecore.encoders import Encoder, load_encoder
from stylecore.engine import Result, Step, prepare_encoder, stylize, stylize_steps
from stylecore.errors import (
    DivergenceError,
    ImageError,
    NotEnoughMemoryError,
    OptionError,
    OutputError,
    StylecoreError,
    WeightsError,
)
from stylecore.images import ImageNote, load_image, read_settings, save_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun
from stylecore.metrics import Distances, Yardstick, content_distance, style_distance
from stylecore.presets import PRESETS, make_config
from stylecore.version import VERSION

__version__ = VERSION

__all__ = [
    "PRESETS",
    "Distances",
    "DivergenceError",
    "Encoder",
    "ImageError",
    "ImageNote",
    "Job",
    "MeasuredRun",
    "NotEnoughMemoryError",
    "OptionError",
    "OutputError",
    "Result",
    "Stage",
    "Step",
    "StylecoreError",
    "StylizeConfig",
    "WeightsError",
    "Yardstick",
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
