"""Style losses against algebra and numerical gradients: what each one is, and what it is not."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from stylecore.encoders import Encoder
from stylecore.errors import OptionError
from stylecore.losses import (
    STYLE_LOSSES,
    LayerStyles,
    StyleLoss,
    content_loss,
    find_loss,
    gram_loss,
    option_names,
    summary_gradient,
    total_variation,
)
from stylecore.losses.basis import Components, fit_basis
from stylecore.losses.mmd import kernel_mmd
from stylecore.losses.nearest import STRENGTH as NEAREST_STRENGTH
from stylecore.losses.pca import pca_loss, projected_gram
from stylecore.losses.statistics import (
    Moments,
    Summary,
    all_moments,
    flatten_positions,
    gram_matrix,
    second_moments,
)
from stylecore.losses.svd import Threshold, left_singular, svd_distance
from stylecore.losses.wasserstein import (
    BLUR,
    GAUSSIAN_STRENGTH,
    HISTOGRAM_STRENGTH,
    SLICED_STRENGTH,
    quantiles,
    root_trace,
)
from stylecore.losses.weighted import MAX_WEIGHT, normalize_weights, photo_statistics, weighted_gram_loss
from stylecore.objective import make_objective
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]
N = 4
DETACHED = ("pca-paper", "svd-paper", "svd")  # losses with a factor that no gradient passes through


def features(seed: int, channels: int = N, height: int = 3, width: int = 5) -> Tensor:
    """Random features as ReLU leaves them: mostly positive, so that means matter."""
    noise = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (noise + 0.5).relu() + 0.1 * noise


def layer_styles(*styles: Tensor, weights: tuple[float, ...] = (1.0,), **given: Tensor) -> LayerStyles:
    return LayerStyles("relu1_1", styles, weights, content=features(9, styles[0].shape[1]), given=given)


def make(name: str, *styles: Tensor, weights: tuple[float, ...] = (1.0,), **options: object) -> StyleLoss:
    if "components" in option_names(name):
        options = {"components": "50%"} | options
    loss = find_loss(name)
    return loss(layer_styles(*styles, weights=weights), loss.Options(**options))


def refresh(loss: StyleLoss, x: Tensor) -> None:
    loss.refresh(loss.survey(x.detach()))


def gram(x: Tensor) -> Tensor:
    return gram_matrix(x)[0]


# What all losses have in common


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_is_zero_for_the_style_itself_and_positive_for_another(name: str) -> None:
    loss = make(name, features(0))
    assert float(loss(features(0))) == pytest.approx(0, abs=1e-9)
    assert float(make(name, features(0))(features(1))) > 1e-3


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_has_the_gradient_of_its_value_while_its_factors_are_frozen(name: str) -> None:
    loss, x = make(name, features(0)), features(1).requires_grad_(True)
    refresh(loss, x)
    assert torch.autograd.gradcheck(loss, x)


@pytest.mark.parametrize("name", DETACHED)
def test_a_detached_factor_is_not_in_the_gradient(name: str) -> None:
    """Free to follow the features, the factor changes the value by more than the gradient knows."""
    x = features(1).requires_grad_(True)

    def free(x: Tensor) -> Tensor:
        loss = make(name, features(0))
        refresh(loss, x)
        return loss(x)

    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(free, x)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_style_and_result_may_differ_in_size_and_dtype(name: str) -> None:
    loss = make(name, features(0, height=9).bfloat16())
    value = loss(features(1, width=2).bfloat16())
    assert value.dtype == torch.float32
    assert bool(value.isfinite())


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_style_of_one_colour_gives_a_defined_loss(name: str) -> None:
    flat = torch.ones(1, N, 4, 4, dtype=torch.float64) * torch.tensor([1.0, 2, 3, 4]).view(1, N, 1, 1)
    loss, x = make(name, flat), features(1).requires_grad_(True)
    refresh(loss, x)
    (gradient,) = torch.autograd.grad(loss(x), x)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", ["gram", "pca", "pca-covariance", "weighted", "mmd-linear", "bn", "w2", "nnfm"])
def test_all_the_weight_on_one_style_is_that_style_alone(name: str) -> None:
    both = make(name, features(0), features(5, height=6), weights=(1.0, 0.0))
    assert float(both(features(1))) == pytest.approx(float(make(name, features(0))(features(1))))


def test_an_unknown_loss_suggests_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'gram'"):
        make("gramm", features(0))


# Tiles, regions and several styles: none of them needs a loss of its own

ADDITIVE = [name for name, loss in STYLE_LOSSES.items() if loss.adds_up(make_config())]
DRAWN = [name for name in STYLE_LOSSES if name not in ADDITIVE]
# A target for each style; for the others one that is blended, or candidates of all styles.
TARGET_EACH = ("mmd-poly", "mmd-gaussian", "w2", "swd", "histogram")


def frozen(name: str, x: Tensor, *styles: Tensor, **options: object) -> StyleLoss:
    """A loss whose projectors and weights are those that the whole of x gives it."""
    loss = make(name, *(styles or (features(0),)), **options)
    refresh(loss, x)
    return loss


def in_tiles(x: Tensor) -> list[Tensor]:
    """Four tiles of unequal size."""
    return [part for row in x.tensor_split([1], 2) for part in row.tensor_split([2], 3)]


def added(summaries: list[Summary]) -> Summary:
    first, *others = summaries
    for other in others:
        first = first + other
    return first


def assert_same(summary: Moments, expected: Moments) -> None:
    assert float(summary.count) == pytest.approx(float(expected.count))
    for name in ("first", "squares", "second"):
        torch.testing.assert_close(getattr(summary, name), getattr(expected, name))


@pytest.mark.parametrize("name", ADDITIVE)
def test_summaries_of_tiles_add_up_to_that_of_the_whole(name: str) -> None:
    x = features(1)
    loss = frozen(name, x)
    summary = added([loss.summarize(tile) for tile in in_tiles(x)])
    assert_same(summary, loss.summarize(x))
    (target,) = loss.targets
    assert float(loss.distance(summary, target.summary)) == pytest.approx(float(loss(x)))


@pytest.mark.parametrize("name", ADDITIVE)
def test_surveys_of_tiles_adapt_a_loss_as_that_of_the_whole_does(name: str) -> None:
    x, loss = features(1), make(name, features(0))
    loss.refresh(added([loss.survey(tile) for tile in in_tiles(x)]))
    assert float(loss(features(2))) == pytest.approx(float(frozen(name, x)(features(2))))


@pytest.mark.parametrize("name", DRAWN)
def test_a_loss_of_drawn_positions_may_draw_in_each_tile(name: str) -> None:
    """All of them drawn, the tiles' positions are the whole's, in another order."""
    x = features(1)
    summary = added([make(name, features(0)).summarize(tile) for tile in in_tiles(x)])
    loss = make(name, features(0))
    (target,) = loss.targets
    assert float(loss.distance(summary, target.summary)) == pytest.approx(float(loss(x)))


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_second_pass_over_tiles_gives_autograds_gradient(name: str) -> None:
    """The first pass adds up summaries; the gradient with respect to their sum is then held fixed, tile by tile."""
    x = features(1).requires_grad_(True)
    loss = frozen(name, x)
    (whole,) = torch.autograd.grad(loss(x), x)
    (target,) = loss.targets
    summary = added([loss.summarize(tile) for tile in in_tiles(x.detach())])
    value, gradients = summary_gradient(lambda found: loss.distance(found, target.summary), summary)
    assert float(value) == pytest.approx(float(loss(x.detach())))
    for tile in in_tiles(x):
        tensors = loss.summarize(tile).tensors()
        torch.stack([(gradients[key] * tensor).sum() for key, tensor in tensors.items()]).sum().backward()
    torch.testing.assert_close(x.grad, whole, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_mask_of_0_and_1_keeps_the_positions_that_it_lets_through(name: str) -> None:
    x = features(1)
    mask = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    mask[..., 1:, 2:] = 1
    loss = frozen(name, x)
    assert_same(loss.summarize(x, mask), loss.summarize(x[:, :, 1:, 2:]))
    assert float(loss(x, mask)) == pytest.approx(float(loss(x[:, :, 1:, 2:])))


@pytest.mark.parametrize("name", DRAWN)
def test_only_positions_within_a_mask_are_drawn(name: str) -> None:
    x = features(1)
    mask = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    mask[..., 1:, 2:] = 1
    assert float(make(name, features(0))(x, mask)) == pytest.approx(float(make(name, features(0))(x[:, :, 1:, 2:])))


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_soft_mask_counts_positions_in_part(name: str) -> None:
    """Twice half of it is all of it; and it lies between its ends."""
    x = features(1)
    mask = torch.rand(1, 1, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = frozen(name, x)
    assert_same(loss.summarize(x, mask) + loss.summarize(x, 1 - mask), loss.summarize(x))


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_several_styles_are_targets_whose_shares_add_up(name: str) -> None:
    loss = make(name, features(0), features(5, height=6), weights=(0.25, 0.75))
    assert sum(target.share for target in loss.targets) == pytest.approx(1)
    assert len(loss.targets) == (2 if name in TARGET_EACH else 1)
    x = features(1)
    refresh(loss, x)
    summary = loss.summarize(x)
    distances = [target.share * float(loss.distance(summary, target.summary)) for target in loss.targets]
    assert float(loss(x)) == pytest.approx(sum(distances))


# Content, total variation, Gram


def test_content_loss_is_the_mean_squared_difference() -> None:
    f, c = features(0).float(), features(1).float()
    expected = sum((a - b) ** 2 for a, b in zip(f.flatten().tolist(), c.flatten().tolist(), strict=True)) / f.numel()
    assert float(content_loss(f, c)) == pytest.approx(expected)


def test_total_variation_of_a_ramp_is_its_squared_slope() -> None:
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 7, 11)
    assert float(total_variation(ramp)) == pytest.approx(0.01, rel=1e-4)
    assert float(total_variation(torch.full((1, 3, 5, 5), 0.3))) == 0


def test_content_and_variation_gradients() -> None:
    x, target = features(1).requires_grad_(True), features(2)
    assert torch.autograd.gradcheck(content_loss, (x, target))
    assert torch.autograd.gradcheck(total_variation, features(3, channels=3).requires_grad_(True))


def test_the_gram_class_equals_the_function() -> None:
    style, result = features(0), features(1, height=7, width=2)
    assert float(make("gram", style)(result)) == float(gram_loss(result, gram_matrix(style)))


def test_blended_styles_have_the_gradient_of_the_weighted_sum_of_losses() -> None:
    styles, weights = (features(0), features(1, height=6)), (0.3, 0.7)
    x = features(2).requires_grad_(True)
    (blended,) = torch.autograd.grad(make("gram", *styles, weights=weights)(x), x)
    separate = sum(w * make("gram", style)(x) for style, w in zip(styles, weights, strict=True))
    (summed,) = torch.autograd.grad(separate, x)
    torch.testing.assert_close(blended, summed)


# PCA


@pytest.mark.parametrize("centered", [True, False])
def test_pca_with_all_components_is_the_gram_loss_whatever_the_rotation(centered: bool) -> None:
    style, result = features(0), features(1)
    full = float(make("gram", style)(result))
    assert float(make("pca", style, components="100%", centered=centered)(result)) == pytest.approx(full)
    rotation = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))[0]
    assert float(pca_loss(result, rotation, rotation.mT @ gram_matrix(style) @ rotation)) == pytest.approx(full)


@pytest.mark.parametrize("components", ["1", "2", "3"])
def test_what_pca_leaves_out_is_what_lies_outside_its_span(components: str) -> None:
    """L_gram - L_pca = (2 |P D Q|^2 + |Q D Q|^2) / N^2 >= 0 with D = G - A, P = U U^T, Q = I - P."""
    style, result = features(0), features(1)
    pca = make("pca", style, components=components)
    basis = pca.fitted()["components"]
    p = basis @ basis.mT
    q = torch.eye(N, dtype=torch.float64) - p
    d = gram(result) - gram(style)
    outside = (2 * (p @ d @ q).square().sum() + (q @ d @ q).square().sum()) / N**2
    assert float(make("gram", style)(result) - pca(result)) == pytest.approx(float(outside))
    assert float(outside) > 0


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_uncentred_basis_loses_the_discarded_eigenvalues_of_the_style(number: int) -> None:
    style = features(0)
    basis = fit_basis([all_moments(style)], [1.0], Components(count=number), centered=False)
    p = basis.components @ basis.components.mT
    lost = (gram(style) - p @ gram(style) @ p).square().sum()
    assert float(lost) == pytest.approx(float(basis.eigenvalues[number:].square().sum()), abs=1e-12)


def test_the_centred_basis_diagonalises_the_covariance() -> None:
    style = features(0)
    moments = all_moments(style)
    basis = fit_basis([moments], [1.0], Components(share=1.0))
    rotated = basis.components.mT @ moments.covariance[0] @ basis.components
    torch.testing.assert_close(rotated, torch.diag(basis.eigenvalues), atol=1e-12, rtol=0)
    assert basis.explained_variance_ratio == pytest.approx(1)


def test_projecting_first_or_last_is_the_same() -> None:
    x, u = features(1), torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))[0]
    for k in (1, 2, 3, 4):
        torch.testing.assert_close(projected_gram(x, u[:, :k])[0], u[:, :k].mT @ gram(x) @ u[:, :k])


def test_pca_covariance_with_all_components_compares_means_and_covariances() -> None:
    style, result = features(0), features(1)
    of_style, of_result = all_moments(style), all_moments(result)
    of_covariance = (of_result.covariance - of_style.covariance).square().sum()
    of_mean = 2 * of_style.mean.square().sum() * (of_result.mean - of_style.mean).square().sum()
    expected = of_covariance + of_mean
    assert float(make("pca-covariance", style, components="100%")(result)) == pytest.approx(float(expected) / N**2)


@pytest.mark.parametrize("loss", ["pca", "pca-covariance"])
def test_a_joint_basis_sees_what_the_photo_has_and_the_style_lacks(loss: str) -> None:
    """The style never leaves its first two channels; a photo that lives in the others is no style."""
    style, photo = features(0), 3 * features(1)
    style[:, 2:], photo[:, :2] = 0, 0
    both = photo + style
    found = {}
    for basis in ("style", "joint"):
        config = make_config(loss=loss, components=2, basis=basis)
        found[basis] = find_loss(loss)(LayerStyles("relu1_1", [style], (1.0,), content=photo), config)(both)
        assert find_loss(loss).needs_content(config) is (basis == "joint")
    assert float(found["style"]) < 1e-12
    assert float(found["joint"]) > 0.1


def test_a_joint_basis_of_a_photo_without_content_term_is_joint(make_image: MakeImage, vgg16: Encoder) -> None:
    """Content weight 0, as `texture` has it, must not turn it into the style's own in silence."""
    pictures = make_image(64, 64), [make_image(64, 64, seed=1)]
    config = make_config("preview", loss="pca", components="10%", content_weight=0.0)
    joint, own = (
        make_objective(vgg16, *pictures, config.replace(basis=basis)).fitted()["relu2_1"]["components"]
        for basis in ("joint", "style")
    )
    assert not torch.allclose(joint.abs(), own.abs(), atol=1e-3)


def test_a_given_basis_is_used_instead_of_a_fitted_one() -> None:
    given = torch.eye(N, dtype=torch.float64)[:, 1:3]
    loss = find_loss("pca")(layer_styles(features(0), components=given), find_loss("pca").Options())
    d = (gram(features(1)) - gram(features(0)))[1:3, 1:3]
    assert float(loss(features(1))) == pytest.approx(float(d.square().sum()) / N**2)


@pytest.mark.parametrize(
    ("text", "kept"), [("3", 3), ("50%", 2), ("1%", 1), ("100%", 4), ("var:1", 4), ("var:0.6", 1), ("var:0.9", 2)]
)
def test_components_are_a_count_a_share_or_a_variance(text: str, kept: int) -> None:
    assert Components.parse(text).number(torch.tensor([6.0, 3.0, 0.9, 0.1])) == kept


@pytest.mark.parametrize("text", ["", "0%", "101%", "var:0", "var:1.1", "-3", "1.5", "many", "1.2.3%", "var:"])
def test_other_components_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="give a count such as 64"):
        Components.parse(text)


@pytest.mark.parametrize("text", ["0", "5"])
def test_more_components_than_channels_name_the_layer(text: str) -> None:
    with pytest.raises(OptionError, match="between 1 and the 4 channels of relu1_1"):
        make("pca", features(0), components=text)


# SVD


def test_svd_compares_the_truncated_grams_of_each_image() -> None:
    style, result = features(0), features(1)
    loss = make("svd", style, threshold="mean:1.0")
    refresh(loss, result)
    truncated = []
    for x in (result, style):
        u, s, v = torch.linalg.svd(flatten_positions(x)[0] / 15**0.5, full_matrices=False)
        s = torch.where(s >= s.mean(), s, 0)
        truncated.append((u * s) @ v @ ((u * s) @ v).mT)
    assert float(loss(result)) == pytest.approx(float((truncated[0] - truncated[1]).square().mean()))


def test_svd_that_keeps_everything_is_the_gram_loss() -> None:
    full = make("gram", features(0))(features(1))
    assert float(make("svd", features(0), threshold="abs:0")(features(1))) == pytest.approx(float(full))


@pytest.mark.parametrize("shape", [(3, 5), (1, 3), (2, 2)])
def test_the_left_factor_is_the_same_from_either_side(shape: tuple[int, int]) -> None:
    """Also where there are fewer positions than channels (M < N), where F^T F is the smaller side."""
    x = features(2, 6, *shape)
    vectors, singular = left_singular(second_moments(x))
    f = flatten_positions(x)[0] / (shape[0] * shape[1]) ** 0.5
    expected = torch.linalg.svdvals(f)
    torch.testing.assert_close(singular[: len(expected)], expected, atol=1e-7, rtol=1e-6)
    kept = vectors[:, : len(expected)]
    torch.testing.assert_close(kept @ torch.diag(expected.square()) @ kept.mT, gram(x), atol=1e-7, rtol=1e-6)


def test_equal_and_zero_singular_values_have_finite_gradients() -> None:
    x = torch.zeros(1, N, 2, 4, dtype=torch.float64)
    x[0, 0, 0, 0] = x[0, 1, 0, 1] = 1.0  # two equal singular values, two of zero
    x.requires_grad_(True)
    for threshold in ("mean:1.0", "abs:0", "energy:1"):
        loss = make("svd", features(0), threshold=threshold)
        refresh(loss, x)
        (gradient,) = torch.autograd.grad(loss(x), x)
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("threshold", ["energy:0.9", "abs:5.0"])
def test_subspace_iteration_finds_the_same_projector(threshold: str) -> None:
    """Warm-started from a nearby image's, with a spectrum that falls as a network's does."""
    scales = torch.logspace(1, -3, 64, dtype=torch.float64).view(1, 64, 1, 1)
    noise = torch.randn(2, 64, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = (scales * noise[:1]), (scales * (noise[:1] + 0.1 * noise[1:]))
    loss = make("svd", first, threshold=threshold)
    refresh(loss, first)
    whole = loss.projector
    assert 4 * (whole.shape[1] + 8) <= 64  # few enough for the iteration
    refresh(loss, second)
    iterated = loss.projector
    vectors, singular = left_singular(second_moments(second))
    exact = vectors[:, : Threshold.parse(threshold).number(singular)]
    assert iterated.shape == exact.shape
    torch.testing.assert_close(iterated @ iterated.mT, exact @ exact.mT, atol=2e-2, rtol=0)


def test_svd_loss_is_computed_in_the_small_coordinates() -> None:
    u, target = torch.linalg.qr(torch.randn(N, 2, dtype=torch.float64))[0], gram(features(0))
    p = u @ u.mT
    expected = (p @ gram(features(1)) @ p - target).square().mean()
    assert float(svd_distance(projected_gram(features(1), u)[0], u, target)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("text", "kept"),
    [("mean:1.0", 2), ("mean:0", 4), ("abs:1.0", 2), ("energy:1", 4), ("energy:0.9", 2), ("energy:0.5", 1)],
)
def test_thresholds_keep_what_they_say(text: str, kept: int) -> None:
    assert Threshold.parse(text).number(torch.tensor([4.0, 2.0, 0.5, 0.1])) == kept


@pytest.mark.parametrize(
    "text", ["", "mean", "mean:x", "abs:-1", "energy:0", "energy:1.5", "median:1", "abs:nan", "abs:inf"]
)
def test_other_thresholds_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="threshold"):
        Threshold.parse(text)


def test_a_threshold_that_drops_everything_is_refused_and_names_the_layer() -> None:
    with pytest.raises(OptionError, match="drops every singular value of the style at relu1_1"):
        make("svd", features(0), threshold="abs:1e6")


# The paper's own versions


def test_the_papers_pca_compares_coordinates_in_two_bases() -> None:
    """Its fault: an image with the style's Gram turned within the channels' space has another loss than 0 only by G,
    but one with the same G has loss 0; a shared basis would see |U^T (G - A) U|."""
    style, result = features(0), features(1)
    loss = make("pca-paper", style)
    u_style, u_result = loss.decompose(gram(style)), loss.decompose(gram(result))
    expected = (gram(result) @ u_result - gram(style) @ u_style).square().mean()
    assert float(loss(result)) == pytest.approx(float(expected))
    shared = (gram(result) @ u_style - gram(style) @ u_style).square().mean()
    assert float(expected) != pytest.approx(float(shared), rel=0.05)
    assert u_style.shape == (N, N // 2)


def test_the_papers_svd_zeroes_singular_values_under_the_mean() -> None:
    style, result = features(0), features(1)
    u, s, _ = torch.linalg.svd(gram(result))
    kept = u[:, s >= s.mean()]
    u, s, _ = torch.linalg.svd(gram(style))
    style_kept = u[:, s >= s.mean()]
    expected = (kept @ kept.mT @ gram(result) - style_kept @ style_kept.mT @ gram(style)).square().mean()
    assert float(make("svd-paper", style)(result)) == pytest.approx(float(expected))


# Weighted


@pytest.mark.parametrize("shape", [(N, 1), (N, N)])
def test_weights_of_one_are_the_gram_loss(shape: tuple[int, int]) -> None:
    a = gram_matrix(features(0))
    ones = torch.ones(shape, dtype=torch.float64)
    assert float(weighted_gram_loss(features(1), a, ones)) == pytest.approx(float(gram_loss(features(1), a)))


def test_row_weights_weigh_the_rows() -> None:
    w = torch.tensor([2.0, 1.0, 0.5, 0.5], dtype=torch.float64)
    d = gram(features(1)) - gram(features(0))
    expected = sum(float(w[i]) * float(d[i].square().sum()) for i in range(N)) / N**2
    loss = weighted_gram_loss(features(1), gram_matrix(features(0)), w.unsqueeze(1))
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["weighted", "weighted-element"])
def test_the_adversary_raises_the_loss_and_favours_what_differs_most(name: str) -> None:
    loss = make(name, features(0))
    before = float(loss(features(1)))
    refresh(loss, features(1))
    assert loss.restarts_optimizer
    weights = loss.fitted()["gram_weights"]
    assert float(loss(features(1))) > before
    assert float(weights.mean()) == pytest.approx(1)
    excess = (gram(features(1)) - gram(features(0))).square()
    excess = excess if name == "weighted-element" else excess.mean(1, keepdim=True)
    assert int(weights.argmax()) == int(excess.argmax())


def test_no_map_can_silence_the_others() -> None:
    weights = normalize_weights(torch.tensor([[1e9]] + [[1.0]] * 99))
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights.max()) <= MAX_WEIGHT / (MAX_WEIGHT / 100) + 1e-3
    assert bool(weights.isfinite().all())


@pytest.mark.parametrize("name", ["weighted", "weighted-element"])
def test_fishers_weights_favour_the_channel_that_tells_the_style_apart(name: str) -> None:
    """Channel 3 of this style is strong where the photos' statistics and the content are not."""
    mean, _ = photo_statistics("relu1_1")
    level = float(mean.diagonal().mean()) ** 0.5
    style = level * features(0, 64, 9, 9).float()
    style[:, 3] += 20 * level
    styles = LayerStyles("relu1_1", [style], [1.0], content=level * features(1, 64, 9, 9).float())
    loss = find_loss(name)(styles, find_loss(name).Options(weights_from="fisher"))
    weights = loss.fitted()["gram_weights"]
    assert int(weights.sum(1).argmax()) == 3
    assert float(weights.mean()) == pytest.approx(1, rel=1e-4)
    assert loss.refreshes is False


def test_fisher_without_statistics_says_what_works_instead() -> None:
    styles = LayerStyles("conv1_1", [features(0)], [1.0])
    with pytest.raises(OptionError, match="weights_from=adversarial"):
        find_loss("weighted")(styles, find_loss("weighted").Options(weights_from="fisher"))


def test_given_weights_are_used_and_no_longer_trained() -> None:
    given = torch.tensor([[4.0], [0.0], [0.0], [0.0]], dtype=torch.float64)
    styles = layer_styles(features(0), gram_weights=given)
    loss = find_loss("weighted")(styles, find_loss("weighted").Options())
    assert loss.refreshes is False
    d = gram(features(1)) - gram(features(0))
    assert float(loss(features(1))) == pytest.approx(4 * float(d[0].square().sum()) / N**2)
    with pytest.raises(OptionError, match="other kind"):
        find_loss("weighted-element")(styles, find_loss("weighted-element").Options())


# MMD


def test_mmd_with_the_squared_kernel_is_the_gram_loss_when_every_position_is_drawn() -> None:
    full = float(make("gram", features(0))(features(1, height=6)))
    assert float(make("mmd-poly", features(0))(features(1, height=6))) == pytest.approx(full)


def test_blended_mmd_differs_from_the_blended_gram_by_a_constant() -> None:
    """sum_i w_i |G - A_i|^2 - |G - sum_i w_i A_i|^2 does not depend on G."""
    styles, weights = (features(0), features(5)), (0.25, 0.75)
    differences = [
        float(make("mmd-poly", *styles, weights=weights)(x) - make("gram", *styles, weights=weights)(x))
        for x in (features(1), features(2))
    ]
    assert differences[0] == pytest.approx(differences[1])
    assert differences[0] > 0


def test_linear_mmd_is_the_distance_of_means() -> None:
    style, result = features(0), features(1)
    means = [x.mean((2, 3))[0] for x in (result, style)]
    by_kernel = kernel_mmd(flatten_positions(result)[0], flatten_positions(style)[0], lambda x, y: x.mT @ y)
    assert float(by_kernel) == pytest.approx(float((means[0] - means[1]).square().sum()))
    expected = 2 * float(means[1].square().sum() * by_kernel) / N**2
    assert float(make("mmd-linear", style)(result)) == pytest.approx(expected)


def test_gaussian_mmd_sees_what_the_gram_cannot() -> None:
    """Two distributions with one second moment: +-1 with even odds, and 0 or +-2 with odds 3/4, 1/8, 1/8."""
    even = torch.tensor([1.0, -1] * 8, dtype=torch.float64).view(1, 1, 4, 4)
    heavy = torch.tensor([0.0] * 12 + [2, -2] * 2, dtype=torch.float64).view(1, 1, 4, 4)
    assert float(gram_loss(heavy, gram_matrix(even))) == pytest.approx(0)
    assert float(make("mmd-gaussian", even)(heavy)) > 0.01


def test_bn_compares_means_and_standard_deviations() -> None:
    style, result = features(0), features(1)
    moments = [torch.cat([x.mean((2, 3)), x.flatten(2).std(2, correction=0)], 1)[0] for x in (result, style)]
    expected = 2 * moments[1].square().sum() * (moments[0] - moments[1]).square().sum() / N**2
    assert float(make("bn", style)(result)) == pytest.approx(float(expected))


def test_drawn_positions_follow_the_seed_and_change_at_a_refresh() -> None:
    def values(seed: int) -> list[float]:
        loss = make("mmd-gaussian", features(0, height=20), num_samples=8, seed=seed)
        assert loss.restarts_optimizer
        found = []
        for _ in range(2):
            refresh(loss, features(1, height=20))
            found.append(float(loss(features(1, height=20))))
        return found

    assert values(1) == values(1)
    assert values(1) != values(2)
    assert values(1)[0] != values(1)[1]


# Wasserstein and nearest neighbours


def gaussian_features(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Features with their mean and covariance."""
    x = scale * features(seed, height=9)
    moments = all_moments(x)
    return x, moments.mean[0], moments.covariance[0]


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.mT


def transport_unit(style: Tensor) -> float:
    return float(gram(style).square().mean() / gram(style).trace())


@pytest.mark.parametrize("components", ["100%", "50%"])
def test_w2_is_the_distance_of_gaussians_in_closed_form(components: str) -> None:
    """|u - v|^2 + tr(S + T - 2 (T^1/2 S T^1/2)^1/2), by eigenvalues, of what the basis sees and with its blur."""
    (style, v, t), (result, u, s) = gaussian_features(0), gaussian_features(1, 0.7)
    loss = make("w2", style, components=components)
    basis = loss.fitted()["components"]
    blur = BLUR * torch.linalg.eigvalsh(basis.mT @ t @ basis).amax() * torch.eye(basis.shape[1], dtype=torch.float64)
    s, t = (basis.mT @ each @ basis + blur for each in (s, t))
    mean = (basis.mT @ (u - v)).square().sum()
    expected = mean + (s + t - 2 * root(root(t) @ s @ root(t))).trace()
    unit = GAUSSIAN_STRENGTH * transport_unit(style)
    assert float(loss(result)) == pytest.approx(unit * float(expected), rel=1e-6)


def test_w2_of_a_shift_is_its_length_and_of_a_scale_what_it_does_to_the_spread() -> None:
    """Moved by d: |d|^2. Stretched about the mean by c: (c - 1)^2 tr T, but for the blur."""
    style, mean, covariance = gaussian_features(0)
    loss, unit = make("w2", style, components="100%"), GAUSSIAN_STRENGTH * transport_unit(style)
    shift = torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64).view(1, N, 1, 1)
    assert float(loss(style + shift)) == pytest.approx(unit * float(shift.square().sum()))
    center = mean.view(1, N, 1, 1)
    stretched = center + 1.5 * (style - center)
    assert float(loss(stretched)) == pytest.approx(unit * 0.25 * float(covariance.trace()), rel=3e-3)


@pytest.mark.parametrize("scale", [0.0, 0.1, 30.0])
def test_w2_has_a_sound_gradient_however_flat_or_strong_the_result_is(scale: float) -> None:
    """In float32, with directions that the style hardly has."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(0, -4, 64).view(1, 64, 1, 1)
    style, result = (spread * torch.randn(1, 64, 12, 12, generator=generator) for _ in range(2))
    loss, x = make("w2", style, components="100%"), (scale * result).requires_grad_(True)
    exact = make("w2", style.double(), components="100%")
    value = loss(x)
    (gradient,) = torch.autograd.grad(value, x)
    y = x.detach().double().requires_grad_(True)
    (expected,) = torch.autograd.grad(exact(y), y)
    assert value.item() == pytest.approx(exact(y.detach()).item(), rel=1e-3)
    assert float((gradient - expected).norm() / expected.norm()) < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_trace_of_a_root_and_its_gradient_are_those_by_eigenvalues(size: int, dtype: torch.dtype) -> None:
    """As badly conditioned as the blur allows: its square."""
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors = torch.linalg.qr(noise).Q
    values = torch.logspace(0, 2 * math.log10(BLUR), size, dtype=torch.float64)
    matrix = ((vectors * values) @ vectors.mT).to(dtype).requires_grad_(True)
    found = root_trace(matrix)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    assert found.item() == pytest.approx(float(values.sqrt().sum()), rel=tolerance)
    (gradient,) = torch.autograd.grad(found, matrix)
    expected = (vectors * values.rsqrt()) @ vectors.mT / 2
    assert float((gradient - expected).norm() / expected.norm()) < 100 * tolerance


def test_in_one_dimension_swd_and_histogram_are_the_distance_of_sorted_values() -> None:
    style, result = features(0, channels=1), features(1, channels=1)
    expected = (style.flatten().sort().values - result.flatten().sort().values).square().mean()
    for name, strength in (("swd", SLICED_STRENGTH), ("histogram", HISTOGRAM_STRENGTH)):
        found = float(make(name, style, components="100%")(result))
        assert found == pytest.approx(strength * transport_unit(style) * float(expected))


def test_swd_of_a_shift_is_its_length_whatever_the_directions() -> None:
    """Whole orthonormal frames: as many directions as a multiple of the components."""
    style = features(0)
    shift = torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64).view(1, N, 1, 1)
    for number in (1, 4, 8):
        loss = make("swd", style, components="100%", num_directions=number)
        expected = SLICED_STRENGTH * transport_unit(style) * float(shift.square().sum())
        assert float(loss(style + shift)) == pytest.approx(expected)


def test_histogram_is_the_distance_from_the_features_with_matched_histograms() -> None:
    """Risser et al.: each component's values replaced by the style's of the same rank, and held fixed."""
    style, result = features(0), features(1).requires_grad_(True)
    loss = make("histogram", style, components="100%")
    basis = loss.fitted()["components"]
    found, known = (basis.mT @ flatten_positions(each)[0] for each in (result, style))
    matched = known.sort(1).values.gather(1, found.argsort(1).argsort(1)).detach()
    expected = HISTOGRAM_STRENGTH * transport_unit(style) * (found - matched).square().sum(0).mean()
    assert loss(result).item() == pytest.approx(expected.item())
    for value, other in zip(*(torch.autograd.grad(each, result) for each in (loss(result), expected)), strict=True):
        torch.testing.assert_close(value, other)


def test_swd_sees_what_moments_cannot() -> None:
    """As the Gaussian kernel does: two distributions with one second moment."""
    even = torch.tensor([1.0, -1] * 8, dtype=torch.float64).view(1, 1, 4, 4)
    heavy = torch.tensor([0.0] * 12 + [2, -2] * 2, dtype=torch.float64).view(1, 1, 4, 4)
    for blind in (make("gram", even), make("w2", even, components="100%")):
        assert float(blind(heavy)) == pytest.approx(0, abs=1e-9)
    assert float(make("swd", even, components="100%")(heavy)) > 0.1


@pytest.mark.parametrize("number", [3, 6, 12])
def test_quantiles_of_another_number_are_those_between(number: int) -> None:
    ramp = torch.linspace(0.5 / 6, 1 - 0.5 / 6, 6, dtype=torch.float64)[None]
    found = quantiles(ramp, number)
    within = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    torch.testing.assert_close(found[0], within.clamp(float(ramp.min()), float(ramp.max())))


@pytest.mark.parametrize("name", ["swd", "nnfm"])
def test_new_positions_and_directions_come_with_a_refresh_and_keep_the_optimiser(name: str) -> None:
    loss, x = make(name, features(0, height=20), num_positions=8), features(1, height=20)
    values = []
    for _ in range(2):
        refresh(loss, x)
        values += [float(loss(x)), float(loss(x))]
    assert values[0] == values[1]
    assert values[1] != values[2]
    assert loss.restarts_optimizer is False


def test_nnfm_is_the_cosine_distance_from_the_nearest() -> None:
    """All positions drawn, all components kept: straight from the formula."""
    style, result = features(0), features(1, height=4)
    center = flatten_positions(style)[0].mean(1, keepdim=True)
    known, found = flatten_positions(style)[0] - center, flatten_positions(result)[0]
    own = found - found.mean(1, keepdim=True)
    matches = torch.stack([F.cosine_similarity(column[:, None], known, dim=0) for column in own.T]).argmax(1)
    distances = 1 - F.cosine_similarity(found - center, known[:, matches], dim=0)
    expected = NEAREST_STRENGTH * float(gram(style).square().mean() * distances.mean())
    assert float(make("nnfm", style, components="100%")(result)) == pytest.approx(expected)


def test_nnfm_takes_candidates_of_several_styles_by_their_shares() -> None:
    styles = features(0, height=40), features(5, height=40)
    loss = make("nnfm", *styles, weights=(0.25, 0.75), num_positions=100)
    (target,) = loss.targets
    points = {tuple(column) for column in flatten_positions(styles[0])[0].T.tolist()}
    first = sum(tuple(column) in points for column in target.summary.points.T.tolist())
    assert (first, target.summary.points.shape[1]) == (25, 100)


# Why the Gram carries style: it forgets where things are


@pytest.mark.parametrize(
    "name", ["gram", "pca", "pca-covariance", "svd", "weighted", "mmd-linear", "mmd-poly", "bn", "w2"]
)
def test_a_style_loss_does_not_see_where_things_are(name: str) -> None:
    x = features(1)
    shuffled = x.flatten(2)[:, :, torch.randperm(15, generator=torch.Generator().manual_seed(0))].view_as(x)
    assert float(make(name, features(0))(shuffled)) == pytest.approx(float(make(name, features(0))(x)))
