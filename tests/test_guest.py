"""A guest in somebody's program: whatever state the host has given torch, results are the same and the state stays."""

import copy
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecore import engine, metrics
from stylecore.encoders import Encoder, load_encoder, make_conv
from stylecore.encoders.distill import distill
from stylecore.engine import kept_encoder, stylize, stylize_steps
from stylecore.errors import ImageError
from stylecore.images import load_image
from stylecore.losses import STYLE_LOSSES
from stylecore.metrics import style_distance, yardstick_encoder
from stylecore.optimizers import inverse_frequencies
from stylecore.presets import make_config

pytestmark = pytest.mark.usefixtures("unchecked")  # the type checker draws random numbers
MakeImage = Callable[..., Tensor]
QUICK = {"preset": "draft", "size": 64, "num_steps": 2, "device": "cpu", "dtype": "float32"}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


HOSTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype float16": lambda: default_dtype(torch.float16),
}


@pytest.fixture
def fresh_caches() -> Iterator[None]:
    """Nothing loaded before the test serves it, nor the tests after it."""
    caches = (kept_encoder, yardstick_encoder, inverse_frequencies)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def state() -> tuple[object, ...]:
    """What a host may have set, as far as it is ours to spoil."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[union-attr,index]
        list(warnings.filters),
    )


@pytest.mark.usefixtures("fresh_caches")
@pytest.mark.parametrize("host", HOSTS)
def test_the_result_is_the_same_and_the_host_is_left_alone(host: str, make_image: MakeImage) -> None:
    content, style = make_image(), make_image(seed=1)
    with HOSTS[host]():
        before = state()
        inside = stylize(content, style, **QUICK)
        distances = inside.distances
        assert state() == before
    outside = stylize(content, style, **QUICK)  # by the encoder that was loaded inside
    assert torch.equal(inside.image, outside.image)
    assert distances == outside.distances
    assert inside.image.dtype == torch.float32


@pytest.mark.parametrize("host", HOSTS)
def test_so_where_the_colours_are_matched_before_the_first_step(
    host: str, make_image: MakeImage, prepare_tiny: Callable[..., Encoder]
) -> None:
    config = make_config("gatys", size=64, num_steps=1, keep_colors="match")
    encoder, content, style = prepare_tiny(config), make_image(), make_image(seed=1)
    expected = stylize(content, style, config, encoder=encoder).image
    with HOSTS[host]():
        assert torch.equal(stylize(content, style, config, encoder=encoder).image, expected)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("loss", STYLE_LOSSES)
def test_so_with_every_loss_and_an_optimizer(
    host: str, loss: str, make_image: MakeImage, prepare_tiny: Callable[..., Encoder]
) -> None:
    optimizer = ("lbfgs", "adam", "projected")[list(STYLE_LOSSES).index(loss) % 3]
    config = make_config("gatys", size=64, num_steps=3, loss=loss, optimizer=optimizer, init="noise", components="50%")
    encoder = prepare_tiny(config)

    content, style = make_image(), make_image(seed=1)

    def paint() -> Tensor:
        return stylize(content, style, config, encoder=encoder).image

    expected = paint()
    with HOSTS[host]():
        before = state()
        painted = paint()
        assert state() == before
    assert torch.equal(painted, expected)


def test_pictures_made_in_inference_mode_serve_outside_of_it(
    make_image: MakeImage, prepare_tiny: Callable[..., Encoder]
) -> None:
    """As a ComfyUI node has it: (1, H, W, 3), and the nodes run in inference mode."""
    config = make_config("gatys", size=64, num_steps=2)
    with torch.inference_mode():
        node = make_image().permute(0, 2, 3, 1).clone()
        loaded = load_image(Image.new("RGB", (40, 40), "red"))
    assert node.is_inference()
    assert not loaded.is_inference()
    steps = stylize_steps(node, loaded, config, encoder=prepare_tiny(config), start=node)
    assert len(list(steps)) == 2


def test_between_two_steps_the_host_has_its_own_state(
    make_image: MakeImage, prepare_tiny: Callable[..., Encoder]
) -> None:
    config = make_config("gatys", size=64, num_steps=3)
    steps = stylize_steps(make_image(), make_image(seed=1), config, encoder=prepare_tiny(config))
    with torch.no_grad():
        next(steps)
        assert not torch.is_grad_enabled()
        with torch.inference_mode():
            next(steps)
            assert torch.is_inference_mode_enabled()
    next(steps)
    assert torch.is_grad_enabled()
    steps.close()


def test_a_failed_call_leaves_nothing_broken(
    make_image: MakeImage, prepare_tiny: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("gatys", size=64, num_steps=2)
    encoder = prepare_tiny(config)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("somebody pulled the plug")

    with torch.inference_mode():
        before = state()
        with monkeypatch.context() as patch:
            patch.setattr(engine, "make_optimizer", fail)
            with pytest.raises(RuntimeError, match="pulled the plug"):
                stylize(make_image(), make_image(seed=1), config, encoder=encoder)
        with pytest.raises(ImageError):
            style_distance(torch.full((1, 3, 32, 32), torch.nan), make_image())
        assert state() == before
    assert stylize(make_image(), make_image(seed=1), config, encoder=encoder).num_steps == 2


def test_loading_draws_no_random_numbers_and_copies_the_weights() -> None:
    weight, bias = torch.ones(2, 3, 3, 3, dtype=torch.float64), torch.zeros(2)
    before = state()
    conv = make_conv(weight, bias)
    load_encoder("vgg16-x3")
    assert state() == before
    weight.zero_()
    assert conv.weight.dtype == torch.float32
    assert float(conv.weight.sum()) == 54
    assert not any(parameter.requires_grad for parameter in conv.parameters())


def test_distillation_needs_no_gradients_of_its_host(make_image: MakeImage, tiny_encoder: Encoder) -> None:
    student = copy.deepcopy(tiny_encoder)
    with torch.no_grad():
        losses = list(distill(student, tiny_encoder, [make_image()], num_steps=1))
        assert not torch.is_grad_enabled()
    assert len(losses) == 1


def test_threads_that_load_pictures_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    image = Image.new("RGB", (200, 200))
    threads = [threading.Thread(target=lambda: [load_image(image) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_the_yardsticks_encoder_is_not_the_hosts_to_change() -> None:
    with torch.inference_mode(), default_dtype(torch.float64):
        metrics.yardstick_encoder.cache_clear()
        encoder = metrics.yardstick_encoder(torch.device("cpu"))
    metrics.yardstick_encoder.cache_clear()
    assert encoder.mean.dtype == encoder.dtype == torch.float32
    assert not encoder.mean.is_inference()
