"""What a phone's accelerators would take of a file, by onnxruntime's usability checker: no phone is needed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed, optimize_model

# By provider the checker's function: (model with shapes, whether sizes must be fixed) -> `PartitioningInfo`.
CHECKS: dict[str, Callable[[onnx.ModelProto, bool], Any]] = {
    "NNAPI": usability_checker.check_nnapi_partitions,
    "CoreML": lambda model, fixed: usability_checker.check_coreml_partitions(
        model, fixed, "coreml_supported_mlprogram_ops.md"
    ),
}
WORDS = {"yes": "expected to do well", "maybe": "worth a try", "no": "no gain expected"}


@dataclass(frozen=True)
class Verdict:
    """Of one file on one provider."""

    provider: str
    partitions: int  # each costs two copies; one is best
    supported: int  # nodes that it takes
    nodes: int
    preventing: tuple[str, ...]  # operators in its way
    verdict: str  # "yes", "maybe" or "no"

    def __str__(self) -> str:
        parts = f"{self.partitions} partition{'s' * (self.partitions != 1)}"
        way = f"; in its way: {', '.join(self.preventing)}" if self.preventing else ""
        return f"{self.provider}: {WORDS[self.verdict]}, {self.supported} of {self.nodes} nodes in {parts}{way}."


def check_mobile(path: Path, sides: Mapping[str, int] | None = None) -> list[Verdict]:
    """A verdict for each provider, of the graph as onnxruntime simplifies it for a phone.

    Args:
        path: of an ONNX file.
        sides: px of dynamic sides, by name: accelerators take fixed ones alone.
    """
    model = _simplified(path, sides or {})
    with _quiet():
        return [_verdict(provider, check(model, True)) for provider, check in CHECKS.items()]


def _verdict(provider: str, info: Any) -> Verdict:
    return Verdict(
        provider=provider,
        partitions=info.num_partitions,
        supported=info.num_supported_nodes,
        nodes=info.num_nodes,
        preventing=tuple(sorted(name.removeprefix("ai.onnx:") for name in info.unsupported_ops)),
        verdict=info.suitability().name.lower(),
    )


def _simplified(path: Path, sides: Mapping[str, int]) -> onnx.ModelProto:
    """With sizes that are fixed, constants that are folded, and shapes."""
    model = onnx.load(path)
    for name, side in sides.items():
        make_dim_param_fixed(model.graph, name, side)
    with tempfile.TemporaryDirectory() as folder:
        fixed, simple = Path(folder) / "fixed.onnx", Path(folder) / "simple.onnx"
        onnx.save(model, fixed)
        optimize_model(fixed, simple)
        return onnx.shape_inference.infer_shapes(onnx.load(simple), data_prop=True)


@contextmanager
def _quiet() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
