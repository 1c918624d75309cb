"""Does weighting the feature maps beat the plain Gram in the same time?"""

from __future__ import annotations

from functools import partial
from typing import Any

from studies import figures
from studies.findings import Weights
from studies.race import race_record
from studies.settings import Pair, photo, recipe, style
from studies.store import Record, Store, style_picture
from stylecore.report import Picture

NAME = "weights"
VARIANTS: dict[str, dict[str, Any]] = {
    "gram": {"loss": "gram"},
    "adversarial rows": {"loss": "weighted", "weights_from": "adversarial"},
    "adversarial elements": {"loss": "weighted-element", "weights_from": "adversarial"},
    "fisher rows": {"loss": "weighted", "weights_from": "fisher"},
    "fisher elements": {"loss": "weighted-element", "weights_from": "fisher"},
}


def run(store: Store) -> None:
    for pair in store.settings.pairs:
        store.part(NAME, "+".join(pair), partial(compare, store, pair))


def compare(store: Store, pair: Pair) -> Record:
    """All weightings in the seconds that `gram` took."""
    content, picture = photo(pair[0]), style(pair[1])
    configs = {name: recipe(store.settings, **options) for name, options in VARIANTS.items()}
    return race_record(store, f"{NAME}-{'+'.join(pair)}", content, picture, configs, "seconds")


def draw(store: Store) -> None:
    findings = Weights(store.parts(NAME))
    store.write_figure("weights.png", figures.weights_png(findings))
    rows = []
    for key, record in findings.parts.items():
        pictures = (_picture(store, *found) for found in record["results"].items())
        rows.append([style_picture(key.split("+")[1], "style:"), *pictures])
    store.write_sheet("weights_pictures.jpg", rows, cell_px=180)


def _picture(store: Store, name: str, result: Record) -> Picture:
    return store.picture(result["image"], name, f"style {result['style']:.3f}, witness {result['witness']:.3f}")
