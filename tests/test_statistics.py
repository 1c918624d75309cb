"""The statistics against their definitions, written out, and the identities that hold between them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylecore.losses.statistics import all_moments, blend, channel_moments, flatten_positions, gram_matrix


def mean_std(features: Tensor) -> tuple[Tensor, Tensor]:
    moments = channel_moments(features)
    return moments.mean, moments.std


def covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    moments = all_moments(features)
    return moments.mean, moments.covariance


def random_features(batch: int = 2, channels: int = 4, height: int = 5, width: int = 3, seed: int = 0) -> Tensor:
    """Far from zero mean, as features after a ReLU are; float64, so that identities hold to the last digits."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64) + 1.5


shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))


def test_gram_is_its_definition_written_as_loops() -> None:
    features = random_features()
    batch, channels, height, width = features.shape
    expected = torch.zeros(batch, channels, channels, dtype=torch.float64)
    for b in range(batch):
        for i in range(channels):
            for j in range(channels):
                products = [features[b, i, y, x] * features[b, j, y, x] for y in range(height) for x in range(width)]
                expected[b, i, j] = sum(products) / (height * width)
    torch.testing.assert_close(gram_matrix(features), expected)


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_gram_is_symmetric_and_positive_semidefinite(shape: tuple[int, int, int, int, int]) -> None:
    gram = gram_matrix(random_features(*shape))
    torch.testing.assert_close(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12 * gram.abs().max()


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_every_statistic_is_blind_to_where_things_are(shape: tuple[int, int, int, int, int]) -> None:
    features = random_features(*shape)
    batch, channels, height, width = features.shape
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(1))
    shuffled = features.flatten(2)[:, :, order].view(batch, channels, 1, height * width)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features))
    torch.testing.assert_close(mean_std(shuffled), mean_std(features))
    torch.testing.assert_close(covariance(shuffled), covariance(features))


def test_gram_follows_the_channels_when_they_are_permuted() -> None:
    features, order = random_features(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(gram_matrix(features[:, order]), gram_matrix(features)[:, order][:, :, order])


def test_gram_does_not_grow_with_the_number_of_positions() -> None:
    features = random_features()
    torch.testing.assert_close(gram_matrix(features.tile(1, 1, 2, 3)), gram_matrix(features))


def test_gram_of_scaled_features_is_scaled_by_the_square() -> None:
    features = random_features()
    torch.testing.assert_close(gram_matrix(3 * features), 9 * gram_matrix(features))


def test_the_grams_trace_is_the_features_energy() -> None:
    features = random_features()
    trace = gram_matrix(features).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(trace, features.square().sum((1, 2, 3)) / 15)


def test_a_merged_batch_is_the_papers_matrix_of_a_times_b_rows() -> None:
    """F(a*b, c*d): the a images' b channels are a*b rows, and the Gram holds the products across images too."""
    features = random_features()
    a, b, c, d = features.shape
    rows = features.reshape(a * b, c * d)
    merged = gram_matrix(features, merge_batch=True)
    assert merged.shape == (1, a * b, a * b)
    torch.testing.assert_close(merged[0], rows @ rows.T / (c * d))
    for image in range(a):
        block = slice(image * b, (image + 1) * b)
        torch.testing.assert_close(merged[0, block, block], gram_matrix(features)[image])


def test_merging_a_batch_of_one_changes_nothing() -> None:
    features = random_features(batch=1)
    torch.testing.assert_close(gram_matrix(features, merge_batch=True), gram_matrix(features))


@settings(deadline=None, max_examples=30)
@given(shapes)
def test_gram_is_covariance_plus_the_means_outer_product(shape: tuple[int, int, int, int, int]) -> None:
    features = random_features(*shape)
    mean, cov = covariance(features)
    torch.testing.assert_close(gram_matrix(features), cov + mean.unsqueeze(2) * mean.unsqueeze(1))


def test_the_covariances_diagonal_is_the_squared_deviation() -> None:
    features = random_features()
    mean, cov = covariance(features)
    means, deviations = mean_std(features)
    torch.testing.assert_close(means, mean)
    torch.testing.assert_close(deviations.square(), cov.diagonal(dim1=1, dim2=2))


def test_mean_and_deviation_of_values_known_by_hand() -> None:
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])  # two channels at two positions
    mean, deviation = mean_std(features)
    torch.testing.assert_close(mean, torch.tensor([[2.0, 2.0]]))
    torch.testing.assert_close(deviation, torch.tensor([[1.0, 0.0]]), atol=1e-5, rtol=0)


def test_covariance_ignores_what_is_added_to_a_channel() -> None:
    features = random_features()
    shift = torch.tensor([10.0, -3.0, 0.0, 100.0], dtype=torch.float64).view(1, 4, 1, 1)
    torch.testing.assert_close(covariance(features + shift)[1], covariance(features)[1])


def test_deviation_of_a_constant_channel_has_a_finite_gradient() -> None:
    features = torch.ones(1, 2, 3, 3, requires_grad=True)
    mean_std(features)[1].sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("statistic", [gram_matrix, lambda f: mean_std(f)[1], lambda f: covariance(f)[1]])
def test_gradients_are_right(statistic: object) -> None:
    features = random_features(1, 3, 2, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(statistic, (features,))


@pytest.mark.parametrize(
    ("given_dtype", "summed_in"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_sums_are_made_in_float32_or_better(given_dtype: torch.dtype, summed_in: torch.dtype) -> None:
    features = random_features(1, 4, 64, 64).to(given_dtype)
    assert flatten_positions(features).dtype == summed_in
    for value in (gram_matrix(features), *mean_std(features), *covariance(features)):
        assert value.dtype == summed_in
    # 4096 positions summed in bfloat16 would lose two digits; one rounding of the sum is allowed.
    rounding = 2**-8 if given_dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(gram_matrix(features).double(), gram_matrix(features.double()), rtol=rounding, atol=1e-5)


def test_channels_last_features_have_the_same_statistics() -> None:
    features = random_features()
    torch.testing.assert_close(gram_matrix(features.to(memory_format=torch.channels_last)), gram_matrix(features))


def test_a_blend_is_the_mixture_of_what_it_blends() -> None:
    """With shares as the numbers of positions, it is the summary of all positions together, per position."""
    parts = random_features(1, 4, 2, 3), random_features(1, 4, 5, 3, seed=1)
    together = torch.cat([part.flatten(2) for part in parts], 2).unsqueeze(2)
    blended = blend([all_moments(part) for part in parts], (6 / 21, 15 / 21))
    torch.testing.assert_close(blended.gram, gram_matrix(together))
    torch.testing.assert_close(blended.mean, all_moments(together).mean)
    assert blended.squares is None
    added = all_moments(parts[0]) + all_moments(parts[1])
    torch.testing.assert_close(added.normalized().gram, blended.gram)
    torch.testing.assert_close(added.normalized().mean, blended.mean)
