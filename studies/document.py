"""docs/study.md from template.md: every number, and every word that depends on one, is put in here from the records."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from studies import store
from stylecore.encoders.vgg import STYLE_LAYERS
from stylecore.files import replacing
from stylecore.losses import LossOptions
from stylecore.metrics import CONTENT_LAYER, DETAIL_SIGMA_PX

TEMPLATE = Path(__file__).parent / "template.md"
WIDTH = 120
COMMAND = "python -m studies"
MAIN, MAIN_TEXT = "12.5%", "12.5 %"  # of N: the share whose cost is reported
PAPER_SHARE = "50%"  # the paper's K = N / 2
CLOSE = 0.10  # distances within this share of each other are called alike
CLEAR = 0.03  # a mean ratio to gram this far below 1 is called a gain, as far above a loss
MOST = 0.75  # of the pairs
SMALL_ENCODERS = (2, 4)  # times as fast as the full one
Record = Mapping[str, Any]


def write(records: Path, target: Path) -> None:
    """Render the document beside the records' folder."""
    text = render(store.read(records), by_eye(records.parent / "by_eye.json"))
    with replacing(target) as file:
        file.write(text.encode())


def by_eye(path: Path) -> dict[str, str]:
    """What someone who looked at the figures wrote about each; {figure: sentence}."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def render(records: Record, seen: Mapping[str, str]) -> str:
    """The whole document. A KeyError names what the records do not hold."""
    parts = records["experiments"]
    values = general(records) | costs(records) | sweeps(records) | shuffling(parts["shuffle"])
    values |= kernels(parts["kernels"]) | layers(parts["layers"]) | weights(parts["weights"])
    values["table_claims"] = claims(records)
    for figure in ("sweep", "shuffle", "kernels", "layers", "weights"):
        values[f"eye_{figure}"] = f"\nBy eye: {seen[figure]}" if figure in seen else ""
    return wrapped(Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values))


def wrapped(text: str) -> str:
    """Paragraphs and list items in lines of at most `WIDTH`; headings, tables and pictures as they are."""
    blocks = [block.strip("\n") for block in re.split(r"\n{2,}", text)]
    return "\n\n".join(_wrapped_block(block) for block in blocks if block) + "\n"


def _wrapped_block(block: str) -> str:
    if block.startswith(("|", "#", "!")):
        return block
    if block.startswith("- "):
        items = re.split(r"\n(?=- )", block)
        return "\n".join(_filled(item, subsequent_indent="  ") for item in items)
    return _filled(block)


def _filled(text: str, subsequent_indent: str = "") -> str:
    words = " ".join(text.split())
    return textwrap.fill(
        words, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=subsequent_indent
    )


# Words and tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column flush left, all others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) < 0.095 else 0}f} %"


def listed(words: Sequence[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def three(value: float) -> str:
    return f"{value:.3f}"


def spaced(text: str) -> str:
    """12.5% -> 12.5 %"""
    return text.replace("%", " %")


def mean_of(parts: Iterable[Record], name: str, quantity: str) -> float:
    return fmean(part["results"][name][quantity] for part in parts)


def ratio(a: float, b: float) -> str:
    return f"{a / b:.2f}"


# Sections


def general(records: Record) -> dict[str, str]:
    settings, environment = records["settings"], records["environment"]
    threads = environment["num_threads"]
    parts = records["experiments"]
    photos = sorted({key.split("+")[0] for key in parts["weights"]})
    return {
        "command": COMMAND,
        "size_px": str(settings["size_px"]),
        "num_steps": str(settings["num_steps"]),
        "texture_steps": str(settings["texture_steps"]),
        "cost_size_px": str(settings["cost_size_px"]),
        "cost_repeats": str(settings["cost_repeats"]),
        "num_pairs": str(len(parts["weights"])),
        "photos": listed([f"`{name}`" for name in photos]),
        "cpu": f"{environment['cpu']} ({environment['system']})",
        "num_threads": f"{threads} thread{'s' * (threads != 1)}",
        "torch": environment["torch"],
        "sigma_px": f"{DETAIL_SIGMA_PX:g}",
        "refresh_every": str(LossOptions.refresh_every),
        "num_samples": str(LossOptions.num_samples),
        "main_share": MAIN_TEXT,
        "minutes": f"{sum(part['wall_s'] for found in parts.values() for part in found.values()) / 60:.0f}",
    }


def stage_ms(stages: Mapping[str, float], *kinds: str) -> float:
    return sum(value for stage, value in stages.items() if any(kind in stage for kind in kinds or ("",)))


def costs(records: Record) -> dict[str, str]:
    parts = records["experiments"]["costs"]
    stages = {dtype: parts[f"loss stage {dtype}"] for dtype in ("float32", "bfloat16")}
    gain = {dtype: stages[dtype]["ratios"]["all"][MAIN]["median"] for dtype in stages}
    evaluations = parts["evaluation"]["milliseconds"]
    total = {name: stage_ms(found) for name, found in evaluations.items()}
    losses = {name: stage_ms(found, "loss") for name, found in evaluations.items()}
    share = losses["gram"] / total["gram"]
    speedup = total["gram"] / total[f"pca {MAIN}"]
    kept = float(MAIN.rstrip("%")) / 100
    small = [_with_smaller_encoder(evaluations, factor) for factor in SMALL_ENCODERS]
    memory = parts["memory"]
    beyond = memory["beyond_features_mib"]
    height, width = records["settings"]["memory_size_px"]
    cheaper = speedup > 1 + CLEAR
    best, worst = (
        pick(STYLE_LAYERS, key=lambda layer: stages["float32"]["ratios"][layer][MAIN]["median"]) for pick in (max, min)
    )
    paper = {name: total[name] / total["gram"] for name in ("pca-paper", "svd-paper")}
    return {
        "theory_ratio": f"{1 / (kept + kept**2):.1f}",
        "table_stage": table(
            [
                "layer",
                *(f"{dtype} {what}" for dtype in stages for what in ("gram, ms", f"pca {MAIN_TEXT}, ms", "ratio")),
            ],
            ([row.replace("all", "all five"), *_stage_cells(stages, row)] for row in (*STYLE_LAYERS, "all")),
        ),
        "stage_sentence": (
            f"In float32 the whole stage is {gain['float32']:.1f} times "
            + ("cheaper" if gain["float32"] > 1 else "as cheap: it is not cheaper")
            + f"; it gains most at {best} and least at {worst}."
        ),
        "bfloat16_sentence": (
            f"In bfloat16, whose features both losses first turn into float32, the ratio is {gain['bfloat16']:.1f}"
            + (": the gain is smaller there." if gain["bfloat16"] < 0.95 * gain["float32"] else ", much the same.")
        ),
        "costs_left_caption": (
            "the reduced loss stage is faster at every layer, and more so where there are more channels."
            if _grows([stages["float32"]["ratios"][layer][MAIN]["median"] for layer in STYLE_LAYERS[:4]])
            else "how many times faster the reduced loss stage is, layer by layer."
        ),
        "costs_right_caption": (
            "the loss is a thin slice of an evaluation, whether reduced or not; the paper's own versions spend most of "
            "theirs on decompositions."
            if share < 0.25 and evaluations["pca-paper"]["refresh"] > 0.5 * total["pca-paper"]
            else "where the time of an evaluation goes, by loss."
        ),
        "table_evaluation": table(
            ["loss", "encoder", "loss and gradient", "decompositions", "L-BFGS", "sum", "against gram"],
            (_evaluation_row(name, found, total["gram"]) for name, found in evaluations.items()),
        ),
        "evaluation_sentence": (
            f"With `pca` an evaluation takes {percent(total[f'pca {MAIN}'] / total['gram'])} of the time that it takes "
            f"with `gram`{'' if cheaper else ', which is hardly a gain'}."
        ),
        "svd_sentence": _cheaper_than_gram("svd", total["svd"] / total["gram"]),
        "paper_cost_sentence": (
            f"The paper's versions, with a decomposition in NumPy at every step, take {paper['pca-paper']:.1f} "
            f"(`pca-paper`) and {paper['svd-paper']:.1f} times (`svd-paper`) as long as `gram`."
        ),
        "memory_height": str(height),
        "memory_width": str(width),
        "features_mib": f"{memory['features_mib']:.0f}",
        "paper_gib": f"{memory['positions_squared_gib']:.2f}",
        "table_memory": table(
            ["loss", "MiB beyond the features"], ([f"`{n}`", f"{mib:.0f}"] for n, mib in beyond.items())
        ),
        "memory_sentence": (
            f"`svd` takes its left factor from a Gram matrix, and needs {beyond['svd']:.0f} MiB beyond the features; "
            + (
                "that is no more than the full Gram."
                if beyond["svd"] <= 1.05 * beyond["gram"]
                else f"the full Gram needs {beyond['gram']:.0f} MiB."
            )
        ),
        "share": percent(share),
        "amdahl": f"{1 / (1 - share):.2f}",
        "measured_speedup": f"{speedup:.2f}",
        "pays_sentence": (
            "So a reduced loss pays with the full encoder, but not much."
            if CLEAR < speedup - 1 < 0.25
            else "So with the full encoder a reduced loss hardly pays."
            if speedup <= 1 + CLEAR
            else "So a reduced loss pays with the full encoder already."
        ),
        "small_factors": listed([str(factor) for factor in SMALL_ENCODERS]),
        "small_shares": listed([percent(found[0]) for found in small]),
        "small_speedups": listed([f"{found[1]:.2f}" for found in small]),
        "short_cost": (
            f"Projecting the features on {MAIN_TEXT} of their directions makes the style loss and its gradient "
            f"{gain['float32']:.1f} times cheaper (float32). They are {percent(share)} of an evaluation with the full "
            f"encoder; the evaluation becomes {speedup:.2f} times as fast."
            + " A reduced loss alone does not make style transfer fast."
            * (speedup < 1.25)
        ),
        "short_paper": (
            f"The paper's finding that its PCA is slower than the full Gram is "
            f"{'right' if paper['pca-paper'] > 1 + CLEAR else 'not confirmed here'}: `pca-paper` takes "
            f"{paper['pca-paper']:.1f} times as long an evaluation. The cause is the decomposition at every step, not "
            f"the idea. Its SVD needs {beyond['svd']:.0f} MiB beyond the features here, not "
            f"{memory['positions_squared_gib']:.2f} GiB."
        ),
    }


def _grows(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values)) and values[0] > 1


def _stage_cells(stages: Mapping[str, Record], row: str) -> list[str]:
    cells = []
    for found in stages.values():
        times, spread = found["milliseconds"][row], found["ratios"][row][MAIN]
        cells += [f"{times['gram']:.2f}", f"{times[MAIN]:.2f}"]
        cells.append(f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})")
    return cells


def _evaluation_row(name: str, found: Mapping[str, float], reference: float) -> list[str]:
    total = stage_ms(found)
    members = [stage_ms(found, kind) for kind in ("encoder", "loss", "refresh", "optimizer")]
    return [f"`{spaced(name)}`", *(f"{value:.1f}" for value in members), f"{total:.1f}", f"{total / reference:.2f}"]


def _cheaper_than_gram(name: str, against: float) -> str:
    if against < 1 - CLEAR:
        return f"with that, `{name}` is cheaper than `gram`."
    return f"with that, `{name}` costs {'more than' if against > 1 + CLEAR else 'as much as'} `gram`."


def _with_smaller_encoder(evaluations: Mapping[str, Mapping[str, float]], factor: float) -> tuple[float, float]:
    """The losses' share, and the gain by `pca`, if the encoder were `factor` times as fast and all else the same."""
    totals = {}
    for name in ("gram", f"pca {MAIN}"):
        encoder = stage_ms(evaluations[name], "encoder")
        totals[name] = stage_ms(evaluations[name]) - encoder + encoder / factor
    return stage_ms(evaluations["gram"], "loss") / totals["gram"], totals["gram"] / totals[f"pca {MAIN}"]


def _sweep_parts(records: Record) -> dict[str, Record]:
    return {key: part for key, part in records["experiments"]["sweep"].items() if "results" in part}


def sweeps(records: Record) -> dict[str, str]:
    pairs = _sweep_parts(records)
    parts = list(pairs.values())
    shares, thresholds = records["settings"]["shares"], records["settings"]["thresholds"]
    explained = records["experiments"]["sweep"]["explained"]

    def mean(name: str, quantity: str) -> float:
        return mean_of(parts, name, quantity)

    def row(title: str, name: str) -> list[str]:
        seconds = "" if name == "pca 0%" else f"{mean(name, 'seconds'):.1f}"
        return [
            title,
            *(three(mean(name, q)) for q in ("style", "witness", "content")),
            f"{mean(name, 'detail'):.2f}",
            seconds,
        ]

    head = ["style", "witness", "content", "detail", "seconds"]
    full, photo = mean("gram", "style"), mean("pca 0%", "style")
    far = [s for s in shares if mean(f"pca {s}", "style") > (1 + CLOSE) * full]
    near = shares[min(len(shares) - 1, shares.index(far[-1]) + 1)] if far else shares[0]
    smoother = [s for s in shares if mean(f"pca {s}", "detail") < 1 - CLOSE]
    rougher = [s for s in shares if mean(f"pca {s}", "detail") > 1 + CLOSE]
    monotone = _grows([-mean(f"pca {s}", "style") + 2 * photo + 1 for s in shares])
    noise = fmean(abs(p["results"]["pca 100%"]["style"] / p["results"]["gram"]["style"] - 1) for p in parts)
    paper_rule = "svd mean:1"
    limit = (1 + CLOSE) * max(full, mean(paper_rule, "style"))
    wild = [value.removeprefix("mean:") for value in thresholds if mean(f"svd {value}", "style") > limit]
    at_main = mean(f"pca {MAIN}", "style")
    first = shares[0]
    return {
        "noise_sentence": (
            "Losses that are equal but for rounding end apart as well: `pca` with all components equals `gram`, and in "
            f"the sweep below their style distances differ by {percent(noise)}."
        ),
        "num_sweep_pairs": str(len(parts)),
        "sweep_pairs": listed([_pair_text(key) for key in pairs]),
        "table_components": table(
            ["K", *head],
            [row("0", "pca 0%"), *(row(f"{spaced(s)} of N", f"pca {s}") for s in shares), row("full Gram", "gram")],
        ),
        "k_sentence": (
            f"The smallest K already leaves the photo: with {spaced(first)} of N the style distance falls from "
            f"{photo:.3f} to {mean(f'pca {first}', 'style'):.3f}, where the full Gram reaches {full:.3f}."
            if mean(f"pca {first}", "style") < (1 - CLOSE) * photo
            else f"The smallest K, {spaced(first)} of N, comes hardly nearer to the style than the photo itself: "
            f"{mean(f'pca {first}', 'style'):.3f} after {photo:.3f}, where the full Gram reaches {full:.3f}."
        )
        + (
            " Every further step brings it nearer to the style."
            if monotone
            else " The way there is not quite monotone."
        ),
        "detail_sentence": (
            "Detail has to be read beside the photos' own, "
            + listed([f"{part['results']['pca 0%']['detail']:.2f} ({_pair_text(key)})" for key, part in pairs.items()])
            + " of the full Gram's result: where a loss leaves more of the photo, it leaves the photo's detail too."
        ),
        "near_full_sentence": (
            f"From {spaced(near)} of N on the style distance is within {percent(CLOSE)} of the full Gram's."
            if near != shares[-1]
            else f"Only with all components is the style distance within {percent(CLOSE)} of the full Gram's."
        ),
        "sweep_caption": (
            "Left: as K grows, style and witness fall towards the full Gram's dashed lines while content rises to its "
            "own; below, the detail. Right: the same for the threshold, from what drops most to what drops nothing."
        ),
        "table_explained": table(
            ["layer", *(spaced(s) for s in shares)],
            ([layer, *(f"{100 * found[s]:.1f} %" for s in shares)] for layer, found in explained["explained"].items()),
        ),
        "num_styles": str(len(explained["styles"])),
        "explained_sentence": _explained_sentence(explained["explained"]),
        "table_thresholds": table(
            ["threshold", *head],
            [*(row(t.removeprefix("mean:"), f"svd {t}") for t in thresholds), row("full Gram", "gram")],
        ),
        "threshold_sentence": (
            f"At the paper's rule the style distance is {ratio(mean(paper_rule, 'style'), full)} times the full "
            f"Gram's, and detail {mean(paper_rule, 'detail'):.2f}. "
            + (f"At {listed(wild)} it is" if wild else "At no other threshold is it")
            + f" more than {percent(CLOSE)} above the larger of the two."
        ),
        "diverged_sentence": _diverged_sentence(records),
        "short_kept": (
            f"At equal evaluations, {MAIN_TEXT} of the components end at {ratio(at_main, full)} times the full Gram's "
            f"style distance ({at_main:.3f} against {full:.3f}), and {spaced(PAPER_SHARE)}, the paper's choice, at "
            f"{ratio(mean(f'pca {PAPER_SHARE}', 'style'), full)} times."
        ),
        "short_detail": (
            "“Smoother, with less detail” "
            + (
                f"holds for `pca` at {listed([spaced(s) for s in smoother])} of N"
                if smoother
                else "does not hold for `pca` at any K"
            )
            + (
                f"; at {listed([spaced(s) for s in rougher])} the result has more fine contrast, not less"
                * bool(rougher)
            )
            + f". At {MAIN_TEXT} detail is {mean(f'pca {MAIN}', 'detail'):.2f} of the full Gram's."
        ),
    }


def _diverged_sentence(records: Record) -> str:
    """Which runs of the whole study diverged."""
    found = [
        f"`{spaced(name)}` on {_pair_text(key)}"
        for parts in records["experiments"].values()
        for key, part in parts.items()
        for name, result in part.get("results", {}).items()
        if result.get("diverged")
    ]
    if not found:
        return "No run of the study diverged."
    return f"Runs that diverged, and whose last good image was measured: {listed(found)}."


def _pair_text(key: str) -> str:
    return key.replace("+", " with ").replace("_", " ")


def _explained_sentence(explained: Mapping[str, Mapping[str, float]]) -> str:
    at_main = {layer: found[MAIN] for layer, found in explained.items()}
    low, high = min(at_main, key=at_main.__getitem__), max(at_main, key=at_main.__getitem__)
    return (
        f"{MAIN_TEXT} of the directions hold between {percent(at_main[low])} ({low}) and {percent(at_main[high])} "
        f"({high}) of the variance: the channels of a layer are strongly correlated."
        if at_main[low] > 0.5
        else f"{MAIN_TEXT} of the directions hold between {percent(at_main[low])} ({low}) and {percent(at_main[high])} "
        f"({high}) of the variance."
    )


def claims(records: Record) -> str:
    """What the paper says, and what was found."""
    costs_parts = records["experiments"]["costs"]
    total = {name: stage_ms(found) for name, found in costs_parts["evaluation"]["milliseconds"].items()}
    parts = list(_sweep_parts(records).values())
    slower = {name: total[name] / total["gram"] for name in ("pca-paper", "svd-paper", f"pca {MAIN}")}
    first = records["settings"]["shares"][0]
    style = {name: mean_of(parts, name, "style") for name in ("gram", "pca 0%", f"pca {first}", f"pca {PAPER_SHARE}")}
    # 0: as far from the style as the photo, 1: as near as the full Gram
    way = (style["pca 0%"] - style[f"pca {first}"]) / (style["pca 0%"] - style["gram"])
    detail = {name: mean_of(parts, name, "detail") for name in (f"pca {PAPER_SHARE}", f"pca {MAIN}", "svd mean:1")}
    memory = costs_parts["memory"]
    winners = [name for name, found in judged(records["experiments"]["weights"]).items() if found["verdict"] == "beats"]
    fewer = [name for name, value in detail.items() if value < 1 - CLEAR]
    rows = [
        (
            "Reducing the Gram by PCA makes a step slower",
            f"{'Right' if slower['pca-paper'] > 1 + CLEAR else 'Not seen'} for its own version "
            f"({slower['pca-paper']:.1f} times `gram`), which decomposes at every step. With a basis fitted once a "
            f"step takes {slower[f'pca {MAIN}']:.2f} times as long as `gram`'s.",
        ),
        (
            f"SVD of the features is impossible: {memory['positions_squared_gib']:.2f} GiB for an image of this size",
            "Right for the whole right factor, which is never needed: "
            f"{memory['beyond_features_mib']['svd']:.0f} MiB beyond the features.",
        ),
        (
            "SVD of the Gram instead",
            "As printed it cannot train (see `PaperSVDLoss`). Repaired, a step takes "
            f"{slower['svd-paper']:.1f} times as long as `gram`'s.",
        ),
        (
            "K near 0 gives the content image, K near N the original result",
            f"The second {'is right' if _alike(parts) else 'holds roughly'}. The first: at {spaced(first)} of N the "
            f"style distance has gone {percent(max(0.0, way))} of the way from the photo's to the full Gram's"
            + (", which is not near the photo any more." if way > 0.25 else ", so it is still near the photo."),
        ),
        (
            "Results are smoother, with less detail",
            (
                f"Right at {listed([f'`{spaced(name)}`' for name in fewer])}"
                if fewer
                else "Not seen where it was looked for"
            )
            + f": detail is {listed([f'{value:.2f} (`{spaced(name)}`)' for name, value in detail.items()])} of "
            "the full Gram's.",
        ),
        (
            "K = N/2 keeps the style",
            f"{'Right' if style[f'pca {PAPER_SHARE}'] < (1 + CLOSE) * style['gram'] else 'Not quite'}: style distance "
            f"{style[f'pca {PAPER_SHARE}']:.3f}, the full Gram's {style['gram']:.3f}.",
        ),
        (
            "Trained weights on feature maps should help (not built there)",
            f"{listed([f'`{name}`' for name in winners])} did." if winners else "Not at equal time, see below.",
        ),
    ]
    return "\n".join(
        ["| the paper | found here |", "| --- | --- |", *(f"| {claim} | {found} |" for claim, found in rows)]
    )


def _alike(parts: Sequence[Record]) -> bool:
    return abs(mean_of(parts, "pca 100%", "style") / mean_of(parts, "gram", "style") - 1) < CLOSE


def shuffling(parts: Record) -> dict[str, str]:
    ((name, record),) = parts.items()
    own, shuffled = (record["style_distance"][key] for key in ("from the style", "from shuffled features"))
    found = record["layers"]
    gram = max(values["gram"] for values in found.values())
    moved = min(values["features"] for values in found.values())
    alike = abs(shuffled / own - 1) < CLOSE
    return {
        "shuffle_style": name,
        "table_shuffle": table(
            ["", *found],
            [
                ["Gram (style)", *(f"{values['gram']:.0e}" for values in found.values())],
                ["features (content)", *(f"{values['features']:.2f}" for values in found.values())],
            ],
        ),
        "shuffle_sentence": (
            f"The Gram changes by rounding, at most {gram:.0e} of its size; the features, which the content loss "
            f"compares at {CONTENT_LAYER}, change by {percent(moved)} of theirs or more. A texture synthesised from "
            f"noise by the Grams of shuffled features ends at style distance {shuffled:.3f}, by the Grams of the style "
            f"itself at {own:.3f}" + (", no difference to speak of." if alike else ".")
            if gram < 1e-3
            else f"The Gram changes by up to {gram:.0e} of its size."
        ),
        "shuffle_caption": (
            "The two textures in the middle look alike, although the second was made from features without any order."
            if alike
            else "Two textures, from the features in order and from the shuffled ones."
        ),
        "short_shuffle": (
            f"The Gram carries style because it forgets positions and keeps which features occur together: after a "
            f"shuffle of all positions it changes by {gram:.0e}, and a texture made from it is "
            f"{'as near to the style' if alike else 'not as near'} as before ({shuffled:.3f}, unshuffled {own:.3f})."
        ),
    }


KERNEL_NAMES = ("gram", "mmd-poly", "mmd-gaussian", "bn", "mmd-linear")


def kernels(parts: Record) -> dict[str, str]:
    kinds = {
        "photos": [part for key, part in parts.items() if not key.startswith("texture+")],
        "textures": [part for key, part in parts.items() if key.startswith("texture+")],
    }

    def cells(loss: str) -> list[str]:
        row = [f"`{loss}`"]
        for kind, found in kinds.items():
            quantities = ("style", "witness", "content")[: 3 if kind == "photos" else 2]
            row += [three(mean_of(found, loss, quantity)) for quantity in quantities]
            row.append(f"{mean_of(found, loss, 'num_steps'):.0f}")
        return row

    def ranking(kind: str, quantity: str) -> list[str]:
        return sorted(KERNEL_NAMES, key=lambda loss: mean_of(kinds[kind], loss, quantity))

    firsts = {ranking(kind, quantity)[0] for kind in kinds for quantity in ("style", "witness")}
    order = ranking("textures", "style")
    poly = mean_of(kinds["textures"], "mmd-poly", "style") / mean_of(kinds["textures"], "gram", "style")
    return {
        "table_kernels": table(
            ["", *(f"photos: {q}" for q in ("style", "witness", "content", "evaluations"))]
            + [f"textures: {q}" for q in ("style", "witness", "evaluations")],
            map(cells, KERNEL_NAMES),
        ),
        "kernels_sentence": (
            (
                f"By style and by witness, on photos and on textures, `{next(iter(firsts))}` comes closest. "
                if len(firsts) == 1
                else "Which comes closest depends on what is asked: "
                f"{listed([f'`{name}`' for name in sorted(firsts)])} each lead somewhere. "
            )
            + f"On textures the order is {listed([f'`{name}`' for name in order])}. `mmd-poly`, `gram` on a sample, "
            + (f"ends {poly:.2f} times as far as `gram`." if poly > 1 else f"ends at {poly:.2f} of `gram`'s distance.")
        ),
        "kernels_caption": (
            "For each style a photo, then the texture alone; a column for each statistic that was matched. On textures "
            f"`{order[0]}` comes nearest to the style, `{order[-1]}` stays furthest from it."
        ),
    }


def layers(parts: Record) -> dict[str, str]:
    stylized, textures = parts["stylized"]["results"], parts["texture"]["results"]
    names = [*STYLE_LAYERS, "all five"]
    matrix = {name: textures[name]["by_layer"] for name in names}
    own = [name for name in STYLE_LAYERS if min(matrix[name], key=matrix[name].__getitem__) == name]
    content = [stylized[name]["content"] for name in STYLE_LAYERS]
    best = min(STYLE_LAYERS, key=lambda name: textures[name]["style"])
    together = textures["all five"]["style"]
    return {
        "layers_photo": "astronaut",
        "layers_style": "woodblock_waves",
        "table_layers": table(
            ["style at", "photo: style", "photo: witness", "photo: content", "texture: style", "texture: witness"],
            (
                [name, *(three(stylized[name][q]) for q in ("style", "witness", "content"))]
                + [three(textures[name][q]) for q in ("style", "witness")]
                for name in names
            ),
        ),
        "table_layer_matrix": table(["made by", *STYLE_LAYERS], (_matrix_row(name, matrix[name]) for name in names)),
        "layers_sentence": (
            f"{len(own)} of {len(STYLE_LAYERS)} single layers match the style best at themselves"
            + (", and none of them matches all scales. " if together < textures[best]["style"] else ". ")
            + f"The best single layer by the yardstick is {best} ({textures[best]['style']:.3f}); all five together "
            f"reach {together:.3f}. "
            + (
                "On the photo, content is given up more the deeper the layer."
                if _grows([1 + value for value in content])
                else f"On the photo, {STYLE_LAYERS[content.index(max(content))]} alone displaces most of the content."
            )
        ),
        "layers_caption": (
            "Top: the photo; bottom: texture from noise. From left to right the style term sits at one layer, from the "
            "first to the last: colours and grain, then strokes, then larger shapes; all five at the right."
        ),
    }


def _matrix_row(name: str, distances: Mapping[str, float]) -> list[str]:
    nearest = min(distances.values())
    return [name, *(f"**{value:.2f}**" if value == nearest else f"{value:.2f}" for value in distances.values())]


def judged(parts: Record) -> dict[str, dict[str, Any]]:
    """For each weighting: mean ratios to gram, pairs won, and the verdict: beats, mixed or loses.

    It beats `gram` if style and witness are both lower in the mean by `CLEAR`, and both lower on `MOST` of the pairs.
    """
    variants = [name for name in next(iter(parts.values()))["results"] if name != "gram"]
    found = {}
    for name in variants:
        ratios = {
            quantity: [p["results"][name][quantity] / p["results"]["gram"][quantity] for p in parts.values()]
            for quantity in ("style", "witness", "content")
        }
        both = [a < 1 and b < 1 for a, b in zip(ratios["style"], ratios["witness"], strict=True)]
        means = {quantity: fmean(values) for quantity, values in ratios.items()}
        worse = max(means["style"], means["witness"])
        verdict = "mixed"
        if worse < 1 - CLEAR and sum(both) >= MOST * len(both):
            verdict = "beats"
        elif min(means["style"], means["witness"]) > 1:
            verdict = "loses"
        found[name] = {
            "means": means,
            "wins": {q: sum(value < 1 for value in ratios[q]) for q in ("style", "witness")},
            "both": sum(both),
            "verdict": verdict,
        }
    return found


def weights(parts: Record) -> dict[str, str]:
    found = judged(parts)
    number = len(parts)
    groups = {kind: [name for name, f in found.items() if f["verdict"] == kind] for kind in ("beats", "mixed", "loses")}
    left = sum(f["wins"]["style"] + f["wins"]["witness"] for f in found.values())
    sentences = []
    if groups["beats"]:
        sentences.append(f"At equal time {listed(groups['beats'])} beat{'s' * (len(groups['beats']) == 1)} `gram`.")
    else:
        sentences.append("At equal time no weighting beats `gram`.")
    for name in groups["beats"]:
        rise = found[name]["means"]["content"]
        if rise > 1 + CLEAR:
            sentences.append(
                f"With {name}, content distance is {rise:.2f} times as large: part of the gain is bought there."
            )
    if groups["mixed"]:
        sentences.append(f"{listed(groups['mixed']).capitalize()}: neither clearly better nor worse.")
    if groups["loses"]:
        sentences.append(f"Worse than `gram` by style and by witness in the mean: {listed(groups['loses'])}.")
    sentences.append(
        f"“Beats” means here: both distances at least {percent(CLEAR)} lower in the mean, and both lower on "
        f"{percent(MOST)} of the pairs."
    )
    best = min(found, key=lambda name: found[name]["means"]["style"])
    adversarial = [name for name in found if name.startswith("adversarial")]
    steps = fmean(mean_of(parts.values(), name, "num_steps") for name in adversarial)
    gram_steps = mean_of(parts.values(), "gram", "num_steps")
    sentences.append(
        f"In the time of `gram`'s {gram_steps:.0f} evaluations the adversarial losses make {steps:.0f}, and they clear "
        "the memory of L-BFGS whenever the weights change."
    )
    return {
        "table_weights": table(
            ["", "style", "witness", "content", "pairs won: style", "witness", "both"],
            (
                [name, *(f"{f['means'][q]:.2f}" for q in ("style", "witness", "content"))]
                + [f"{f['wins'][q]} of {number}" for q in ("style", "witness")]
                + [f"{f['both']} of {number}"]
                for name, f in found.items()
            ),
        ),
        "verdict": " ".join(sentences),
        "weights_caption": (
            "Each mark is one weighting on one pair; the black line is `gram`. "
            + f"{left} of {2 * number * len(found)} marks lie left of it, where the weighting is nearer to the style."
        ),
        "table_weights_pairs": table(
            ["pair", "gram", *found],
            (
                [_pair_text(key)]
                + [f"{r['style']:.3f} / {r['witness']:.3f}" for r in (part["results"][n] for n in ("gram", *found))]
                for key, part in parts.items()
            ),
        ),
        "short_weights": (
            f"Weights on feature maps: at equal time {listed(groups['beats'])} beat{'s' * (len(groups['beats']) == 1)} "
            f"the plain Gram on {number} pairs."
            if groups["beats"]
            else f"Weights on feature maps do not pay: none of the {len(found)} weightings beats the plain Gram at "
            f"equal time on {number} pairs. The best, {best}, ends at {found[best]['means']['style']:.2f} times its "
            "style distance."
        ),
    }
