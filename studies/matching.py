"""Which statistic of the features makes the best picture in equal time, at equal content distance, and in how few
components: by the Grams' distance and by the nearest patches'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from studies.costs import evaluations
from studies.settings import Pair, Settings, photo, style
from studies.store import Record, Store, style_picture
from stylecore.config import StylizeConfig
from stylecore.engine import job_yardstick
from stylecore.images import save_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun
from stylecore.patches import job_patch_yardstick
from stylecore.presets import make_config
from stylecore.report import Picture

NAME = "matching"
PRESET = "preview"  # whose stages and optimiser all have, with the full encoder
LOSSES = ("gram", "w2", "swd", "nnfm", "histogram")
REDUCIBLE = ("w2", "swd", "nnfm")
QUANTITIES = ("style", "witness", "content", "to_style", "from_style")
MORE = 3  # times the evaluations of the preset that a faster loss may make in the time of `gram`


def run(store: Store) -> None:
    settings = store.settings
    variants = {name: {"loss": name} for name in LOSSES}
    store.part(NAME, "evaluation", partial(evaluations, settings, store.encoder, variants))
    for size in settings.matching_sizes_px:
        for pair in settings.matching_pairs:
            _part(store, str(size), size, pair, variants)
    size = settings.matching_sizes_px[0]
    variants = {"gram": {"loss": "gram"}} | {
        f"{name} {share}": {"loss": name, "components": share}
        for name in REDUCIBLE
        for share in settings.matching_shares
    }
    for pair in settings.sweep_pairs:
        _part(store, "components", size, pair, variants)


def _part(store: Store, kind: str, size: int, pair: Pair, variants: Mapping[str, Mapping[str, str]]) -> None:
    photo_and_style = "+".join(pair)
    files = f"{NAME}-{kind}-{photo_and_style}"
    store.part(NAME, f"{kind} {photo_and_style}", partial(match, store, files, size, pair, variants))


def match(store: Store, files: str, size: int, pair: Pair, variants: Mapping[str, Mapping[str, str]]) -> Record:
    """Every variant at every style weight, each within the seconds that `gram`, the first, takes at the preset's own;
    and what each comes to at the content distance of that run.

    The sheet is drawn here and now: a part that has one needs its images no more, and is not run again on a machine
    that does not have them.

    Args:
        files: what the names of the images and of the sheet begin with.

    Returns:
        {"results": {name: {style, witness, content, to_style, from_style, num_steps, image, runs}}, "figures": [name]}
    """
    reference = measured(store, f"{files}-reference", pair, config_of(store.settings, size))
    results: dict[str, Record] = {}
    for name, options in variants.items():
        runs = []
        for weight in store.settings.matching_weights:
            config = config_of(store.settings, size, **options, style_weight=weight)
            limited = config.replace(num_steps=MORE * config.num_steps, time_budget=reference["seconds"])
            file = f"{files}-{name}-{weight:g}".replace("%", "pct").replace(" ", "-")
            runs.append(measured(store, file, pair, limited))
        results[name] = at_content(runs, reference["content"]) | {"runs": runs}
    figure = f"{files}.jpg".replace("+", "-")
    store.write_sheet(figure, [_row(store, pair, results)], cell_px=200)
    return {"results": results, "figures": [figure]}


def config_of(settings: Settings, size: int, **options: object) -> StylizeConfig:
    given = {"encoder": "vgg16", "device": "cpu", "size": size}
    return make_config(PRESET, **given, num_steps=settings.matching_steps, **options)


def measured(store: Store, file: str, pair: Pair, config: StylizeConfig) -> Record:
    """Run, save, and judge by both yardsticks."""
    job = Job(photo(pair[0]), (style(pair[1]),), config)
    made = MeasuredRun(job, encoder=store.encoder, yardstick=job_yardstick(job)).to_end()
    save_image(made.image, store.images / f"{file}.png", job.settings())
    patches, distances = job_patch_yardstick(job).measure(made.image), made.distances
    values = (distances.style, distances.witness, distances.content, patches.to_style, patches.from_style)
    return {quantity: round(value, 5) for quantity, value in zip(QUANTITIES, values, strict=True)} | {
        "seconds": round(made.seconds, 3),
        "num_steps": made.num_steps,
        "diverged": made.reason == "diverged",
        "image": f"{file}.png",
    }


def at_content(runs: Sequence[Record], content: float) -> Record:
    """Between the runs, at a content distance: every quantity interpolated, and the image of the nearest run. Beyond
    the runs it is the last one's, as its own content distance says."""
    ordered = sorted(runs, key=lambda found: found["content"])
    known = [found["content"] for found in ordered]
    values = {
        quantity: round(float(np.interp(content, known, [found[quantity] for found in ordered])), 5)
        for quantity in (*QUANTITIES, "num_steps")
    }
    nearest = min(runs, key=lambda found: abs(found["content"] - content))
    return values | {"image": nearest["image"], "diverged": any(found["diverged"] for found in runs)}


def draw(_: Store) -> None:
    """Nothing: each part has drawn its own."""


def _row(store: Store, pair: Pair, results: Record) -> list[Picture]:
    return [style_picture(pair[1], "style:"), *(_picture(store, name, result) for name, result in results.items())]


def _picture(store: Store, name: str, result: Record) -> Picture:
    patches = (result["to_style"] + result["from_style"]) / 2
    return store.picture(result["image"], name, f"style {result['style']:.3f}", f"patches {patches:.3f}")
