"""The page's engine: its port of the bundle's runtime gives Python's numbers, in Node and in a real browser."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from stylecore_export import webpage
from stylecore_export.pictures import Array, fit, load_image, resize
from stylecore_export.runtime import Bundle, match_colors, plan_stages

from benchmarks import web as driver
from stylecore.config import StylizeConfig
from stylecore.encoders import ENCODERS, load_encoder
from stylecore.encoders.reduce import MULTIPLE, rank_of
from stylecore.errors import OptionError
from stylecore.sample_images import photo_path, style_path
from stylecore.strength import MIDDLE_WEIGHT, strength_of, weight_of
from tools.static_host import serving

# Calls functions of runtime.js, whose pictures travel as base64 of their planes.
NUMBERS = """
import * as runtime from {path};
import {{ readFileSync }} from "node:fs";
const unpack = ({{ width, height, planes }}) => ({{
  width, height, planes: new Float32Array(Uint8Array.from(Buffer.from(planes, "base64")).buffer),
}});
const pack = (value) =>
  value?.planes ? {{ ...value, planes: Buffer.from(value.planes.buffer).toString("base64") }} : value;
const calls = JSON.parse(readFileSync(0, "utf8"));
const results = calls.map(([name, ...values]) =>
  pack(runtime[name](...values.map((value) => (value?.planes ? unpack(value) : value)))),
);
console.log(JSON.stringify(results));
"""


def packed(image: Array) -> dict[str, Any]:
    planes = base64.b64encode(np.ascontiguousarray(image, np.float32).tobytes()).decode()
    return {"width": image.shape[3], "height": image.shape[2], "planes": planes}


def unpacked(value: dict[str, Any]) -> Array:
    planes = np.frombuffer(base64.b64decode(value["planes"]), np.float32)
    return planes.reshape(1, 3, value["height"], value["width"])


@pytest.fixture(scope="module")
def call() -> Callable[..., list[Any]]:
    """call([name, *values], ...) -> what these functions of runtime.js give."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js on this machine")

    def run(*calls: Sequence[Any]) -> list[Any]:
        script = NUMBERS.format(path=json.dumps((webpage.PAGE / "runtime.js").as_uri()))
        command = [node, "--input-type=module", "--no-warnings", "--eval", script]
        done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return run


@pytest.fixture(scope="module")
def photo() -> Array:
    return load_image(photo_path("rocket"))


@pytest.mark.parametrize("name", [name for name, spec in ENCODERS.items() if name != spec.architecture])
def test_shipped_encoders_have_k_in_multiples_of_16(name: str) -> None:
    """onnxruntime-web's 3x3 convolution on WebGPU was wrong for some other numbers of input channels."""
    ranks = {layer: rank_of(conv) for layer, conv in load_encoder(name).convs.items() if layer != "conv1_1"}
    assert all(rank % MULTIPLE == 0 for rank in ranks.values()), ranks


def test_pictures_are_resized_as_pillow_resizes_them(call: Callable[..., list[Any]], photo: Array) -> None:
    small = fit(photo, 96)
    sizes = [(37, 53), (64, 96), (150, 200), (16, 300)]
    found = call(*(["resize", packed(small), height, width] for height, width in sizes), ["fit", packed(small), 41, 30])
    for value, (height, width) in zip(found, sizes, strict=False):
        np.testing.assert_allclose(unpacked(value), resize(small, height, width), atol=1e-6)
    np.testing.assert_allclose(unpacked(found[-1]), fit(small, 41, 30), atol=1e-6)


def test_colours_are_matched_as_python_matches_them(call: Callable[..., list[Any]], photo: Array) -> None:
    content, style = fit(photo, 80), fit(load_image(style_path("stained_glass")), 70)
    grey = np.full((1, 3, 20, 30), 0.5, np.float32)
    pairs = [(content, style), (grey, style), (content, grey)]
    found = call(*(["matchColors", packed(image), packed(reference)] for image, reference in pairs))
    for value, (image, reference) in zip(found, pairs, strict=True):
        np.testing.assert_allclose(unpacked(value), match_colors(image, reference), atol=2e-5)


def test_stages_and_strength_are_planned_as_python_plans_them(call: Callable[..., list[Any]]) -> None:
    recipes = [[(0.5, 10), (1, 22)], [(0.25, 4), (0.5, 6), (1, 10)], [(1, 1)]]
    shapes = [(1, 3, 427, 640), (1, 3, 512, 512), (1, 3, 100, 700)]
    jobs = [(r, s, side, steps) for r in recipes for s in shapes for side in (64, 129, 256) for steps in (1, 2, 7, 32)]
    stages = [[{"scale": scale, "share": share} for scale, share in recipe] for recipe, *_ in jobs]
    calls = [
        ["planStages", of_job, {"width": shape[3], "height": shape[2]}, side, steps]
        for of_job, (_, shape, side, steps) in zip(stages, jobs, strict=True)
    ]
    for found, of_job, (_, shape, side, steps) in zip(call(*calls), stages, jobs, strict=True):
        assert [tuple(stage) for stage in found] == plan_stages(of_job, shape, side, steps)  # type: ignore[arg-type]
    strengths = [0, 1, 33.3, 75, 100]
    weights = call(*(["weightOf", strength, MIDDLE_WEIGHT] for strength in strengths))
    assert weights == pytest.approx([weight_of(strength) for strength in strengths])
    back = call(*(["strengthOf", weight, MIDDLE_WEIGHT] for weight in weights))
    assert back == pytest.approx([strength_of(weight) for weight in weights])


def test_without_npm_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(OptionError, match="install Node"):
        webpage.export_web(tmp_path / "page")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_page_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="is no page"):
        webpage.export_web(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_is_listed_is_what_lies_there(page_folder: Path) -> None:
    listed = json.loads((page_folder / webpage.FILES).read_text())
    paths = {path.relative_to(page_folder).as_posix(): path for path in page_folder.rglob("*") if path.is_file()}
    assert {entry["path"] for entry in listed["files"]} == paths.keys() - {webpage.FILES, webpage.WORKER}
    assert all(paths[entry["path"]].stat().st_size == entry["bytes"] for entry in listed["files"])
    assert {entry.get("provider") for entry in listed["files"]} == {None, "wasm", "webgpu"}
    assert listed == webpage.list_files(page_folder)


@pytest.fixture(scope="session")
def operators(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What onnxruntime-web's published table says that WebGPU computes."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine")
    package = webpage.fetch_runtime(tmp_path_factory.mktemp("runtime"))
    table = webpage.archived(package, "docs/webgpu-operators.md").decode()
    return set(re.findall(r"^\| (\w+) \| ai\.onnx", table, re.MULTILINE))


@pytest.mark.parametrize("graph", ["targets", "step"])
def test_webgpu_has_every_operator_of_its_graphs(page_folder: Path, operators: set[str], graph: str) -> None:
    """One that it lacks would be computed on the CPU, with a wait for the GPU in every step."""
    manifest = json.loads((page_folder / "models/manifest.json").read_text())
    path = page_folder / "models" / manifest["providers"]["webgpu"][graph]
    used = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    assert used <= operators


@pytest.fixture(scope="module")
def run_job(browser: Any) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """run_job(folder, load, job, stop_after) -> what the worker says, in Chromium."""

    def run(folder: Path, *arguments: Any) -> list[dict[str, Any]]:
        with serving(folder) as url:
            page = browser.new_page()
            page.goto(f"{url}LICENSE.txt")
            try:
                return driver.drive(page, *arguments)
            finally:
                page.close()

    return run


def losses(messages: Sequence[dict[str, Any]]) -> list[float]:
    assert messages[-1]["type"] == "done", messages
    return [message["loss"] for message in messages if message["type"] == "step"]


@pytest.fixture
def float_page(page_folder: Path, tmp_path: Path) -> Path:
    """The page whose WebAssembly runs what is WebGPU's elsewhere. In bytes, values at the edge of two fall to either
    side, and after some steps the losses of two machines differ by several percent."""
    folder = tmp_path / "float"
    shutil.copytree(page_folder, folder)
    path = folder / "models/manifest.json"
    manifest = json.loads(path.read_text())
    known = manifest["known"]
    for by_provider in (manifest["providers"], known["losses"], known["image"]):
        by_provider["wasm"] = by_provider["webgpu"]
    path.write_text(json.dumps(manifest))
    return folder


@pytest.mark.browser
def test_a_browser_optimises_as_python_does(
    float_page: Path, run_job: Callable[..., Any], photo: Array, tmp_path: Path
) -> None:
    content, style = rounded(fit(photo, 140)), rounded(fit(load_image(style_path("flow_strokes")), 150))
    bundle = Bundle(driver.as_bundle(float_page / "models", "wasm", tmp_path / "bundle"), 1)
    steps = list(bundle.stylize_steps(content, style, size=128, num_steps=10))
    messages = run_job(float_page, {"provider": "wasm"}, driver.make_job(content, style, size=128, numSteps=10))
    assert losses(messages)[0] == pytest.approx(steps[0].loss, rel=1e-4)
    assert losses(messages) == pytest.approx([step.loss for step in steps], rel=0.01)
    assert np.abs(driver.planes(messages[-1]["image"]) - steps[-1].image).mean() < 0.01
    record = messages[-1]["record"]
    assert (record["num_steps"], record["size"], len(record["milliseconds"])) == (10, 128, 10)
    StylizeConfig.from_dict(record["config"])


@pytest.mark.browser
@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_are_multiplied_as_in_python(
    page_folder: Path, run_job: Callable[..., Any], photo: Array, tmp_path: Path, threads: int
) -> None:
    image = rounded(fit(photo, 96))
    bundle = Bundle(driver.as_bundle(page_folder / "models", "wasm", tmp_path), 1)
    (step,) = bundle.stylize_steps(image, image[:, :, ::-1], size=96, num_steps=1)
    job = driver.make_job(image, image[:, :, ::-1], size=96, numSteps=1)
    messages = run_job(page_folder, {"provider": "wasm", "maxThreads": threads}, job)
    assert (messages[0]["provider"], messages[0]["threads"]) == ("wasm", threads)
    assert losses(messages) == pytest.approx([step.loss], rel=1e-4)
    assert np.abs(driver.planes(messages[-1]["image"]) - step.image).mean() < 0.01


@pytest.mark.browser
def test_stop_gives_the_last_image(page_folder: Path, run_job: Callable[..., Any], photo: Array) -> None:
    job = driver.make_job(rounded(fit(photo, 96)), rounded(fit(photo, 64)), size=96, numSteps=500)
    messages = run_job(page_folder, {"provider": "wasm"}, job, 2)
    assert messages[-1]["stopped"]
    assert 2 <= messages[-1]["record"]["num_steps"] < 500
    assert driver.planes(messages[-1]["image"]).std() > 0.01


@pytest.mark.browser
@pytest.mark.parametrize("fault", ["cut", "changed", "missing", "format", "wrong"])
def test_models_that_are_not_the_pages_are_refused(
    page_folder: Path, run_job: Callable[..., Any], tmp_path: Path, fault: str
) -> None:
    """Damaged files by their checksums, and a provider that computes something else by the known stylization."""
    folder = tmp_path / "page"
    shutil.copytree(page_folder, folder)
    weights, manifest = folder / "models/weights.bin", folder / "models/manifest.json"
    data, said = bytearray(weights.read_bytes()), json.loads(manifest.read_text())
    if fault == "cut":
        weights.write_bytes(data[:-8])
    elif fault == "changed":
        data[len(data) // 2] ^= 255
        weights.write_bytes(data)
    elif fault == "missing":
        weights.unlink()
    elif fault == "format":
        manifest.write_text(json.dumps(said | {"format": 99}))
    else:
        said["known"]["losses"]["wasm"][1] *= 1.2
        manifest.write_text(json.dumps(said))
    (message,) = run_job(folder, {"provider": "wasm"})
    assert (message["type"], message["code"]) == ("error", "model")
    assert message["message"].endswith(".")


def rounded(image: Array) -> Array:
    """As a browser has it: bytes."""
    return (image * 255).round().astype(np.float32) / np.float32(255)
