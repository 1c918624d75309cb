"""Why the Gram carries style: it does not know where anything is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from studies.settings import Settings, scaled, style, texture_recipe
from studies.store import Record, Store
from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.images import LEVELS, ImageTensor, image_size, save_image
from stylecore.losses import Target
from stylecore.losses.statistics import Features, flatten_positions, gram_matrix
from stylecore.metrics import CONTENT_LAYER, style_distance
from stylecore.objective import Objective, make_objective
from stylecore.optimizers import make_optimizer
from stylecore.start import JobImages, initial_image

NAME = "shuffle"
STYLE = "stained_glass"
PANELS = {
    "style": "the style",
    "features": "its relu1_1 features, shuffled",
    "from the style": "texture from the style",
    "from shuffled features": "texture from shuffled features",
    "shuffled pixels": "for contrast: shuffled pixels",
}


def run(store: Store) -> None:
    store.part(NAME, STYLE, partial(shuffle, store))


def shuffle(store: Store) -> Record:
    picture, encoder = scaled(style(STYLE), store.settings.size_px), store.encoder
    images = {
        "style": picture,
        "features": shown_features(shuffled(encoder(picture, ["relu1_1"])["relu1_1"])),
        "from the style": synthesise(store.settings, picture, encoder, shuffling=False),
        "from shuffled features": synthesise(store.settings, picture, encoder, shuffling=True),
        "shuffled pixels": shuffled(picture),
    }
    files = {name: f"{NAME}-{name.replace(' ', '-')}.png" for name in images}
    for name, image in images.items():
        save_image(image, store.images / files[name])
    measured = {name: round(style_distance(image, picture), 5) for name, image in images.items() if name != "features"}
    return {
        "layers": permutation_distances(picture, encoder),
        "style_distance": measured,
        "files": files,
        "images": list(files.values()),
    }


def shuffled(features: Features, seed: int = 0) -> Features:
    """The same vectors at other positions; all channels of a position stay together."""
    order = torch.randperm(features.shape[2] * features.shape[3], generator=torch.Generator().manual_seed(seed))
    return features.flatten(2)[:, :, order].view_as(features)


def permutation_distances(picture: ImageTensor, network: Encoder) -> dict[str, dict[str, float]]:
    """Relative change of a layer's Gram and of its features when the positions are shuffled."""
    layers = (*STYLE_LAYERS, CONTENT_LAYER)
    with torch.no_grad():
        found = network(picture, layers)
    return {
        layer: {
            "gram": _relative(gram_matrix(shuffled(found[layer])), gram_matrix(found[layer])),
            "features": round(_relative(shuffled(found[layer]), found[layer]), 5),
        }
        for layer in layers
    }


def _relative(value: Tensor, target: Tensor) -> float:
    return float((value - target).norm() / target.norm())


def synthesise(settings: Settings, picture: ImageTensor, network: Encoder, *, shuffling: bool) -> ImageTensor:
    """A texture from noise, by the Grams of the picture or of its features with each layer's positions shuffled."""
    config = texture_recipe(settings)
    objective = make_objective(network, picture, [picture], config)
    if shuffling:
        found = network(picture, config.style_layers)
        summaries = [
            term.loss.summarize(shuffled(found[term.layer], seed=number))
            for number, term in enumerate(objective.style_terms)
        ]
        terms = [
            replace(term, target=Target(summary))
            for term, summary in zip(objective.style_terms, summaries, strict=True)
        ]
        objective = Objective(network, objective.content_terms, terms, config)
    variable = initial_image(JobImages(picture, (picture,)), config, image_size(picture)) * LEVELS
    optimizer = make_optimizer(config, config.num_steps)
    for _ in range(config.num_steps):
        variable = optimizer.step(variable, objective.evaluate(variable).gradient)
    return (variable / LEVELS).clamp(0, 1)


def shown_features(features: Features) -> ImageTensor:
    """The three strongest directions of a feature map as red, green and blue."""
    flat = flatten_positions(features)[0]
    centred = flat - flat.mean(1, keepdim=True)
    vectors = torch.linalg.eigh(centred @ centred.mT).eigenvectors[:, -3:]
    planes = vectors.mT @ centred
    planes = planes / (4 * planes.std(1, keepdim=True)) + 0.5
    return planes.view(1, 3, *features.shape[2:]).clamp(0, 1)


def draw(store: Store) -> None:
    record = store.parts(NAME)[STYLE]
    distances = {
        name: f"style {distance:.3f}" for name, distance in record["style_distance"].items() if name != "style"
    }
    row = [store.picture(record["files"][name], title, distances.get(name, "")) for name, title in PANELS.items()]
    store.write_sheet("shuffle.jpg", [row], cell_px=200)
