"""`--basis FILE` and `--gram-weights FILE`: used if there, written by the job that fits them if not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecore.cli.console import print_note
from stylecore.config import StylizeConfig, convert
from stylecore.encoders import Encoder
from stylecore.errors import OptionError, WeightsError
from stylecore.files import check_writable, is_file, is_folder
from stylecore.fitted import load_fitted, read_options, save_fitted
from stylecore.losses import STYLE_LOSSES
from stylecore.objective import Fitted

# Option -> the tensors in its file, by the name that losses have for what they fit.
KINDS = {"basis": "components", "gram_weights": "gram_weights"}


@dataclass(frozen=True)
class FittedFile:
    """The one file of bases or weights that a job uses or makes."""

    path: Path | None = None
    loaded: Fitted = field(default_factory=dict)  # what was in it; empty: the job fits it

    def save(self, fitted: Fitted, encoder: Encoder, config: StylizeConfig) -> None:
        """Write what the job fitted, unless it came from the file."""
        if self.path is not None and not self.loaded:
            values = config.to_dict()
            options = {name: values[name] for name in STYLE_LOSSES[config.loss].fitted_by}
            save_fitted(self.path, fitted, encoder, options)


def options_of_files(paths: Mapping[str, Path | None], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the config that files were fitted with: those are used, so those go into records.

    Args:
        paths: of the options in `KINDS`, None where not typed.
        typed: fields of the config; a note says which of them count for nothing.
    """
    options: dict[str, Any] = {}
    for path in paths.values():
        used = read_options(path) if path is not None and is_file(path) else {}
        options |= used
        for name, value in used.items():
            if name in typed and convert(name, typed[name]) != convert(name, value):
                print_note(f"'{path}' was fitted with {name} {value}, which is used, not {typed[name]}.")
    return options


def check_fitted(config: StylizeConfig, paths: Mapping[str, Path | None]) -> None:
    """Refuse, before anything slow, a file that the loss has no use for or that could not be written.

    Args:
        paths: of the options in `KINDS`, None where not typed.
    """
    for option, path in paths.items():
        if path is None:
            continue
        name = f"--{option.replace('_', '-')}"
        losses = [each for each, loss in STYLE_LOSSES.items() if loss.fits == KINDS[option]]
        if config.loss not in losses:
            *first, last = sorted(losses)
            named = f"losses {', '.join(first)} and {last}" if first else f"loss {last}"
            raise OptionError(f"{name} is of the {named}, not of {config.loss}: choose --loss.")
        if is_folder(path) or not is_folder(path.parent):
            raise OptionError(f"{name} '{path}' cannot be a file: name one in a folder that is there.")
        if not is_file(path):
            check_writable(path, ".safetensors")


def load_or_fit(config: StylizeConfig, paths: Mapping[str, Path | None], encoder: Encoder) -> FittedFile:
    """The file that was typed, read if it exists.

    Raises:
        WeightsError: of another encoder, damaged, or without one of the config's layers.
    """
    for option, path in paths.items():
        if path is None:
            continue
        if not is_file(path):
            return FittedFile(path)
        loaded = load_fitted(path, encoder)
        for layer in config.style_layers:
            if KINDS[option] not in {name.partition(".")[0] for name in loaded.get(layer, {})}:
                raise WeightsError(f"'{path}' holds no {KINDS[option]} for {layer}: fit them again into another file.")
        return FittedFile(path, loaded)
    return FittedFile()
