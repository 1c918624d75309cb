"""Shared fixtures. Importing stylecore here, under jaxtyping's hook, checks every annotated shape in every test."""

import copy
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jaxtyping
import pytest
from jaxtyping import install_import_hook

# Stays installed: what is imported within tests is checked too, which is all that needs the extra `export`.
install_import_hook(["stylecore", "stylecore_export"], "typechecker.check")

import torch
from paths import free_port
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder, architecture_of, load_encoder
from stylecore.images import save_image
from stylecore.sample_images import load_photo, load_style
from tools.chromium import CHROMIUM, chromium


def pytest_configure() -> None:
    # Shells start what runs in the background with Ctrl-C ignored, and so would be all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


# Tests of a server, whose answers are due within seconds: one after the other, never two of them at a time.
OF_A_SERVER = ("test_demo_", "test_hosting", "test_hostile_server", "test_killed_server", "test_wheel")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (make test), a file's tests stay together for their fixtures' sake."""
    for item in items:
        group = "server" if item.path.name.startswith(OF_A_SERVER) else item.path.stem
        group = "web" if group.startswith("test_web") else group
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As in a user's program, without the run-time type checker."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def make_image() -> Callable[..., Tensor]:
    """make_image(height, width, seed) -> a smooth random image (1, 3, H, W) in [0, 1]."""

    def make(height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
        noise = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        return nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)

    return make


@pytest.fixture
def one_conv_encoder() -> Encoder:
    """conv1_1 alone, 8 random channels: enough for any loss, and no weights file."""
    torch.manual_seed(0)
    return Encoder("vgg16", {"conv1_1": nn.Conv2d(3, 8, 3, padding=1)})


@pytest.fixture(scope="session")
def shared_tiny_encoder() -> Encoder:
    """All of VGG-16's layers with 6 random channels each: the engine's paths in milliseconds. Not to be changed."""
    torch.manual_seed(0)
    layers = architecture_of("vgg16").convs
    convs = {str(layer): nn.Conv2d(6 if number else 3, 6, 3, padding=1) for number, layer in enumerate(layers)}
    for conv in convs.values():
        nn.init.kaiming_normal_(conv.weight)
    return Encoder("vgg16", convs, normalization="torchvision")


@pytest.fixture
def tiny_encoder(shared_tiny_encoder: Encoder) -> Encoder:
    """A copy for one test."""
    return copy.deepcopy(shared_tiny_encoder)


@pytest.fixture
def prepare_tiny(tiny_encoder: Encoder) -> Callable[..., Encoder]:
    """In the place of `prepare_encoder`: the tiny encoder under the name that a config asks for."""

    def prepare(config: StylizeConfig, *_: object) -> Encoder:
        tiny_encoder.name = config.encoder
        return tiny_encoder

    return prepare


@pytest.fixture
def tiny_everywhere(monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoder) -> Encoder:
    """The tiny encoder, which is the yardstick's too, and no warming up: a comparison in milliseconds."""
    monkeypatch.setattr("stylecore.metrics.yardstick_encoder", lambda _: tiny_encoder)
    monkeypatch.setattr("stylecore.compare.warm_up", lambda *_: None)
    return tiny_encoder


@pytest.fixture
def tiny_stylize(
    monkeypatch: pytest.MonkeyPatch, prepare_tiny: Callable[..., Encoder], tiny_everywhere: Encoder
) -> Encoder:
    """`stylecore stylize` with the tiny encoder, which is the yardstick's too."""
    for module in ("engine", "cli.stylize"):
        monkeypatch.setattr(f"stylecore.{module}.prepare_encoder", prepare_tiny)
    return tiny_everywhere


@pytest.fixture(scope="session")
def vgg16() -> Encoder:
    """The bundled encoder, float32 on the CPU."""
    return load_encoder("vgg16")


@pytest.fixture(scope="session")
def astronaut() -> Tensor:
    """A real photo, (1, 3, 512, 512)."""
    return load_photo("astronaut")


@pytest.fixture(scope="session")
def flow_strokes() -> Tensor:
    """A drawn style, (1, 3, 614, 768)."""
    return load_style("flow_strokes")


@pytest.fixture(scope="module")
def quick_export() -> Iterator[None]:
    """The demo's models are measured on two images, and its bundle paints with four steps."""
    from demo.server.export_package import import_export

    benchmark, bundle = import_export("benchmark"), import_export("bundle")
    images = benchmark.bench_images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "bench_images", lambda size_px: images(size_px)[:2])
        patch.setitem(bundle.DEFAULTS["projected"], "num_steps", 4)
        yield


@pytest.fixture(scope="module")
def serve_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SimpleNamespace]]:
    """serve_demo(**options of launch) -> a demo served here until the module ends: app, url, public_url, its folder."""
    from demo.app import build_app, launch
    from demo.server.settings import Settings

    apps = []

    def serve(**options: Any) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("demo")
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        settings = Settings.read(shared_results=folder / "shared_results", models=folder / "models")
        apps.append(build_app(settings))
        url, public_url = launch(apps[-1], settings, host="127.0.0.1", port=free_port(), **options)
        return SimpleNamespace(app=apps[-1], url=url.rstrip("/"), public_url=public_url, folder=folder)

    with pytest.MonkeyPatch.context() as patch:
        yield serve
        for app in apps:
            app.close()


# ---- what the tests of a served page share


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    """A file to stylize."""
    return save_image(make_image(), tmp_path / "photo.png")


@pytest.fixture
def style(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    """A file to take the style from."""
    return save_image(make_image(seed=1), tmp_path / "style.png")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file that is no picture, whatever its name says."""
    path = tmp_path / "broken.png"
    path.write_text("no picture at all")
    return path


@pytest.fixture(scope="module")
def url(serve_demo: Callable[..., SimpleNamespace]) -> str:
    """Where the demo is served."""
    return str(serve_demo().url)


@pytest.fixture
def client(url: str, tmp_path: Path) -> Any:
    """The client library's, of the served demo."""
    from gradio_client import Client  # of the extra `demo`

    return Client(url, verbose=False, download_files=str(tmp_path / "downloads"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the page tells the visitor beside the frames of a worker."""
    from demo.server import workers  # needs the extra `demo`

    found: list[str] = []
    monkeypatch.setattr(workers.gr, "Info", found.append)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with chromium() as found:
        yield found
