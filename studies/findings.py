"""What the records say, in numbers and tables: the template of docs/study.md and its claims read them here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from stylecore.encoders import STYLE_LAYERS
from stylecore.report import Table

MAIN = "12.5%"  # of N: the share of components whose cost is reported
ALL_LAYERS = "all five"
Record = Mapping[str, Any]


def spaced(text: str) -> str:
    """12.5% -> 12.5 %"""
    return text.replace("%", " %")


def pair_text(key: str) -> str:
    """astronaut+flow_strokes -> astronaut with flow strokes"""
    return key.replace("+", " with ").replace("_", " ")


class Study:
    """All records, by experiment."""

    def __init__(self, records: Record) -> None:
        parts = records["experiments"]
        self.environment: Record = records["environment"]
        self.settings: Record = records["settings"]
        self.costs = Costs(parts["costs"])
        self.sweep = Sweep(parts["sweep"], self.settings)
        ((self.shuffled_style, shuffle),) = parts["shuffle"].items()
        self.shuffle = Shuffle(shuffle)
        self.photos = Kernels({key: part for key, part in parts["kernels"].items() if not key.startswith("texture+")})
        self.textures = Kernels({key: part for key, part in parts["kernels"].items() if key.startswith("texture+")})
        self.layers = Layers(parts["layers"])
        self.weights = Weights(parts["weights"])
        # Not in records from before there was a second judge.
        self.matching = Matching(parts["matching"]) if "matching" in parts else None
        self.minutes = sum(part["wall_s"] for found in parts.values() for part in found.values()) / 60
        self.diverged = [
            f"{name} on {key}"
            for found in parts.values()
            for key, part in found.items()
            for name, result in part.get("results", {}).items()
            if result.get("diverged")
        ]

    def kernels_table(self) -> Table:
        columns = {"": "`{}`"} | {f"photos: {q}": "{:.3f}" for q in ("style", "witness", "content")}
        columns |= {"photos: evaluations": "{:.0f}"} | {f"textures: {q}": "{:.3f}" for q in ("style", "witness")}
        of_photos, of_textures = ("style", "witness", "content", "num_steps"), ("style", "witness", "num_steps")
        rows = [
            [name, *self.photos.means(name, *of_photos), *self.textures.means(name, *of_textures)]
            for name in self.photos.names
        ]
        return Table.of(columns | {"textures: evaluations": "{:.0f}"}, rows)


class Evaluations:
    """Milliseconds of the stages of a whole evaluation, by loss."""

    def __init__(self, part: Record) -> None:
        self.evaluations: Mapping[str, Mapping[str, float]] = part["milliseconds"]

    def ms(self, loss: str, kind: str = "", encoder_speed: float = 1.0) -> float:
        """Of an evaluation: of the stages whose names hold `kind`, with an encoder so many times as fast."""
        stages = {stage: ms for stage, ms in self.evaluations[loss].items() if kind in stage}
        return sum(ms / encoder_speed if "encoder" in stage else ms for stage, ms in stages.items())

    def over_gram(self, loss: str) -> float:
        """Time of an evaluation, the full Gram's being 1."""
        return self.ms(loss) / self.ms("gram")

    def evaluation_table(self) -> Table:
        kinds = {"encoder": "encoder", "loss and gradient": "loss", "decompositions": "refresh", "L-BFGS": "optimizer"}
        columns = {"loss": "`{}`"} | dict.fromkeys((*kinds, "sum"), "{:.1f}") | {"against gram": "{:.2f}"}
        rows = [
            [spaced(loss), *(self.ms(loss, kind) for kind in kinds.values()), self.ms(loss), self.over_gram(loss)]
            for loss in self.evaluations
        ]
        return Table.of(columns, rows)


class Costs(Evaluations):
    """The loss stage alone and memory, beside whole evaluations."""

    def __init__(self, parts: Record) -> None:
        super().__init__(parts["evaluation"])
        self.stages = {dtype: parts[f"loss stage {dtype}"] for dtype in ("float32", "bfloat16")}
        self.memory: Record = parts["memory"]

    def ratio(self, layer: str = "all", dtype: str = "float32") -> float:
        """The full Gram's time over that of `pca`, loss and gradient."""
        return float(self.stages[dtype]["ratios"][layer][MAIN]["median"])

    def quartiles(self, layer: str, dtype: str) -> tuple[float, float]:
        """Of that ratio over the rounds."""
        found = self.stages[dtype]["ratios"][layer][MAIN]
        return found["low"], found["high"]

    def share(self, encoder_speed: float = 1.0) -> float:
        """Of the losses and their gradient in an evaluation with the full Gram."""
        return self.ms("gram", "loss") / self.ms("gram", encoder_speed=encoder_speed)

    def speedup(self, encoder_speed: float = 1.0) -> float:
        """Of an evaluation, by `pca`."""
        return self.ms("gram", encoder_speed=encoder_speed) / self.ms(f"pca {MAIN}", encoder_speed=encoder_speed)

    def stage_table(self) -> Table:
        whats = {"gram, ms": "{:.2f}", f"pca {spaced(MAIN)}, ms": "{:.2f}", "ratio": "{}"}
        columns = {f"{dtype} {what}": form for dtype in self.stages for what, form in whats.items()}
        rows = [[layer.replace("all", ALL_LAYERS), *self._stage_cells(layer)] for layer in (*STYLE_LAYERS, "all")]
        return Table.of({"layer": "{}"} | columns, rows)

    def _stage_cells(self, layer: str) -> list[float | str]:
        cells: list[float | str] = []
        for dtype, found in self.stages.items():
            times = found["milliseconds"][layer]
            low, high = self.quartiles(layer, dtype)
            cells += times["gram"], times[MAIN], f"{self.ratio(layer, dtype):.2f} ({low:.2f} to {high:.2f})"
        return cells

    def memory_table(self) -> Table:
        return Table.of(
            {"loss": "`{}`", "MiB beyond the features": "{:.0f}"}, self.memory["beyond_features_mib"].items()
        )


class Results:
    """Results of the same names on several pairs."""

    def __init__(self, parts: Record) -> None:
        self.parts = parts

    @property
    def names(self) -> list[str]:
        return list(next(iter(self.parts.values()))["results"])

    @property
    def pairs(self) -> list[str]:
        return list(map(pair_text, self.parts))

    def mean(self, name: str, quantity: str = "style") -> float:
        return fmean(part["results"][name][quantity] for part in self.parts.values())

    def means(self, name: str, *quantities: str) -> list[float]:
        return [self.mean(name, quantity) for quantity in quantities]

    def over_gram(self, name: str, quantity: str = "style") -> float:
        """The mean, the full Gram's being 1."""
        return self.mean(name, quantity) / self.mean("gram", quantity)


class Sweep(Results):
    """Components of `pca` and thresholds of `svd`; `pca 0%` is the photo."""

    def __init__(self, parts: Record, settings: Record) -> None:
        super().__init__({key: part for key, part in parts.items() if "results" in part})
        self.shares: Sequence[str] = settings["shares"]
        self.thresholds: Sequence[str] = settings["thresholds"]
        self.explained: Mapping[str, Mapping[str, float]] = parts["explained"]["explained"]
        self.num_styles = len(parts["explained"]["styles"])

    def progress(self, name: str) -> float:
        """0: as far from the style as the photo; 1: as near as the full Gram."""
        photo = self.mean("pca 0%")
        return (photo - self.mean(name)) / (photo - self.mean("gram"))

    def photo_details(self) -> list[tuple[str, float]]:
        """Each pair with the detail of its photo, its full Gram's result being 1."""
        return [(pair_text(key), part["results"]["pca 0%"]["detail"]) for key, part in self.parts.items()]

    def rounding(self) -> float:
        """How far `pca` with all components and the full Gram end apart, relatively."""
        ratios = (
            part["results"]["pca 100%"]["style"] / part["results"]["gram"]["style"] for part in self.parts.values()
        )
        return fmean(abs(ratio - 1) for ratio in ratios)

    def components_table(self) -> Table:
        rows = {"0": "pca 0%"} | {f"{spaced(share)} of N": f"pca {share}" for share in self.shares}
        return self._table("K", rows)

    def thresholds_table(self) -> Table:
        return self._table("threshold", {value.removeprefix("mean:"): f"svd {value}" for value in self.thresholds})

    def _table(self, heading: str, rows: Mapping[str, str]) -> Table:
        columns = {heading: "{}", "style": "{:.3f}", "witness": "{:.3f}", "content": "{:.3f}"}
        columns |= {"detail": "{:.2f}", "seconds": "{:.1f}"}
        named = {**rows, "full Gram": "gram"}.items()
        return Table.of(
            columns, ([title, *self.means(name, *list(columns)[1:5]), self._seconds(name)] for title, name in named)
        )

    def _seconds(self, name: str) -> float | None:
        return None if name == "pca 0%" else self.mean(name, "seconds")

    def explained_table(self) -> Table:
        columns = {"layer": "{}"} | {spaced(share): "{:.1f} %" for share in self.shares}
        rows = ([layer, *(100 * found[share] for share in self.shares)] for layer, found in self.explained.items())
        return Table.of(columns, rows)


class Shuffle:
    """What moving all positions changes."""

    def __init__(self, part: Record) -> None:
        self.layers: Mapping[str, Mapping[str, float]] = part["layers"]
        self.own: float = part["style_distance"]["from the style"]
        self.shuffled: float = part["style_distance"]["from shuffled features"]

    @property
    def most_of_gram(self) -> float:
        return max(change["gram"] for change in self.layers.values())

    @property
    def least_of_features(self) -> float:
        return min(change["features"] for change in self.layers.values())

    def table(self) -> Table:
        gram = ["Gram (style)", *(f"{change['gram']:.0e}" for change in self.layers.values())]
        features = ["features (content)", *(f"{change['features']:.2f}" for change in self.layers.values())]
        return Table.of(["", *self.layers], [gram, features])


class Kernels(Results):
    """Other statistics of the same features."""

    def ranking(self, quantity: str) -> list[str]:
        """Losses, the nearest first."""
        return sorted(self.names, key=lambda name: self.mean(name, quantity))


class Layers:
    """The style term at one layer alone, and at all."""

    names = (*STYLE_LAYERS, ALL_LAYERS)

    def __init__(self, parts: Record) -> None:
        self.stylized: Mapping[str, Record] = parts["stylized"]["results"]
        self.textures: Mapping[str, Record] = parts["texture"]["results"]

    def best_at_themselves(self) -> list[str]:
        """Single layers whose texture matches the style nowhere better than at the layer itself."""
        return [
            name for name in STYLE_LAYERS if lowest(STYLE_LAYERS, self.textures[name]["by_layer"].__getitem__) == name
        ]

    def best(self) -> str:
        """The single layer whose texture comes nearest to the style."""
        return lowest(STYLE_LAYERS, lambda name: self.textures[name]["style"])

    def table(self) -> Table:
        columns = {"style at": "{}"} | {f"photo: {q}": "{:.3f}" for q in ("style", "witness", "content")}
        columns |= {f"texture: {q}": "{:.3f}" for q in ("style", "witness")}
        rows = (
            [name, *(self.stylized[name][q] for q in ("style", "witness", "content"))]
            + [self.textures[name][q] for q in ("style", "witness")]
            for name in self.names
        )
        return Table.of(columns, rows)

    def matrix(self) -> Table:
        return Table.of(["made by", *STYLE_LAYERS], map(self._matrix_row, self.names))

    def _matrix_row(self, name: str) -> list[str]:
        distances = self.textures[name]["by_layer"].values()
        return [name, *(f"**{d:.2f}**" if d == min(distances) else f"{d:.2f}" for d in distances)]


class Weights(Results):
    """Weightings of the feature maps against the full Gram, pair by pair."""

    @property
    def weightings(self) -> list[str]:
        return [name for name in self.names if name != "gram"]

    def ratios(self, name: str, quantity: str) -> list[float]:
        """Of each pair, the full Gram's result being 1."""
        results = [part["results"] for part in self.parts.values()]
        return [found[name][quantity] / found["gram"][quantity] for found in results]

    def mean_ratio(self, name: str, quantity: str = "style") -> float:
        return fmean(self.ratios(name, quantity))

    def wins(self, name: str, *quantities: str) -> int:
        """Pairs on which all of the quantities are lower than the full Gram's."""
        by_pair = zip(*(self.ratios(name, quantity) for quantity in quantities), strict=True)
        return sum(all(ratio < 1 for ratio in ratios) for ratios in by_pair)

    def wins_in_all(self) -> int:
        """Marks of the figure that lie left of the full Gram."""
        return sum(self.wins(name, quantity) for name in self.weightings for quantity in ("style", "witness"))

    def num_steps(self, start: str) -> float:
        """Evaluations of the losses whose names begin so, in the mean."""
        return fmean(self.mean(name, "num_steps") for name in self.names if name.startswith(start))

    def table(self) -> Table:
        columns = {"": "{}"} | dict.fromkeys(("style", "witness", "content"), "{:.2f}")
        of_all = f"{{}} of {len(self.parts)}"
        columns |= {"pairs won: style": of_all, "pairs won: witness": of_all, "pairs won: both": of_all}
        rows = (
            [name, *(self.mean_ratio(name, q) for q in ("style", "witness", "content"))]
            + [self.wins(name, *qs) for qs in (("style",), ("witness",), ("style", "witness"))]
            for name in self.weightings
        )
        return Table.of(columns, rows)

    def pairs_table(self) -> Table:
        rows = (
            [
                pair_text(key),
                *(f"{part['results'][n]['style']:.3f} / {part['results'][n]['witness']:.3f}" for n in self.names),
            ]
            for key, part in self.parts.items()
        )
        return Table.of(["pair", *self.names], rows)


class Matching:
    """Other statistics than the Gram, judged by Grams and by patches, at equal time and equal content distance."""

    def __init__(self, parts: Record) -> None:
        by_size: dict[str, dict[str, Record]] = {}
        for key, part in parts.items():
            size, _, pair = key.partition(" ")
            by_size.setdefault(size, {})[pair] = part
        self.evaluations = Evaluations(by_size.pop("evaluation")[""])
        self.components = Results(by_size.pop("components"))
        self.by_size = {size: Results(found) for size, found in by_size.items()}

    def figures(self, results: Results) -> dict[str, str]:
        """The sheet of each pair."""
        return {pair_text(key): part["figures"][0] for key, part in results.parts.items()}

    def leaders(self, margin: float) -> list[str]:
        """Those that are nearer to the style than `gram` by that share, by both judges and at every size."""
        names = next(iter(self.by_size.values())).names[1:]
        return [name for name in names if max(self._over_gram(name)) < 1 - margin]

    def _over_gram(self, name: str) -> list[float]:
        judges = ("style", "to_style", "from_style")
        return [results.over_gram(name, judge) for results in self.by_size.values() for judge in judges]

    def table(self, size: str) -> Table:
        return self._table("loss", self.by_size[size])

    def components_table(self) -> Table:
        return self._table("components of N", self.components)

    def _table(self, heading: str, results: Results) -> Table:
        quantities = ("style", "witness", "to_style", "from_style", "content", "num_steps")
        headings = ("style", "witness", "patches: foreign", "patches: missing", "content")
        columns = {heading: "`{}`"} | dict.fromkeys(headings, "{:.3f}") | {"evaluations": "{:.0f}"}
        return Table.of(columns, ([name, *results.means(name, *quantities)] for name in results.names))


def lowest(names: Iterable[str], value: Callable[[str], float]) -> str:
    return min(names, key=value)
