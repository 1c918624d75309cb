"""`stylecore export verify`: does a file compute what it says?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from stylecore.encoders import load_encoder
from stylecore.images import ImageTensor, resize_image
from stylecore.isolation import isolated
from stylecore.sample_images import EVALUATION, load_photo

from .extractor import ExtractorOptions, open_extractor
from .precisions import PRECISIONS
from .runtime import Array, ModelError
from .runtimes import find_runtime, run_on

DYNAMIC_SIZES = ((256, 256), (192, 320), (333, 250))  # (height, width) in px


@dataclass(frozen=True)
class OutputCheck:
    """One output's largest relative errors over the images."""

    name: str
    error: float  # against the same network in torch, float32
    error_full: float  # against the full encoder in torch, float32


@dataclass(frozen=True)
class Verification:
    """What `verify` found; a file passes if no output's error exceeds the tolerance of its precision."""

    options: ExtractorOptions
    checks: list[OutputCheck]
    tolerance: float  # of its precision and its number of convolutions

    @property
    def passed(self) -> bool:
        return all(check.error <= self.tolerance for check in self.checks)  # NaN is no pass


@isolated()
def verify(path: Path, runtime: str = "onnxruntime") -> Verification:
    """Check an extractor's form with onnx.checker and its numbers against torch.

    Args:
        path: of the file.
        runtime: whose numbers, a key of `RUNTIMES`.

    Raises:
        OptionError: the runtime is unknown.
        ModelError: the file is missing, damaged, no extractor of ours, or made from other weights; the runtime is
            missing, or does not run it.
    """
    find_runtime(runtime)
    file = open_extractor(path)
    options = file.options
    if path.suffix.lower() == ".onnx":
        _check_form(path)
    encoder = load_encoder(options.encoder)
    if encoder.checksum != file.weights_checksum:
        raise ModelError(f"'{path}' was made from other weights of {options.encoder}: export it again.")
    precision = PRECISIONS[options.precision]
    references = options.reference(encoder), options.reference(load_encoder(encoder.architecture.name))
    images = check_images(options)
    ran = run_on(runtime, path, [options.feeds(image) for image in images])
    if any(len(outputs) != len(options.layers) for outputs in ran.outputs):
        raise ModelError(f"{runtime} gave another number of outputs than '{path}' has: try another version of it.")
    errors = [_errors(found, *(f(x) for f in references)) for x, found in zip(images, ran.outputs, strict=True)]
    largest = np.max(np.array(errors), axis=0)
    checks = [OutputCheck(layer, *map(float, row)) for layer, row in zip(options.layers, largest, strict=True)]
    return Verification(options, checks, precision.tolerance_of(encoder))


def _check_form(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"'{path}' is no valid ONNX model: {' '.join(str(error).split())[:200]}.") from error


def _errors(outputs: Sequence[Array], of_same: Sequence[Array], of_full: Sequence[Array]) -> list[tuple[float, float]]:
    """Of each output, the relative error against the same network and against the full one."""
    return [
        (relative_error(output, same), relative_error(output, full))
        for output, same, full in zip(outputs, of_same, of_full, strict=True)
    ]


def check_images(options: ExtractorOptions) -> list[ImageTensor]:
    """Evaluation photos: of three sizes for a dynamic file, three different ones for a fixed one."""
    if options.size is None:
        photo = load_photo(next(iter(EVALUATION)))
        return [resize_image(photo, *size) for size in DYNAMIC_SIZES]
    photos = [resize_image(load_photo(name), options.size, options.size) for name in EVALUATION]
    return [*photos, photos[0].flip(3)]


def relative_error(value: Array, reference: Array) -> float:
    """|F - F_ref|_F / |F_ref|_F; infinite where shapes differ."""
    if value.shape != reference.shape:
        return float("inf")
    reference = reference.astype(np.float64)
    return float(np.linalg.norm(value - reference)) / max(float(np.linalg.norm(reference)), 1e-30)
