"""The yardstick against its formula, and that nothing but the saved pixels can move it."""

import inspect
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecore import metrics
from stylecore.encoders import Encoder, load_encoder
from stylecore.engine import job_yardstick
from stylecore.errors import ImageError, OptionError
from stylecore.images import load_image, quantize, save_image
from stylecore.metrics import (
    STYLE_LAYERS,
    WITNESS_LAYERS,
    Yardstick,
    content_distance,
    style_distance,
    yardstick_encoder,
)


@pytest.fixture(scope="module")
def photo(astronaut: Tensor) -> Tensor:
    """(1, 3, 96, 128), 8-bit."""
    return astronaut[:, :, 20:116, 160:288].contiguous()


@pytest.fixture(scope="module")
def painting() -> Tensor:
    """(1, 3, 96, 128), 8-bit: curling stripes in few colours, nothing like the photo."""
    y, x = np.mgrid[0:96, 0:128]
    phase = np.sin(x / 9 + 3 * np.sin(y / 17)) + np.cos(y / 7 + 2 * np.sin(x / 23))
    channels = [np.sign(np.sin(4 * phase + shift)) * 90 + 128 for shift in (0.0, 0.5, 2.0)]
    return load_image(Image.fromarray(np.stack(channels, axis=2).astype(np.uint8)))


def pil_resize(image: Tensor, height: int, width: int) -> Tensor:
    """Lanczos, channel by channel, of values in 0..255: on its own, so as not to judge `resize_image` by itself."""
    planes = [
        np.asarray(Image.fromarray(plane * 255).resize((width, height), Image.Resampling.LANCZOS)) / 255
        for plane in image[0].numpy()
    ]
    return torch.from_numpy(np.stack(planes)).unsqueeze(0).clamp(0, 1)


def by_hand(image: Tensor, content: Tensor, style: Tensor, vgg16: Encoder) -> tuple[float, float, float]:
    """Style, content and witness distance in float64, straight from the formulas; everything resized already."""
    layers = (*STYLE_LAYERS, *WITNESS_LAYERS, "relu4_2")
    ours, theirs, photos = (
        {layer: values[0].double() for layer, values in vgg16(picture, layers).items()}
        for picture in (image, style, content)
    )

    def gram_distance(layer: str) -> float:
        maps = (ours[layer], theirs[layer])
        gram, target = (torch.einsum("ihw,jhw->ij", f, f) / (f.shape[1] * f.shape[2]) for f in maps)
        return math.sqrt(float(((gram - target) ** 2).sum())) / math.sqrt(float((target**2).sum()))

    residual = ours["relu4_2"] - photos["relu4_2"]
    return (
        sum(gram_distance(layer) for layer in STYLE_LAYERS) / 5,
        math.sqrt(float((residual**2).sum())) / math.sqrt(float((photos["relu4_2"] ** 2).sum())),
        sum(gram_distance(layer) for layer in WITNESS_LAYERS) / 4,
    )


def test_the_layers_are_the_agreed_ones() -> None:
    assert STYLE_LAYERS == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    assert WITNESS_LAYERS == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def test_the_distances_are_the_formulas(photo: Tensor, painting: Tensor, vgg16: Encoder) -> None:
    """The result is half as large as its content, its style has another aspect: both are resized as agreed."""
    style = painting[:, :, :60]  # 60x128 -> longer side 64: 30x64
    result = quantize(pil_resize(0.5 * photo + 0.5 * painting, 48, 64))
    expected = by_hand(result, pil_resize(photo, 48, 64), pil_resize(style, 30, 64), vgg16)
    distances = Yardstick(photo, [style], (48, 64)).measure(result)
    assert (distances.style, distances.content, distances.witness) == pytest.approx(expected, rel=1e-4)
    assert style_distance(result, style) == pytest.approx(expected[0], rel=1e-4)
    assert content_distance(result, photo) == pytest.approx(expected[1], rel=1e-4)


def test_the_style_itself_is_at_style_distance_0(photo: Tensor, painting: Tensor) -> None:
    distances = Yardstick(photo, [painting], (96, 128)).measure(painting)
    assert distances.style == pytest.approx(0, abs=1e-6)
    assert distances.witness == pytest.approx(0, abs=1e-6)
    assert distances.content > 0.5


def test_the_photo_itself_is_at_content_distance_0(photo: Tensor, painting: Tensor) -> None:
    distances = Yardstick(photo, [painting], (96, 128)).measure(photo)
    assert distances.content == pytest.approx(0, abs=1e-6)
    assert distances.style > 0.3
    assert distances.witness > 0.3


def test_blending_from_photo_to_painting_moves_from_one_end_to_the_other(photo: Tensor, painting: Tensor) -> None:
    yardstick = Yardstick(photo, [painting], (96, 128))
    path = [yardstick.measure(torch.lerp(photo, painting, t)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    content = [distances.content for distances in path]
    assert content == sorted(content)
    style = [distances.style for distances in path]
    assert style[0] > style[2] > style[3] > style[4]


def test_only_8_bit_values_count(photo: Tensor, painting: Tensor) -> None:
    yardstick = Yardstick(photo, [painting], (96, 128))
    below_half_a_level = (torch.rand(photo.shape, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.98 / 255
    assert yardstick.measure(photo + below_half_a_level) == yardstick.measure(photo)
    assert yardstick.measure(photo + 2 / 255) != yardstick.measure(photo)


def test_values_that_cannot_be_saved_are_refused_as_saving_does(photo: Tensor, painting: Tensor) -> None:
    yardstick = Yardstick(photo, [painting], (96, 128))
    for wild in (photo * 255, photo * 2 - 1, (photo - 0.45) / 0.225, photo / 0):
        with pytest.raises(ImageError, match=r"\[0, 1\]"):
            yardstick.measure(wild)


def test_what_is_measured_is_what_lies_in_the_file(photo: Tensor, painting: Tensor, tmp_path: object) -> None:
    blend = torch.lerp(photo, painting, 0.3)
    saved = load_image(save_image(blend, f"{tmp_path}/out.png"))
    assert style_distance(saved, painting) == pytest.approx(style_distance(blend, painting), rel=1e-6)


def test_moving_a_painting_changes_its_content_far_more_than_its_style(photo: Tensor, painting: Tensor) -> None:
    """By whole periods of the pooling; the seam where it wraps around is all that is new."""
    moved = painting.roll((16, 32), dims=(2, 3))
    distances = Yardstick(painting, [painting], (96, 128)).measure(moved)
    assert distances.style < distances.content / 4
    assert distances.style < Yardstick(painting, [painting], (96, 128)).measure(photo).style / 3


def test_several_styles_give_the_mean_of_their_distances_by_weight(photo: Tensor, painting: Tensor) -> None:
    other = photo.flip(2)
    blend = torch.lerp(photo, painting, 0.5)
    first, second = style_distance(blend, painting), style_distance(blend, other)
    assert abs(first - second) > 0.01
    assert style_distance(blend, [painting, other]) == pytest.approx((first + second) / 2)
    assert style_distance(blend, [painting, other], (3, 1)) == pytest.approx(0.75 * first + 0.25 * second)
    assert style_distance(blend, [painting, other], (0.3, 0.1)) == pytest.approx(0.75 * first + 0.25 * second)
    assert style_distance(blend, [painting, other], (1, 0)) == pytest.approx(first)
    assert style_distance(blend, [painting, other], ()) == pytest.approx((first + second) / 2)


def test_as_many_weights_as_styles(photo: Tensor, painting: Tensor) -> None:
    with pytest.raises(OptionError, match="1 style weights were given for 2 style images"):
        style_distance(photo, [painting, photo], (1.0,))


@pytest.mark.parametrize("size", [(128, 96), (95, 128), (48, 64)])
def test_an_image_of_another_size_is_refused(photo: Tensor, painting: Tensor, size: tuple[int, int]) -> None:
    yardstick = Yardstick(photo, [painting], (96, 128))
    with pytest.raises(ImageError, match=r"\(96, 128\)"):
        yardstick.measure(torch.zeros(1, 3, *size))


@pytest.fixture
def fresh_yardstick_encoder() -> Iterator[None]:
    yardstick_encoder.cache_clear()
    yield
    yardstick_encoder.cache_clear()


@pytest.mark.usefixtures("fresh_yardstick_encoder")
def test_the_yardstick_is_the_bundled_encoder_whatever_else_was_loaded(vgg16: Encoder) -> None:
    for pooling, dtype in [("average", torch.float32), ("max", torch.bfloat16)]:
        load_encoder("vgg16", pooling=pooling, dtype=dtype)
    encoder = yardstick_encoder(torch.device("cpu"))
    assert (encoder.name, encoder.pooling, encoder.dtype) == ("vgg16", "max", torch.float32)
    assert encoder.checksum == vgg16.checksum
    assert yardstick_encoder(torch.device("cpu")) is encoder


def test_no_caller_can_lend_the_yardstick_another_encoder() -> None:
    for measure in (Yardstick, job_yardstick, style_distance, content_distance):
        assert not {"encoder", "layers", "pooling", "config"} & set(inspect.signature(measure).parameters)


def test_the_bundled_encoder_is_asked_for_by_name_alone(monkeypatch: pytest.MonkeyPatch, vgg16: Encoder) -> None:
    asked: list[tuple[tuple[object, ...], dict[str, object]]] = []

    def record(*args: object, **kwargs: object) -> Encoder:
        asked.append((args, kwargs))
        return vgg16

    monkeypatch.setattr(metrics, "load_encoder", record)
    yardstick_encoder.__wrapped__(torch.device("cpu"))
    assert asked == [(("vgg16",), {"device": torch.device("cpu")})]


def test_the_dtype_of_the_image_does_not_matter(photo: Tensor, painting: Tensor) -> None:
    assert style_distance(photo.double(), painting) == pytest.approx(style_distance(photo, painting), rel=1e-6)


def test_measuring_leaves_no_graph_and_needs_no_detached_image(photo: Tensor, painting: Tensor) -> None:
    watched = photo.clone().requires_grad_(True)
    assert style_distance(watched, painting) == style_distance(photo, painting)


def test_a_black_image_has_finite_distances(photo: Tensor, painting: Tensor) -> None:
    black = torch.zeros_like(photo)
    for distances in (
        Yardstick(photo, [painting], (96, 128)).measure(black),
        Yardstick(black, [black], (96, 128)).measure(photo),
    ):
        assert all(math.isfinite(value) for value in (distances.style, distances.content, distances.witness))
