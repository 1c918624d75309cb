"""What the reductions keep: K of `pca` and the threshold of `svd`, and the variance that each K explains."""

from __future__ import annotations

from functools import partial

from studies import figures
from studies.findings import Sweep
from studies.race import measure, race_record
from studies.settings import STYLES, Pair, Settings, photo, recipe, scaled, style
from studies.store import Record, Store
from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.images import save_image
from stylecore.losses.basis import Components, fit_basis
from stylecore.losses.statistics import all_moments
from stylecore.report import Picture

NAME = "sweep"


def run(store: Store) -> None:
    for pair in store.settings.sweep_pairs:
        store.part(NAME, "+".join(pair), partial(sweep, store, pair))
    store.part(NAME, "explained", partial(explained_variance, store.settings, store.encoder))


def sweep(store: Store, pair: Pair) -> Record:
    """Every K and every threshold on one pair, with equal evaluations; K = 0 is the photo itself."""
    settings, name = store.settings, "+".join(pair)
    content, picture = photo(pair[0]), style(pair[1])
    configs = {"gram": recipe(settings)}
    configs |= {f"pca {share}": recipe(settings, loss="pca", components=share) for share in settings.shares}
    configs |= {f"svd {limit}": recipe(settings, loss="svd", threshold=limit) for limit in settings.thresholds}
    record = race_record(store, f"{NAME}-{name}", content, picture, configs, "evaluations")
    # Without a style term the content start is the optimum already.
    start = scaled(content, settings.size_px)
    file = f"{NAME}-{name}-photo.png"
    save_image(start, store.images / file)
    nothing = measure(start, content, picture)
    nothing |= {"image": file, "detail": round(nothing["energy"] / record["results"]["gram"]["energy"], 4)}
    record["results"]["pca 0%"] = nothing
    record["images"].append(file)
    return record


def explained_variance(settings: Settings, encoder: Encoder) -> Record:
    """Explained variance by layer and K, the mean over the styles."""
    explained: dict[str, dict[str, float]] = {}
    everything = Components(share=1.0)
    for layer in STYLE_LAYERS:
        ratios: dict[str, list[float]] = {share: [] for share in settings.shares}
        for name in STYLES:
            features = encoder(scaled(style(name), settings.size_px), [layer])[layer]
            values = fit_basis([all_moments(features)], [1.0], everything, layer=layer).eigenvalues.clamp_min(0)
            for share in settings.shares:
                kept = Components.parse(share).number(values, layer)
                ratios[share].append(float(values[:kept].sum() / values.sum()))
        explained[layer] = {share: round(sum(found) / len(found), 5) for share, found in ratios.items()}
    return {"explained": explained, "styles": list(STYLES)}


def draw(store: Store) -> None:
    findings = Sweep(store.parts(NAME), store.content["settings"])
    store.write_figure("sweep.png", figures.sweep_png(findings))
    names = ["pca 0%", *(f"pca {share}" for share in store.settings.shares), "gram"]
    rows = [[_picture(store, name, part["results"][name]) for name in names] for part in findings.parts.values()]
    store.write_sheet("sweep_pictures.jpg", rows, cell_px=150)


def _picture(store: Store, name: str, result: Record) -> Picture:
    title = "photo (K = 0)" if name == "pca 0%" else name.replace("pca ", "K = ").replace("%", " % of N")
    return store.picture(result["image"], title, f"style {result['style']:.3f}", f"detail {result['detail']:.2f}")
