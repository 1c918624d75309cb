"""Pictures to a device and frames from it. What only CUDA does is in test_cuda.py."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from demo import live
from stylecore import devices
from stylecore.devices import Fetched, send_image
from stylecore.images import load_image
from stylecore.job import Job
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_picture_arrives_to_the_bit_and_travels_as_bytes_if_it_can(
    monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    values = np.random.default_rng(0).random((24, 32, 3))
    image = load_image((values * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype))
    sent: list[torch.dtype] = []

    def send(values: Tensor, device: torch.device) -> Tensor:  # noqa: ARG001
        sent.append(values.dtype)
        return values

    monkeypatch.setattr(devices, "send", send)
    assert torch.equal(send_image(image, torch.device("meta")), image)
    assert sent == [torch.uint8 if dtype == np.uint8 else torch.float32]


class Slow(Fetched):
    """Comes after two looks."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(values.clone())
        self.looks = 0

    @property
    def is_here(self) -> bool:
        self.looks += 1
        return self.looks > 2


@pytest.fixture
def frames(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> Iterator[live.Frame]:
    """Of a job whose images take two steps to come, with nobody to slow it down."""
    monkeypatch.setattr(live, "Fetched", Slow)
    monkeypatch.setattr(live, "FRAME_INTERVAL_S", 0.0)
    config = make_config("draft", size=64)
    return live.run_job(Job(make_image(64, 64), (make_image(64, 80, seed=1),), config))


def test_frames_are_of_their_own_step_however_late_they_come(frames: Iterator[live.Frame]) -> None:
    shown = list(frames)
    steps = [frame.step for frame in shown]
    last = steps[-1]
    assert steps == [0, *range(1, last - 2, 3), last, last]
    assert all(len(frame.losses) == frame.step for frame in shown)
    assert len({frame.image.sum().item() for frame in shown[:-1]}) == len(shown) - 1
