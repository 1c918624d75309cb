"""The paper's claim about K, number by number: near 0 the content image, near N what the full Gram makes.

And the same for the threshold of the SVD. A sweep is a comparison whose variants are the values of one option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stylecore.compare import Comparison, Variant, make_variants, same_start
from stylecore.errors import OptionError
from stylecore.images import ImageTensor, image_size, quantize, resize_image
from stylecore.presets import make_config

COMPONENTS = ("0", "1%", "3%", "6%", "12.5%", "25%", "50%", "100%")
# Shares of the energy, for which every threshold keeps something; mean:1 is the paper's.
THRESHOLDS = ("energy:0.5", "energy:0.8", "energy:0.95", "energy:0.99", "energy:1", "mean:1")
REFERENCE = "gram"


def sweep_variants(
    options: Mapping[str, Any], components: Sequence[str] = COMPONENTS, thresholds: Sequence[str] = THRESHOLDS
) -> list[Variant]:
    """`gram`, then `pca K` for each of `components`, then `svd T` for each of `thresholds`, all from one start.

    The start is the photo unless `options` say otherwise: the claim is about how far K components lead away from it.
    K = 0 is allowed here alone: no style term.

    Raises:
        OptionError: a value that the losses do not take.
    """
    for option in ("loss", "components", "threshold"):
        if option in options:
            raise OptionError(f"A sweep runs through losses and their options itself: leave out --{option}.")
    options = {"init": "content"} | dict(options)
    kept = [text for text in dict.fromkeys(components) if not _is_zero(text)]
    variants = make_variants(options, [REFERENCE])
    if len(kept) < len(set(components)):
        no_style = variants[0].config.replace(loss="pca", style_weight=0.0)
        variants.append(Variant("pca 0", no_style))
    for text in kept:
        (variant,) = make_variants(options, ["pca"], components=[text])
        variants.append(Variant(f"pca {text}", variant.config))
    preset = variants[0].config.preset
    for text in dict.fromkeys(thresholds):
        given = {key: value for key, value in options.items() if key != "preset"}
        variants.append(Variant(f"svd {text}", make_config(preset, **given, loss="svd", threshold=text)))
    return same_start(variants)


def _is_zero(text: str) -> bool:
    return re.fullmatch(r"0+(\.0*)?%?", text) is not None


def sweep_table(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a record: loss, value, distances, and how far the saved pixels are from both ends of the claim.

    `levels_from_content` and `levels_from_gram` are root mean square differences in 8-bit levels.
    """
    records = {record.name: record for record in comparison.records}
    reference = comparison.image(records[REFERENCE])
    content = resize_image(comparison.job.content, *image_size(reference))
    rows = []
    for name, record in records.items():
        image = comparison.image(record)
        rows.append(
            {
                "loss": record.loss,
                "value": name.partition(" ")[2] or None,
                "seconds": record.seconds,
                "style_distance": record.style_distance,
                "content_distance": record.content_distance,
                "witness_distance": record.witness_distance,
                "detail": record.detail,
                "levels_from_content": _rms_levels(image, content),
                "levels_from_gram": _rms_levels(image, reference),
            }
        )
    return rows


def _rms_levels(image: ImageTensor, other: ImageTensor) -> float:
    return round(255 * float((quantize(image) - quantize(other)).square().mean().sqrt()), 3)
