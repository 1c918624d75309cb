"""What is computed of a picture once and used by later jobs: the same results to the bit, and nothing that stays."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore import objective, reuse
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, run_to_end
from stylecore.images import fit_image, resize_image
from stylecore.job import Job
from stylecore.metrics import Yardstick
from stylecore.presets import make_config
from stylecore.reuse import per_picture, reusing

SMALL: dict[str, Any] = {"size": 128, "num_steps": 4, "device": "cpu", "dtype": "float32"}
MakeImage = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def kept() -> Iterator[Any]:
    """What is known of pictures, of this test's alone."""
    reuse._found.clear()
    yield reuse._found
    reuse._found.clear()


@pytest.mark.parametrize(
    "options",
    [{"loss": "pca"}, {"loss": "svd"}, {"loss": "nnfm"}, {"loss": "weighted"}, {"loss": "w2"},
     {"keep_colors": "match"}, {"preset": "gatys"}, {"target_distance": 0.01}],
    ids=str,
)  # fmt: skip
def test_a_job_that_reuses_what_others_computed_has_the_same_result(
    options: dict[str, Any], make_image: MakeImage, tiny_everywhere: Encoder
) -> None:
    config = make_config(**({"preset": "draft", "encoder": "vgg16"} | SMALL | options))
    encoder = tiny_everywhere
    encoder.pooling = config.pooling
    photos, style = [make_image(160, 200, seed=seed) for seed in range(2)], make_image(180, 150, seed=9)

    def painted(photo: Tensor) -> Tensor:
        job = Job(photo, (style,), config)
        return run_to_end(job, job_steps(job, encoder=encoder)).image

    expected = [painted(photo) for photo in photos]
    with reusing():
        for photo, image in zip([*photos, photos[0]], [*expected, expected[0]], strict=True):
            assert torch.equal(painted(photo), image)
    assert reuse._found


def test_so_has_a_draft_with_its_own_encoder(make_image: MakeImage) -> None:
    config = make_config("draft", **SMALL | {"dtype": "bfloat16"})
    photos, style = [make_image(160, 200, seed=seed) for seed in range(2)], make_image(180, 150, seed=9)
    first, second = (Job(photo, (style,), config) for photo in photos)
    expected = run_to_end(second, job_steps(second)).image
    with reusing():
        run_to_end(first, job_steps(first))
        assert torch.equal(run_to_end(second, job_steps(second)).image, expected)


def test_a_style_at_a_size_is_encoded_once(
    make_image: MakeImage, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[int, ...]] = []
    layer_features = objective.layer_features

    def noted(encoder: Encoder, image: Tensor, *more: Any) -> Any:
        encoded.append(tuple(image.shape))
        return layer_features(encoder, image, *more)

    monkeypatch.setattr(objective, "layer_features", noted)
    config, style = make_config("full", **SMALL, stages=("1:1",)), make_image(100, 128, seed=9)

    def objective_of(size: int, photo: int) -> None:
        objective.make_objective(tiny_encoder, make_image(seed=photo), [fit_image(style, size)], config)

    with reusing():
        for photo in range(3):
            objective_of(64, photo)
        assert len(encoded) == 1
        objective_of(96, 0)
        assert len(encoded) == 2
    objective_of(64, 0)
    assert len(encoded) == 3


@pytest.mark.usefixtures("tiny_stylize")
def test_what_is_known_of_a_picture_goes_with_it(make_image: MakeImage) -> None:
    config = make_config("draft", **SMALL, encoder="vgg16", keep_colors="match")
    photo, style = make_image(160, 200), make_image(180, 150, seed=9)
    with reusing():
        job = Job(photo, (style,), config)
        run_to_end(job, job_steps(job))
        job.settings()
        Yardstick(photo, style, job.size)
        assert len(reuse._found) > 2
        del job, photo, style
        gc.collect()
        assert not reuse._found


def test_outside_everything_is_computed(make_image: MakeImage) -> None:
    image = make_image(64, 64)
    assert resize_image(image, 32, 32) is not resize_image(image, 32, 32)
    assert not reuse._found
    with reusing():
        assert resize_image(image, 32, 32) is resize_image(image, 32, 32)
        assert resize_image(image, 64, 64) is image
    assert resize_image(image, 32, 32) is not resize_image(image, 32, 32)


def test_other_arguments_are_other_results() -> None:
    calls = []

    @per_picture
    def noted(picture: Tensor, number: int, *, more: int = 0) -> int:
        calls.append((number, more))
        return number + more + len(picture)

    one, other = torch.zeros(1, dtype=torch.float32), torch.zeros(2, dtype=torch.float32)
    with reusing():
        for _ in range(2):
            found = [noted(one, 1), noted(one, 2), noted(one, 1, more=5), noted(other, 1)]
    assert found == [2, 3, 7, 3]
    assert len(calls) == 4
