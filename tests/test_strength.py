"""Strength and style weight say the same, and equal moves of strength take a picture equally far from its photo."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import strength as record_of
from stylecore.errors import OptionError
from stylecore.presets import PRESETS, make_config
from stylecore.strength import FULL_STRENGTH, strength_of, weight_of

RECORD = json.loads((Path(__file__).parent.parent / "docs" / "benchmarks" / "strength.json").read_text("utf-8"))


@given(st.floats(0, 100))
def test_a_weight_says_its_strength(strength: float) -> None:
    assert strength_of(weight_of(strength)) == pytest.approx(strength, abs=1e-9)


@given(st.floats(0, 100), st.floats(0, 100))
def test_more_strength_is_more_weight(one: float, other: float) -> None:
    assert (one <= other) == (weight_of(one) <= weight_of(other)) or math.isclose(
        one, other, rel_tol=1e-12, abs_tol=1e-300
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_own_weight_is_full_strength_and_none_is_the_photo(preset: str) -> None:
    assert make_config(preset).strength == FULL_STRENGTH
    assert make_config(preset) == make_config(preset, strength=100)
    assert make_config(preset, strength=0).style_weight == 0
    assert make_config(preset, style_weight=1e6).strength == FULL_STRENGTH


@pytest.mark.parametrize("strength", [-1, 100.001, math.nan, math.inf, "strong", True, [50]])
def test_no_other_strength(strength: object) -> None:
    with pytest.raises(OptionError, match=r"^strength must be between 0 \(the photo\) and 100 \(the painting\), not"):
        make_config(strength=strength)


def test_both_at_once_are_refused_and_neither_is_the_presets() -> None:
    with pytest.raises(OptionError, match="Give a strength or a style weight, not both"):
        make_config(strength=50, style_weight=1)
    assert make_config(strength=None, style_weight=2).style_weight == 2
    assert make_config(strength=None) == make_config()


def test_equal_moves_are_equal_steps_of_the_pictures_way() -> None:
    """By the record: at half the strength, half the way; no tenth of the scale is idle, or does a quarter of it."""
    way = record_of.mean_way(RECORD)
    assert way[0] < 0.05
    assert way[50] == pytest.approx(0.5, abs=0.05)
    moves = [way[strength + 10] - way[strength] for strength in range(0, 100, 10)]
    assert all(0.04 < move < 0.25 for move in moves), moves


def test_the_view_is_the_records() -> None:
    view = Path(__file__).parent.parent / "docs" / "benchmarks" / "strength.md"
    assert view.read_text("utf-8") == record_of.to_markdown(RECORD)
