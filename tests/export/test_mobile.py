"""Accelerators in phones, as onnxruntime's checker sees them: one verdict each, and what is in their way."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from stylecore_export.extractor import ExtractorOptions, build_extractor
from stylecore_export.mobile import check_mobile

from stylecore.encoders import Encoder

PX = {"height": 64, "width": 64}


@pytest.mark.parametrize("file", ["extractor", "targets"])
def test_extractor_and_targets_are_one_partition_where_sizes_are_fixed(
    file: str, tiny_file: Path, make_bundle: Callable[[str], Path]
) -> None:
    path = tiny_file if file == "extractor" else make_bundle("pca") / "targets.onnx"
    for verdict in check_mobile(path, PX):
        assert (verdict.partitions, verdict.supported, verdict.verdict) == (1, verdict.nodes, "yes"), str(verdict)
    assert all(verdict.verdict == "no" for verdict in check_mobile(path)), "of any size"


def test_each_provider_has_a_verdict_of_its_own(tiny_encoder: Encoder, tmp_path: Path) -> None:
    """NNAPI takes int8 as it is quantised here, CoreML does not."""
    path = tmp_path / "int8.onnx"
    onnx.save(build_extractor(ExtractorOptions(precision="int8", size=64), tiny_encoder), path)
    nnapi, coreml = check_mobile(path)
    assert (nnapi.verdict, nnapi.preventing) == ("yes", ())
    assert (coreml.verdict, coreml.preventing) == ("no", ("DequantizeLinear", "QuantizeLinear"))
    assert str(coreml).endswith("; in its way: DequantizeLinear, QuantizeLinear.")


def test_what_keeps_a_step_off_an_accelerator_is_named(make_bundle: Callable[[str], Path]) -> None:
    sides = PX | {f"content_relu2_2_{side}": 32 for side in PX}
    for verdict in check_mobile(make_bundle("pca") / "step.onnx", sides):
        assert verdict.verdict == "no"
        assert {"Where", "Equal"} & {*verdict.preventing}
