"""Style by one layer at a time."""

from __future__ import annotations

from functools import partial

import torch

from studies.findings import ALL_LAYERS
from studies.race import race_record
from studies.settings import photo, recipe, scaled, style, texture_recipe
from studies.store import Record, Store, style_picture
from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.images import ImageTensor, load_image
from stylecore.losses.statistics import gram_matrix
from stylecore.report import Picture

NAME = "layers"
PHOTO, STYLE = "astronaut", "woodblock_waves"
KINDS = ("stylized", "texture")


def run(store: Store) -> None:
    for kind in KINDS:
        store.part(NAME, kind, partial(one_by_one, store, kind))


def one_by_one(store: Store, kind: str) -> Record:
    """The style term restricted to each layer in turn, and all five, with equal evaluations."""
    picture = style(STYLE)
    content, make = (photo(PHOTO), recipe) if kind == "stylized" else (picture, texture_recipe)
    configs = {ALL_LAYERS: make(store.settings)}
    configs |= {layer: make(store.settings, style_layers=(layer,)) for layer in STYLE_LAYERS}
    record = race_record(store, f"{NAME}-{kind}", content, picture, configs, "evaluations")
    for result in record["results"].values():
        result["by_layer"] = layer_distances(load_image(store.images / result["image"]), picture, store.encoder)
    return record


def layer_distances(image: ImageTensor, picture: ImageTensor, encoder: Encoder) -> dict[str, float]:
    """|G - A| / |A| at each style layer: the yardstick before its mean."""
    with torch.no_grad():
        found = encoder(image, STYLE_LAYERS)
        target = encoder(scaled(picture, max(image.shape[2:])), STYLE_LAYERS)
    grams = {layer: (gram_matrix(found[layer]), gram_matrix(target[layer])) for layer in STYLE_LAYERS}
    return {layer: round(float((g - a).norm() / a.norm()), 5) for layer, (g, a) in grams.items()}


def draw(store: Store) -> None:
    store.write_sheet("layers.jpg", [_row(store, store.parts(NAME)[kind]["results"]) for kind in KINDS], cell_px=160)


def _row(store: Store, results: Record) -> list[Picture]:
    titles = {layer: f"{layer} alone" for layer in STYLE_LAYERS} | {ALL_LAYERS: ALL_LAYERS}
    pictures = [
        store.picture(results[name]["image"], title, f"style {results[name]['style']:.3f}")
        for name, title in titles.items()
    ]
    return [style_picture(STYLE, "style:"), *pictures]
