"""Every precision an extractor can have, and all that differs between them: a new one is added here and nowhere else.

Export, verify, bench and its picture, the page, the table of docs/export.md and `bench --all` read this registry.
Reading it imports neither torch nor onnx, so that `--help` can list it where there is neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NUM_CONVOLUTIONS = 11  # of VGG-16 up to conv5_1


def _unchanged(value: Any, *_: Any) -> Any:
    return value


@dataclass(frozen=True)
class Precision:
    """How an extractor holds its numbers.

    Args:
        summary: how it is made, for people.
        tolerance: the largest relative error |F - F_ref|_F / |F_ref|_F, against the same encoder in torch float32, at
            which `verify` passes a file of VGG-16's eleven convolutions. Rounding errors are independent: of n
            convolutions they may be sqrt(n / 11) times as large.
        marker: in the bench's picture, one of Matplotlib's that can be filled.
        prepare: (`Encoder`, `Track`) -> the encoder to trace, with the same signature.
        finish: (traced `ModelProto`, what was traced, function image -> arrays by input name) -> the model to write.
    """

    summary: str
    tolerance: float
    marker: str
    prepare: Callable[[Any, Any], Any] = _unchanged
    finish: Callable[[Any, Any, Any], Any] = _unchanged

    def tolerance_of(self, encoder: Any) -> float:
        """For a file of this encoder, factorised or whole."""
        from .convolutions import convolutions

        return self.tolerance * math.sqrt(max(1.0, len(convolutions(encoder)) / NUM_CONVOLUTIONS))


def _half_precision(encoder: Any, track: Any) -> Any:
    from .quantize import half_precision

    return half_precision(encoder, track)


def _rounded_to_int8(encoder: Any, track: Any) -> Any:
    from .quantize import rounded_to_int8

    return rounded_to_int8(encoder, track)


def _with_int8_nodes(model: Any, encoder: Any, feeds: Any) -> Any:
    from .quantize import quantize_nodes

    return quantize_nodes(model, encoder, feeds)


PRECISIONS = {
    "fp32": Precision("as in torch", 1e-4, "o"),
    "fp16": Precision(
        "each layer divided by its mean activation, multiplied back in float32: VGG's own features reach the "
        "thousands, and sums of their squares overflow",
        5e-3,
        "s",
        prepare=_half_precision,
    ),
    "int8": Precision(
        "weights int8 per channel, in 7 bits, activations uint8, QDQ by onnxruntime's static quantiser",
        0.05,
        "^",
        prepare=_rounded_to_int8,
        finish=_with_int8_nodes,
    ),
}


def variants() -> dict[str, tuple[str, str]]:
    """Name -> (encoder, precision) of all that can be exported without a download, as `vgg16-x2-int8`."""
    from stylecore.encoders import ENCODERS

    encoders = [name for name, spec in ENCODERS.items() if not spec.url]
    return {f"{encoder}-{precision}": (encoder, precision) for encoder in encoders for precision in PRECISIONS}
