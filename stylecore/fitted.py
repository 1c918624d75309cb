"""Bases and trained weights on disk, {layer: {name: tensor}}, and for which encoder they were fitted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stylecore.encoders import Encoder, Layer
from stylecore.errors import OptionError, WeightsError
from stylecore.files import check_folder, write_file
from stylecore.isolation import isolated


def save_fitted(
    path: str | Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    encoder: Encoder,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write {layer: {kind: tensor}} to a safetensors file that only the same encoder's jobs will read.

    Args:
        options: JSON-ready fields of the config that it was fitted with, for `read_options`.
    """
    flat = {
        f"{layer}.{kind}": t.detach().cpu().contiguous()
        for layer, kinds in tensors.items()
        for kind, t in kinds.items()
    }
    if not flat:
        raise OptionError("This loss fits nothing that could be saved: choose pca or weighted.")
    metadata = {
        "architecture": encoder.architecture.name,
        "encoder": encoder.name,
        "checksum": encoder.checksum,
        "layers": ",".join(tensors),
        "options": json.dumps(dict(options or {})),
    }
    check_folder(Path(path))
    write_file(Path(path), save(flat, metadata))


def read_options(path: str | Path) -> dict[str, Any]:
    """What `save_fitted` was told of the config; empty where it was told nothing. Raises a WeightsError if damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            options = json.loads((file.metadata() or {}).get("options", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"'{path}' cannot be read as a safetensors file of bases or weights.") from error
    return options if isinstance(options, dict) else {}


@isolated()
def load_fitted(path: str | Path, encoder: Encoder) -> dict[str, dict[str, Tensor]]:
    """Read what `save_fitted` wrote, onto the encoder's device.

    Raises:
        WeightsError: no such file, damaged, or fitted for another encoder.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"'{path}' cannot be read as a safetensors file of bases or weights.") from error
    if (metadata.get("architecture"), metadata.get("checksum")) != (encoder.architecture.name, encoder.checksum):
        raise WeightsError(
            f"'{path}' was fitted for the encoder {metadata.get('encoder', metadata.get('architecture'))} "
            f"({metadata.get('checksum')}), not for {encoder.name} ({encoder.checksum}): fit it again."
        )
    fitted: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        layer, _, kind = key.partition(".")
        if tensor.shape[0] != Layer.parse(layer).num_channels or not math.isfinite(float(tensor.double().sum())):
            raise WeightsError(f"'{path}' is damaged: {key} does not fit its layer.")
        fitted.setdefault(layer, {})[kind] = tensor.to(encoder.device)
    return fitted
