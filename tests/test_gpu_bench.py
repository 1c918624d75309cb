"""`make gpu`: what it counts on paper, and the command itself as far as a machine without a GPU goes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import counts, measure
from benchmarks.gpu.__main__ import run
from benchmarks.gpu.paper import to_markdown
from stylecore.encoders import Encoder, load_encoder
from stylecore.losses import gram_loss
from stylecore.losses.statistics import gram_matrix
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["vgg16", "vgg16-x3"])
def test_multiplications_are_those_that_torch_counts(name: str, make_image: MakeImage) -> None:
    encoder, layers = load_encoder(name), list(make_config("standard").style_layers)
    image = make_image(64, 64).requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        features = encoder(image, layers)
        loss = sum(gram_loss(features[layer], gram_matrix(features[layer]).detach()) for layer in layers)
        loss.backward()
    parts = [*counts.encoder_work(encoder, 64), *counts.gram_work(layers, 64)]
    targets = sum(part.multiplications for part in counts.gram_work(layers, 64)) / 2  # of the targets made above
    assert 2 * (sum(part.multiplications for part in parts) + targets) == counter.get_total_flops()


def test_a_faster_card_is_never_slower_and_four_times_the_pixels_take_four_times_as_long(vgg16: Encoder) -> None:
    small, large = (counts.round_work(vgg16, side) for side in (512, 1024))
    h100, l4 = (next(card for card in counts.CARDS if card.name.endswith(name)) for name in ("H100", "L4"))
    assert counts.least_seconds(small, h100) < counts.least_seconds(small, l4)
    assert counts.least_seconds(large, h100) == pytest.approx(4 * counts.least_seconds(small, h100), rel=0.1)


def test_launches_are_as_many_whatever_the_memory_holds(tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_encoder.to("meta")
    monkeypatch.setattr(counts, "make_config", lambda *given, **more: make_config(*given, **more, history_size=3))
    few = counts.count_launches(encoder, 64)
    monkeypatch.undo()
    assert few == counts.count_launches(encoder, 128) > 100


def test_the_page_in_docs_is_the_one_that_the_command_writes() -> None:
    assert (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8") == to_markdown()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr == "There is no device 'cuda' here: run make gpu on a machine with an NVIDIA GPU.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_every_part_runs_on_any_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PRESETS": ("draft",), "SIZES_PX": (64,), "WARM_RUNS": 0, "RUNS": 1}.items():
        monkeypatch.setattr(measure, name, value)
    record = run(torch.device("cpu"), tmp_path, quick=True)
    assert json.loads((tmp_path / "gpu.json").read_text()) == record
    page = (tmp_path / "gpu.md").read_text()
    assert all(heading in page for heading in ("## Tests", "## The same pictures", "## Presets", "## Memory"))
    assert record["parity"][0]["within"]
