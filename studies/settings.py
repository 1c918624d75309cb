"""What the study runs on: pictures, sizes and numbers of steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stylecore.config import StylizeConfig
from stylecore.images import ImageTensor, fit_image
from stylecore.presets import make_config
from stylecore.sample_images import EVALUATION, STYLES, load_photo, load_style

ROOT = Path(__file__).parents[1]
PHOTOS = tuple(EVALUATION)

Pair = tuple[str, str]  # photo and style


@dataclass(frozen=True)
class Settings:
    """Sizes and counts of all experiments; two runs with equal settings may share parts."""

    size_px: int = 128  # longer side of every result
    num_steps: int = 90  # evaluations of a stylization
    texture_steps: int = 100  # evaluations of a texture synthesised from noise
    num_sweep_pairs: int = 2  # of the sweeps and of the other statistics
    num_pairs: int = 6  # of the weighted losses: photos x styles
    cost_size_px: int = 256  # longer side of the image whose evaluation is timed
    cost_rounds: int = 3  # rounds over all losses when whole evaluations are timed
    cost_repeats: int = 15  # rounds over all losses when the loss stage is timed
    memory_size_px: tuple[int, int] = (512, 769)  # height and width of the paper's image, whose SVD asked for 577 GiB
    shares: tuple[str, ...] = ("1.5%", "3%", "6%", "12.5%", "25%", "50%", "100%")  # kept components, of N
    matching_sizes_px: tuple[int, ...] = (256, 512)  # of the statistics that are judged by patches too
    num_matching_pairs: int = 6
    matching_steps: int = 27  # evaluations of `gram`, over the stages of the preset
    matching_weights: tuple[float, ...] = (0.25, 1.0, 4.0)  # of the style, between which content distances are equal
    matching_shares: tuple[str, ...] = ("3%", "12.5%", "50%")  # of N
    thresholds: tuple[str, ...] = ("mean:2", "mean:1", "mean:0.5", "mean:0.25", "mean:0.1", "mean:0")  # of the svd

    @property
    def pairs(self) -> list[Pair]:
        """Photos and styles, each style with each photo, alternating so that any number of them is mixed."""
        pairs = [(PHOTOS[(i + j) % len(PHOTOS)], style) for j in range(len(PHOTOS)) for i, style in enumerate(STYLES)]
        return pairs[: self.num_pairs]

    @property
    def matching_pairs(self) -> list[Pair]:
        return self.pairs[: self.num_matching_pairs]

    @property
    def sweep_pairs(self) -> list[Pair]:
        return self.pairs[: self.num_sweep_pairs]


FULL = Settings()
QUICK = Settings(
    size_px=64,
    num_steps=6,
    texture_steps=6,
    num_pairs=6,
    cost_size_px=64,
    cost_rounds=1,
    cost_repeats=3,
    matching_sizes_px=(64,),
    num_matching_pairs=1,
    matching_steps=3,
    matching_weights=(1.0,),
    matching_shares=("12.5%",),
    memory_size_px=(128, 192),
)


@lru_cache(maxsize=16)
def photo(name: str) -> ImageTensor:
    return load_photo(name)


@lru_cache(maxsize=16)
def style(name: str) -> ImageTensor:
    return load_style(name)


def scaled(image: ImageTensor, longer_side: int) -> ImageTensor:
    """The image with that longer side, as the engine would see it."""
    return fit_image(image, longer_side)


def recipe(settings: Settings, **options: object) -> StylizeConfig:
    """The preset `gatys` at the study's size and number of evaluations."""
    given = {"size": settings.size_px, "num_steps": settings.num_steps, "device": "cpu"} | options
    return make_config("gatys", **given)


def texture_recipe(settings: Settings, **options: object) -> StylizeConfig:
    """Texture synthesis: no content term, from noise."""
    given = {"content_weight": 0.0, "init": "noise", "num_steps": settings.texture_steps} | options
    return recipe(settings, **given)
