"""`gram` against other statistics of the same features, at equal time."""

from __future__ import annotations

from functools import partial

from studies.race import race_record
from studies.settings import photo, recipe, style, texture_recipe
from studies.store import Record, Store, style_picture
from stylecore.report import Picture

NAME = "kernels"
LOSSES = ("gram", "mmd-poly", "mmd-gaussian", "bn", "mmd-linear")
TEXTURE = "texture"


def run(store: Store) -> None:
    for pair in store.settings.sweep_pairs:
        store.part(NAME, "+".join(pair), partial(compare, store, *pair))
        store.part(NAME, f"{TEXTURE}+{pair[1]}", partial(compare, store, TEXTURE, pair[1]))


def compare(store: Store, content_name: str, style_name: str) -> Record:
    """All losses in the seconds that `gram` took; a texture starts from noise and has no content term."""
    picture = style(style_name)
    content, make = (picture, texture_recipe) if content_name == TEXTURE else (photo(content_name), recipe)
    configs = {loss: make(store.settings, loss=loss) for loss in LOSSES}
    return race_record(store, f"{NAME}-{content_name}+{style_name}", content, picture, configs, "seconds")


def draw(store: Store) -> None:
    rows = []
    for key, record in store.parts(NAME).items():
        content_name, style_name = key.split("+")
        first = style_picture(style_name, "texture of" if content_name == TEXTURE else "style:")
        rows.append([first, *(_picture(store, *found) for found in record["results"].items())])
    store.write_sheet("kernels.jpg", rows, cell_px=180)


def _picture(store: Store, loss: str, result: Record) -> Picture:
    distances = f"style {result['style']:.3f}, witness {result['witness']:.3f}"
    return store.picture(result["image"], loss, f"{result['num_steps']} evaluations", distances)
