"""The conclusions of docs/study.md, each with what has to be true of the records for a person to write it.

The sentences stand in the template word for word. A new run of the study may make one false: then it is named, and
somebody looks at the numbers and writes what they say now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from studies.findings import ALL_LAYERS, MAIN, Study, lowest
from stylecore.encoders import STYLE_LAYERS

CLOSE = 0.10  # distances within this share of each other are called alike
CLEAR = 0.03  # a mean ratio to gram this far below 1 is called a gain, as far above a loss
MOST = 0.75  # of the pairs

Claim = Callable[[Study], bool]


def rises(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))


def alike(value: float, other: float) -> bool:
    return abs(value / other - 1) < CLOSE


def shares_where(study: Study, holds: Callable[[float], bool], quantity: str) -> list[str]:
    """Shares of components at which a quantity over the full Gram's is such."""
    return [share for share in study.sweep.shares if holds(study.sweep.over_gram(f"pca {share}", quantity))]


def far_thresholds(study: Study) -> list[str]:
    """Thresholds that end further from the style than the full Gram and than the paper's rule."""
    limit = (1 + CLOSE) * max(study.sweep.mean("gram"), study.sweep.mean("svd mean:1"))
    return [value for value in study.sweep.thresholds if study.sweep.mean(f"svd {value}") > limit]


def beats(study: Study, weighting: str) -> bool:
    """Style and witness both lower in the mean by `CLEAR`, and both lower on `MOST` of the pairs."""
    weights = study.weights
    means = [weights.mean_ratio(weighting, quantity) for quantity in ("style", "witness")]
    return max(means) < 1 - CLEAR and weights.wins(weighting, "style", "witness") >= MOST * len(weights.parts)


def has_less_detail(study: Study, *names: str) -> list[str]:
    return [name for name in names if study.sweep.mean(name, "detail") < 1 - CLEAR]


CLAIMS: dict[str, Claim] = {
    # What a reduction costs
    "A reduced loss alone does not make style transfer fast.": lambda s: s.costs.speedup() < 1.25,
    "it gains most at relu4_1 and least at relu1_1": lambda s: (
        max(STYLE_LAYERS, key=s.costs.ratio) == "relu4_1" and min(STYLE_LAYERS, key=s.costs.ratio) == "relu1_1"
    ),
    "the reduced loss stage is faster at every layer, and more so where there are more channels": lambda s: (
        rises([1, *map(s.costs.ratio, STYLE_LAYERS[:4])]) and s.costs.ratio(STYLE_LAYERS[4]) > 1
    ),
    "with that, `svd` is cheaper than `gram`": lambda s: s.costs.over_gram("svd") < 1 - CLEAR,
    "So a reduced loss pays with the full encoder, but not much.": lambda s: CLEAR < s.costs.speedup() - 1 < 0.25,
    # What a reduction keeps
    "The smallest K already leaves the photo": lambda s: (
        s.sweep.mean(f"pca {s.sweep.shares[0]}") < (1 - CLOSE) * s.sweep.mean("pca 0%")
    ),
    "Every further step brings it nearer to the style.": lambda s: rises(
        [-s.sweep.mean(f"pca {share}") for share in s.sweep.shares]
    ),
    "From 50 % of N on, the style distance is within 10 % of the full Gram's.": lambda s: (
        shares_where(s, lambda ratio: ratio <= 1 + CLOSE, "style") == ["50%", "100%"]
    ),
    "holds for `pca` at 3 % and 6 % of N": lambda s: (
        shares_where(s, lambda ratio: ratio < 1 - CLOSE, "detail") == ["3%", "6%"]
    ),
    "at 1.5 % the result has more fine contrast, not less": lambda s: (
        shares_where(s, lambda ratio: ratio > 1 + CLOSE, "detail") == ["1.5%"]
    ),
    "(relu2_1) and": lambda s: lowest(STYLE_LAYERS, lambda layer: s.sweep.explained[layer][MAIN]) == "relu2_1",
    "(relu5_1) of the variance": lambda s: (
        lowest(STYLE_LAYERS, lambda layer: -s.sweep.explained[layer][MAIN]) == "relu5_1"
    ),
    "the channels of a layer are strongly correlated": lambda s: all(
        found[MAIN] > 0.5 for found in s.sweep.explained.values()
    ),
    "At 2 it is more than 10 % above the larger of the two.": lambda s: far_thresholds(s) == ["mean:2"],
    "No run of the study diverged.": lambda s: s.diverged == [],
    # Where the paper was right
    "its PCA is slower than the full Gram is right": lambda s: s.costs.over_gram("pca-paper") > 1 + CLEAR,
    "Right for its own version": lambda s: s.costs.over_gram("pca-paper") > 1 + CLEAR,
    "Right for the whole right factor, which is never needed": lambda s: (
        s.costs.memory["beyond_features_mib"]["svd"] / 1024 < 0.01 * s.costs.memory["positions_squared_gib"]
    ),
    "The second is right.": lambda s: alike(s.sweep.mean("pca 100%"), s.sweep.mean("gram")),
    "which is not near the photo any more": lambda s: s.sweep.progress(f"pca {s.sweep.shares[0]}") > 0.25,
    "Right at `pca 12.5 %` and `svd mean:1`": lambda s: (
        has_less_detail(s, "pca 50%", "pca 12.5%", "svd mean:1") == ["pca 12.5%", "svd mean:1"]
    ),
    "| K = N/2 keeps the style | Right:": lambda s: s.sweep.over_gram("pca 50%") < 1 + CLOSE,
    # Why the Gram carries style
    "The Gram changes by rounding": lambda s: s.shuffle.most_of_gram < 1e-5,
    "no difference to speak of": lambda s: alike(s.shuffle.shuffled, s.shuffle.own),
    "a texture made from it is as near to the style as before": lambda s: alike(s.shuffle.shuffled, s.shuffle.own),
    "The two textures in the middle look alike": lambda s: alike(s.shuffle.shuffled, s.shuffle.own),
    "By style and by witness, on photos and on textures, `gram` comes closest.": lambda s: (
        {kind.ranking(q)[0] for kind in (s.photos, s.textures) for q in ("style", "witness")} == {"gram"}
    ),
    "On textures the order is `gram`, `bn`, `mmd-linear`, `mmd-poly` and `mmd-gaussian`.": lambda s: (
        s.textures.ranking("style") == ["gram", "bn", "mmd-linear", "mmd-poly", "mmd-gaussian"]
    ),
    "On textures `gram` comes nearest to the style, `mmd-gaussian` stays furthest from it.": lambda s: (
        s.textures.ranking("style")[:: len(s.textures.names) - 1] == ["gram", "mmd-gaussian"]
    ),
    "keep more of the astronaut's face, as their content distances say": lambda s: (
        max(s.photos.over_gram(loss, "content") for loss in ("mmd-poly", "mmd-gaussian")) < 1
    ),
    "4 of 5 single layers match the style best at themselves": lambda s: len(s.layers.best_at_themselves()) == 4,
    "none of them matches all scales": lambda s: (
        s.layers.textures[ALL_LAYERS]["style"] < s.layers.textures[s.layers.best()]["style"]
    ),
    "The best single layer by the yardstick is relu3_1": lambda s: s.layers.best() == "relu3_1",
    "On the photo, relu4_1 alone displaces most of the content.": lambda s: (
        max(STYLE_LAYERS, key=lambda layer: s.layers.stylized[layer]["content"]) == "relu4_1"
    ),
    # Do weights on the feature maps help?
    "Weights on feature maps do not pay: none": lambda s: not any(beats(s, name) for name in s.weights.weightings),
    "Not at equal time, see below.": lambda s: not any(beats(s, name) for name in s.weights.weightings),
    "At equal time no weighting beats `gram`.": lambda s: not any(beats(s, name) for name in s.weights.weightings),
    "The best, fisher rows,": lambda s: min(s.weights.weightings, key=s.weights.mean_ratio) == "fisher rows",
    "All are worse than `gram` by style and by witness in the mean.": lambda s: all(
        s.weights.mean_ratio(name, quantity) > 1 for name in s.weights.weightings for quantity in ("style", "witness")
    ),
}


def broken(study: Study) -> list[str]:
    """The sentences that the records do not bear out."""
    return [sentence for sentence, holds in CLAIMS.items() if not holds(study)]
