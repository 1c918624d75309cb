"""Fields: what stands at a field is all that is known of it, and what it refuses is told in one sentence."""

from typing import Annotated, Any, Literal

import pydantic
import pytest

from stylecore.errors import OptionError
from stylecore.fields import (
    CONFIG,
    Number,
    OneOf,
    Options,
    Setting,
    Whole,
    about,
    convert,
    parse,
    parsed_by,
    settings_of,
)

TOOLS = {"brush": 1, "knife": 2}


def doubled(text: str) -> str:
    if text == "nothing":
        raise OptionError("there has to be something.")
    return 2 * text


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class Painting(Options):
    """One field of every kind."""

    width: Annotated[Whole, about("Of the canvas.", low=1, high=100, unit="px", common=True)] = 10
    share: Annotated[Number, about("Of paint.", low=0, high=1)] = 0.5
    tool: Annotated[str, OneOf(TOOLS), about("In hand.")] = "brush"
    finish: Annotated[Literal["matt", "gloss"], about("At the end.")] = "matt"
    colors: Annotated[tuple[str, ...], about("On the palette.")] = ()
    is_framed: Annotated[bool, about("Whether it has a frame.")] = False
    title: Annotated[str, parsed_by(doubled), about("Twice.")] = "a"


def test_a_setting_is_what_stands_at_the_field() -> None:
    settings = settings_of(Painting)
    assert list(settings) == ["width", "share", "tool", "finish", "colors", "is_framed", "title"]
    assert settings["width"] == Setting("width", int, 10, "Of the canvas.", "px", (), 1, 100, True)
    assert settings["share"] == Setting("share", float, 0.5, "Of paint.", "", (), 0, 1, False)
    assert settings["tool"].choices == ("brush", "knife")
    assert settings["finish"].choices == ("matt", "gloss")
    assert settings["is_framed"].label == "is framed"
    assert [setting.describe() for setting in settings.values()] == [
        "a whole number", "a number", "brush or knife", "matt or gloss", "a list of names, separated by commas,",
        "true or false", "a name",
    ]  # fmt: skip


def test_values_are_what_the_fields_are() -> None:
    painting = Painting(width=3.0, share=1, colors=["red"], title="ab")  # type: ignore[arg-type]
    assert (painting.width, painting.share, painting.colors, painting.title) == (3, 1.0, ("red",), "abab")
    assert isinstance(painting.width, int)
    assert isinstance(painting.share, float)
    assert convert(Painting, "colors", ["red", "blue"]) == ("red", "blue")
    assert parse(Painting, "colors", " red, blue,") == ("red", "blue")
    assert parse(Painting, "is_framed", "yes") is True
    assert painting.replace(width=4).width == 4


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("width", 0, "width must be between 1 and 100, not 0."),
        ("width", 101, "width must be between 1 and 100, not 101."),
        ("width", True, "width cannot be 'True': a whole number is expected."),
        ("width", 1.5, "width cannot be '1.5': a whole number is expected."),
        ("share", "much", "share cannot be 'much': a number is expected."),
        ("share", float("nan"), "share must be between 0 and 1, not nan."),
        ("tool", "brusj", "Unknown tool 'brusj': did you mean 'brush'?"),
        ("finish", "glos", "Unknown finish 'glos': did you mean 'gloss'?"),
        ("finish", "xyz", "Unknown finish 'xyz': choose from matt, gloss."),
        ("colors", "red", "colors cannot be 'red': a list of names, separated by commas, is expected."),
        ("is_framed", "perhaps", "is_framed cannot be 'perhaps': true or false is expected."),
        ("title", "nothing", "there has to be something."),
        ("widht", 3, "Unknown setting 'widht': did you mean 'width'?"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(name: str, value: Any, sentence: str) -> None:
    """Whichever way it comes."""
    for refuse in (
        lambda: Painting(**{name: value}),
        lambda: Painting().replace(**{name: value}),
        lambda: convert(Painting, name, value),
    ):
        with pytest.raises(OptionError) as caught:
            refuse()
        assert str(caught.value) == sentence
