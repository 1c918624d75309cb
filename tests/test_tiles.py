"""Tiles give the features, losses and gradients that the whole picture has."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore import OptionError, make_config
from stylecore.encoders import Encoder, load_encoder
from stylecore.images import LEVELS, image_size
from stylecore.losses import STYLE_LOSSES
from stylecore.objective import Evaluation, StyleTerm, make_objective
from stylecore.tiles import Box, encode, margin_px, margins_share, plan_tiles

MakeImage = Callable[..., Tensor]
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
AWKWARD = [(150, 233), (97, 260), (256, 129)]  # no side is a multiple of 16, or one is just above
ADDITIVE = [name for name, loss in STYLE_LOSSES.items() if loss.adds_up(make_config())]
CLOSE = 1e-3  # of the gradient, in float32


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_tiles_cover_an_image_once_and_begin_at_pooling_windows(tiny_encoder: Encoder) -> None:
    for size in (*AWKWARD, (64, 64), (16, 500)):
        tiles = plan_tiles(size, 64, tiny_encoder, LAYERS)
        seen = torch.zeros(size)
        for tile in tiles:
            tile.inner.of(seen).add_(1)
            assert tile.outer.top % 16 == tile.outer.left % 16 == 0
            assert tile.inner.top - tile.outer.top in (0, 64)
        assert bool((seen == 1).all())
    assert margins_share(plan_tiles((64, 64), 64, tiny_encoder, LAYERS)) == 0
    assert margins_share(plan_tiles((150, 233), 64, tiny_encoder, LAYERS)) > 1


def test_the_margin_is_what_a_feature_sees(tiny_encoder: Encoder) -> None:
    """58 px beyond its own 16 for relu5_1, rounded up: not one pixel further away has a gradient."""
    assert margin_px(tiny_encoder, LAYERS) == 64
    assert margin_px(tiny_encoder, ["relu1_1"]) == 1
    image = torch.rand(1, 3, 240, 240, requires_grad=True)
    features = tiny_encoder(image, ["relu5_1"])["relu5_1"]
    (gradient,) = torch.autograd.grad(features[:, :, 7, 7].sum(), image)
    rows = gradient.abs().sum((0, 1, 3)).nonzero()
    assert int(rows.min()) >= 112 - 58
    assert int(rows.max()) < 128 + 58


@pytest.mark.slow
@pytest.mark.parametrize("size", AWKWARD)
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_tiles_have_the_features_of_the_whole(
    make_image: MakeImage, tiny_encoder: Encoder, size: tuple[int, int], pooling: Any
) -> None:
    """Bit for bit but for the order in which a convolution sums."""
    tiny_encoder.pooling = pooling
    image = make_image(*size)
    whole, tiled = tiny_encoder(image, LAYERS), encode(tiny_encoder, image, LAYERS, 64)
    for layer in LAYERS:
        torch.testing.assert_close(tiled[layer], whole[layer], rtol=1e-5, atol=1e-5)


def test_a_tile_keeps_nothing_of_its_margin_and_its_positions_flatten_without_a_copy(make_image: MakeImage) -> None:
    encoder, image = load_encoder("vgg16-x3"), make_image(240, 256)
    tile = plan_tiles(image_size(image), 128, encoder, LAYERS)[0]
    for features in tile.features(encoder, tile.outer.of(image), LAYERS).values():
        assert features.untyped_storage().nbytes() == features.numel() * features.itemsize
        assert features.flatten(2).data_ptr() == features.data_ptr()


def evaluations(
    encoder: Encoder, size: tuple[int, int], make_image: MakeImage, tile_px: int = 64, **options: Any
) -> tuple[Evaluation, Evaluation]:
    """Whole and in tiles, at an image near neither photo nor style."""
    config = make_config(**{"preset": "standard", **options})
    pictures = make_image(*size), [make_image(size[1], size[0], seed=1), make_image(140, 170, seed=2)]
    variable = LEVELS * make_image(*size, seed=3)
    objectives = [make_objective(encoder, *pictures, config, tile_px=px) for px in (0, tile_px)]
    whole, tiled = (objective.evaluate(variable) for objective in objectives)
    return whole, tiled


def assert_same(whole: Evaluation, tiled: Evaluation) -> None:
    assert distance(tiled.gradient, whole.gradient) < CLOSE
    for name in ("total", "content", "style", "tv"):
        torch.testing.assert_close(getattr(tiled.losses, name), getattr(whole.losses, name), rtol=CLOSE, atol=1e-9)
    assert tiled.changed == whole.changed


def test_the_gradient_is_that_of_the_whole(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """The least that has to hold; for every loss, term and encoder: make test-proofs."""
    for size in ((97, 150), AWKWARD[1]):
        assert_same(*evaluations(tiny_encoder, size, make_image, loss="pca-covariance", components="3"))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ADDITIVE)
def test_the_gradient_is_that_of_the_whole_for_every_additive_loss(
    tiny_encoder: Encoder, make_image: MakeImage, loss: str
) -> None:
    for size in AWKWARD:
        assert_same(*evaluations(tiny_encoder, size, make_image, loss=loss, components="3", refresh_every=1))


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "gatys", "content_reduction": "half_sum", "tv_weight": 0.1},
        {"preset": "paper"},
        {"preset": "tutorial"},
        {"pooling": "average"},
        {"content_weight": 0.0},
        {"loss": "pca", "components": "50%", "basis": "style"},
        {"style_layers": ("relu1_1", "conv2_2"), "content_layers": ("relu2_2",)},
    ],
    ids=str,
)
@pytest.mark.slow
def test_and_for_every_kind_of_term(tiny_encoder: Encoder, make_image: MakeImage, options: dict[str, Any]) -> None:
    tiny_encoder.pooling = options.get("pooling", "max")
    assert_same(*evaluations(tiny_encoder, (150, 233), make_image, **options))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "vgg16-x2"])
def test_and_for_the_encoders_that_ship(make_image: MakeImage, name: str) -> None:
    assert_same(*evaluations(load_encoder(name), (150, 203), make_image, tile_px=96))


def test_and_for_regions(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """Soft masks, of which each tile has its part."""
    config, size = make_config("gatys"), (150, 233)
    whole, tiled = (make_objective(tiny_encoder, make_image(*size), [make_image(seed=1)], config, tile_px=px)
                    for px in (0, 64))  # fmt: skip
    masks = {layer: features[:, :1].sigmoid() for layer, features in tiny_encoder(make_image(*size), LAYERS).items()}
    for objective in (whole, tiled):
        terms = objective.style_terms
        objective.style_terms = [
            StyleTerm(term.layer, term.loss, term.target, term.weight, region=region)
            for term in terms
            for region in (masks[term.layer], 1 - masks[term.layer])
        ]
    variable = LEVELS * make_image(*size, seed=3)
    assert_same(whole.evaluate(variable), tiled.evaluate(variable))


def test_a_box_in_positions_drops_what_pooling_drops() -> None:
    assert Box(0, 150, 64, 233).at(16) == (0, 9, 4, 14)
    assert Box(16, 32, 0, 10).num_pixels == 160


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mmd-poly"},
        {"loss": "swd"},
        {"loss": "nnfm"},
        {"loss": "w2", "histogram_weight": 1.0},
        {"loss": "weighted", "weights_from": "fisher"},
    ],
)
def test_a_loss_that_looks_at_all_positions_at_once_is_refused(
    tiny_encoder: Encoder, make_image: MakeImage, options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="choose a smaller --size or --loss gram"):
        make_objective(tiny_encoder, make_image(), [make_image()], make_config(**options), tile_px=64)


def test_an_image_as_small_as_a_tile_is_one(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    (tile,) = plan_tiles(image_size(make_image()), 64, tiny_encoder, LAYERS)
    assert tile.inner == tile.outer == (0, 48, 0, 64)
