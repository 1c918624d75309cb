"""`--basis FILE` and `--gram-weights FILE`: used if there, written by the job that fits them if not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stylecore.config import LOSSES_WITH_BASIS, LOSSES_WITH_WEIGHTS, StylizeConfig
from stylecore.encoders.vgg import Encoder
from stylecore.engine import MutableFitted
from stylecore.errors import OptionError, WeightsError
from stylecore.fitted import load_fitted, save_fitted

KINDS = {"basis": ("components", LOSSES_WITH_BASIS), "gram_weights": ("gram_weights", LOSSES_WITH_WEIGHTS)}


@dataclass(frozen=True)
class FittedFile:
    """The one file of bases or weights that a job uses or makes."""

    path: Path | None = None
    kind: str = ""  # name of the tensors in it: components or gram_weights
    values: MutableFitted = field(default_factory=dict)  # of the file, or empty until the job has fitted them
    loaded: bool = False

    def save(self, encoder: Encoder) -> None:
        """Write what the job fitted, unless it came from the file."""
        if self.path is not None and not self.loaded:
            save_fitted(self.path, self.values, encoder)


def check_fitted(config: StylizeConfig, paths: dict[str, Path | None]) -> None:
    """Refuse, before anything slow, a file that the loss has no use for or that could not be written.

    Args:
        paths: of the options `basis` and `gram_weights`, None where not typed.
    """
    for option, path in paths.items():
        name, (_, losses) = f"--{option.replace('_', '-')}", KINDS[option]
        if path is None:
            continue
        if config.loss not in losses:
            raise OptionError(f"{name} is of the losses {' and '.join(losses)}, not of {config.loss}: choose --loss.")
        if path.is_dir() or not path.parent.is_dir():
            raise OptionError(f"{name} '{path}' cannot be a file: name one in a folder that is there.")


def load_or_fit(config: StylizeConfig, paths: dict[str, Path | None], encoder: Encoder) -> FittedFile:
    """The file that was typed, read if it exists.

    Raises:
        WeightsError: of another encoder, damaged, or without one of the config's layers.
    """
    for option, path in paths.items():
        if path is not None:
            kind = KINDS[option][0]
            if not path.exists():
                return FittedFile(path, kind)
            values = load_fitted(path, encoder)
            for layer in config.style_layers:
                if kind not in values.get(layer, {}):
                    raise WeightsError(f"'{path}' holds no {kind} for {layer}: fit them again into another file.")
            return FittedFile(path, kind, values, loaded=True)
    return FittedFile()
