"""`python -m export verify`: does a file compute what it says?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export.extractor import ExtractorOptions
from export.runtime import ModelError
from export.sessions import extractor_facts, session_on
from stylecore.encoders.vgg import load_encoder
from stylecore.images import ImageTensor, resize_image
from stylecore.sample_images import EVALUATION, load_photo

# Largest relative error |F - F_ref|_F / |F_ref|_F against the same network in torch.
TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.05}
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

    @property
    def tolerance(self) -> float:
        return TOLERANCES[self.options.precision]

    @property
    def passed(self) -> bool:
        return all(check.error <= self.tolerance for check in self.checks)  # NaN is no pass


def verify(path: Path) -> Verification:
    """Check an extractor's form with onnx.checker and its numbers against torch.

    Raises:
        ModelError: the file is missing, damaged, no extractor of ours, or made from other weights.
    """
    session = session_on(path)
    facts = extractor_facts(session, path)
    if path.suffix == ".onnx":
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"'{path}' is no valid ONNX model: {' '.join(str(error).split())[:200]}.") from error
    options = ExtractorOptions.from_metadata(facts)
    encoder = load_encoder(options.encoder)
    if encoder.checksum != facts["weights_checksum"]:
        raise ModelError(f"'{path}' was made from other weights of {options.encoder}: export it again.")
    of_same = options.reference(encoder)
    of_full = options.reference(load_encoder(encoder.architecture))
    errors = [
        [
            (relative_error(value, same), relative_error(value, full))
            for value, same, full in zip(
                session.run(None, options.feeds(image)), of_same(image), of_full(image), strict=True
            )
        ]
        for image in check_images(options)
    ]
    largest = np.max(np.array(errors), axis=0)
    return Verification(
        options, [OutputCheck(layer, *map(float, row)) for layer, row in zip(options.layers, largest, strict=True)]
    )


def check_images(options: ExtractorOptions) -> list[ImageTensor]:
    """Evaluation photos: of three sizes for a dynamic file, three different ones for a fixed one."""
    if options.size is None:
        photo = load_photo(next(iter(EVALUATION)))
        return [resize_image(photo, *size) for size in DYNAMIC_SIZES]
    photos = [resize_image(load_photo(name), options.size, options.size) for name in EVALUATION]
    return [*photos, photos[0].flip(3)]


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """|F - F_ref|_F / |F_ref|_F; infinite where shapes differ."""
    if value.shape != reference.shape:
        return float("inf")
    reference = reference.astype(np.float64)
    return float(np.linalg.norm(value - reference)) / max(float(np.linalg.norm(reference)), 1e-30)
