"""The page as it ships: its bytes, its numbers beside Python's in Chromium, and on WebGPU, emulated by SwiftShader."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from stylecore_export import webpage
from stylecore_export.pictures import Array, load_image
from stylecore_export.runtime import Bundle

from benchmarks import web as driver
from stylecore.encoders.reduce import MULTIPLE
from stylecore.metrics import Yardstick
from stylecore.sample_images import photo_path, style_path
from tools.chromium import CHROMIUM, chromium
from tools.static_host import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MAX_DOWNLOAD, MAX_MODELS = 18_000_000, 8_500_000  # bytes, after gzip -9


@pytest.fixture(scope="module")
def whole_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with its real models."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine")
    return webpage.export_web(tmp_path_factory.mktemp("whole") / "page")


def said(folder: Path, provider: str, job: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What the worker says in a browser of its own."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with chromium(driver.GRAPHICS[provider]) as browser, serving(folder) as url:
        page = browser.new_page()
        page.set_default_timeout(0)
        page.goto(f"{url}LICENSE.txt")
        return driver.drive(page, {"provider": provider}, job)


def test_the_page_is_small(whole_page: Path) -> None:
    sizes = webpage.download_sizes(whole_page)
    assert sum(sizes.values()) <= MAX_DOWNLOAD
    assert sum(size for name, size in sizes.items() if name.startswith("models/")) <= MAX_MODELS


@pytest.mark.parametrize("graph", ["targets", "step"])
def test_convolutions_have_inputs_in_multiples_of_16(whole_page: Path, graph: str) -> None:
    """onnxruntime-web's 3x3 convolution on WebGPU was wrong for some other numbers of them."""
    manifest = json.loads((whole_page / "models/manifest.json").read_text())
    model = onnx.load(whole_page / "models" / manifest["providers"]["webgpu"][graph], load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    channels = {
        value.name: value.type.tensor_type.shape.dim[1].dim_value
        for value in inferred.value_info
        if len(value.type.tensor_type.shape.dim) == 4
    }
    found = [
        channels[node.input[0]] for node in model.graph.node if node.op_type == "Conv" and node.input[0] in channels
    ]
    assert len(found) > 10
    assert all(count == 3 or count % MULTIPLE == 0 for count in found), found


@pytest.mark.browser
def test_webassembly_optimises_as_python_does(whole_page: Path, tmp_path: Path) -> None:
    content, style = load_image(photo_path("rocket")), load_image(style_path("stained_glass"))
    bundle = Bundle(driver.as_bundle(whole_page / "models", "wasm", tmp_path), 2)
    steps = list(bundle.stylize_steps(content, style, size=128, num_steps=32))
    messages = said(whole_page, "wasm", driver.make_job(content, style, size=128, numSteps=32))
    found = [message["loss"] for message in messages if message["type"] == "step"]
    expected = [step.loss for step in steps]
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    assert found[:10] == pytest.approx(expected[:10], rel=0.2)  # in bytes; in float32 test_web.py has 0.01
    ends = driver.planes(messages[-1]["image"]), steps[-1].image
    distances = [style_distance(image, style) for image in ends]
    assert distances[0] == pytest.approx(distances[1], abs=0.01)


@pytest.mark.browser
def test_webgpu_computes_the_known_stylization(whole_page: Path) -> None:
    """Whether the numbers are right, not how fast: from a provider that is wrong the page falls back, with a reason."""
    (message,) = said(whole_page, "webgpu")
    assert (message["type"], message.get("provider"), message.get("reason")) == ("ready", "webgpu", None)


def style_distance(image: Array, style: Array) -> float:
    image = (image * 255).round().astype(np.float32) / np.float32(255)
    yardstick = Yardstick(torch.from_numpy(image), torch.from_numpy(style), image.shape[2:])
    return yardstick.measure(torch.from_numpy(image)).style
