"""What only a GPU can show (make gpu); skipped, each by name, where there is none."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore import loop, stylize
from stylecore.config import Stage
from stylecore.devices import Fetched, send_image
from stylecore.encoders import load_encoder
from stylecore.engine import job_steps, job_yardstick, run_to_end
from stylecore.images import resize_image
from stylecore.job import Job
from stylecore.losses import STYLE_LOSSES
from stylecore.presets import make_config
from stylecore.sample_images import load_photo, load_style

MakeImage = Callable[..., Tensor]

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a GPU with CUDA: make gpu on a machine that has one"
    ),
]
ONE_STAGE = {"stages": (Stage(1.0, 1.0),), "num_steps": 24, "size": 128, "device": "cuda"}


@pytest.mark.parametrize("loss", STYLE_LOSSES)
def test_every_loss_gives_the_cpus_picture(loss: str) -> None:
    """After a few evaluations, before rounding has grown."""
    pictures = load_photo("astronaut"), load_style("flow_strokes")
    options = {"preset": "draft", "loss": loss, "dtype": "float32", "num_steps": 6, "size": 128}
    here, there = (stylize(*pictures, device=device, **options) for device in ("cuda", "cpu"))
    assert here.style_distance == pytest.approx(there.style_distance, abs=0.01)
    assert here.content_distance == pytest.approx(there.content_distance, abs=0.02)


@pytest.mark.parametrize("preset", ["standard", "gatys"])
def test_rounds_are_captured_and_make_the_same_picture(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captures = []
    capture = loop.capture
    monkeypatch.setattr(loop, "capture", lambda *given: captures.append(1) or capture(*given))
    pictures, config = (load_photo("rocket"), load_style("stained_glass")), make_config(preset, **ONE_STAGE)
    job = Job(pictures[0], pictures[1:], config)
    replayed = run_to_end(job, job_steps(job))
    assert captures
    monkeypatch.setattr(loop.Rounds, "can_be_captured", False)
    made = run_to_end(job, job_steps(job))
    yardstick = job_yardstick(job)
    assert yardstick.measure(replayed.image).style == pytest.approx(yardstick.measure(made.image).style, abs=0.005)


def test_losses_and_images_of_steps_that_were_kept_stay_as_they_were(make_image: MakeImage) -> None:
    """A replay writes where the one before it wrote."""
    config = make_config("standard", **ONE_STAGE)
    steps = list(job_steps(Job(make_image(64, 64), (make_image(64, 64, seed=1),), config)))
    totals = torch.stack([step.losses.total for step in steps]).tolist()
    assert len(set(totals)) > len(totals) / 2
    assert not torch.equal(steps[-1].image, steps[-2].image)


def test_bfloat16_and_float32_agree(make_image: MakeImage) -> None:
    image = make_image(128, 128)
    encoders = [load_encoder(device=torch.device("cuda"), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    exact, rounded = (encoder(image.cuda(), ["relu4_1"])["relu4_1"].float() for encoder in encoders)
    assert float((exact - rounded).norm() / exact.norm()) < 0.02


def test_a_frame_comes_back_as_it_was_while_the_device_goes_on() -> None:
    image = torch.rand(1, 3, 512, 512, device="cuda")
    expected = image.cpu()
    fetched = Fetched(image)
    for _ in range(100):
        image = image @ torch.rand(512, 512, device="cuda")
    assert torch.equal(fetched.values, expected)
    assert fetched.is_here


def test_pictures_are_resized_on_the_device_as_on_the_cpu(make_image: MakeImage) -> None:
    image = make_image(200, 300)
    there = send_image(image, torch.device("cuda"))
    torch.testing.assert_close(resize_image(there, 96, 144).cpu(), resize_image(image, 96, 144), atol=1e-5, rtol=0)
