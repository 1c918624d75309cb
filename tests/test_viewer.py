"""Two pictures in one place, in a real browser: what is seen, by pointer, keyboard and without scripts."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from stylecore.report.page import data_uri
from stylecore.report.viewer import VIEWER_CSS, VIEWER_JS, Axis, Grid, View, viewer_html

pytestmark = pytest.mark.browser

COLORS = {"photo": (200, 0, 0), "one": (0, 200, 0), "two": (0, 180, 0), "three": (0, 0, 200)}
GRID = Grid(Axis("Style", ("glass", "waves")), Axis("Detail", ("sketch", "fine")), (("one", "two"), ("three", "none")))


def views() -> list[View]:
    shown = []
    for name, color in COLORS.items():
        file = io.BytesIO()
        Image.new("RGB", (90, 60), color).save(file, "PNG")
        shown.append(View(name, data_uri(file.getvalue(), "png"), (90, 60), ("2.0 s · style 0.20",)))
    return [*shown, View("none", trouble="It would not fit.")]


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """visit(**options of the context) -> a page with the viewer; no error in the console."""
    contexts, complaints = [], []

    def open_it(**options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": 900, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        body = viewer_html(views(), ("photo", "two"), GRID)
        script = f"<script>{VIEWER_JS} startViewer(document.querySelector('.comparison'));</script>"
        page.set_content(f"<!doctype html><style>{VIEWER_CSS}</style>{body}{script}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def color_at(page: Any, across: float) -> tuple[int, ...]:
    """What is seen there on the stage, in the upper half, where no handle is."""
    box = page.locator(".stage").bounding_box()
    shot = Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")
    return tuple(shot.getpixel((round(across * (box["width"] - 1)), round(0.2 * box["height"]))))


def near(color: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return max(abs(one - two) for one, two in zip(color, other, strict=True)) < 8


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_the_handle_shows_more_of_one_or_the_other(visit: Callable[..., Any]) -> None:
    page = visit()
    assert near(color_at(page, 0.2), COLORS["photo"])
    assert near(color_at(page, 0.8), COLORS["two"])
    page.locator(".stage input").focus()
    page.keyboard.press("End")
    assert near(color_at(page, 0.8), COLORS["photo"])
    box = page.locator(".stage").bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 10)
    assert near(color_at(page, 0.2), COLORS["two"])


def test_a_thumbnail_goes_into_the_slider_and_a_missing_one_says_why(visit: Callable[..., Any]) -> None:
    page = visit()
    press(page, "Show three")
    assert near(color_at(page, 0.8), COLORS["three"])
    assert page.locator(".for-right").evaluate("each => each.selectedOptions[0].text") == "three"
    assert page.locator(".missing").all_inner_texts() == ["It would not fit."]
    assert page.locator(".for-left option").all_inner_texts() == list(COLORS), "only what there is can be chosen"


def test_zoom_and_pan_move_both_in_step(visit: Callable[..., Any]) -> None:
    page = visit()
    for mode in ("Slide", "Side by side"):
        press(page, mode)
        press(page, "Larger")
        box = page.locator(".stage").bounding_box()
        page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.65 * box["width"], box["y"] + 30, steps=3)
        page.mouse.up()
        moved = page.locator(".pane img").evaluate_all("all => all.map(each => getComputedStyle(each).transform)")
        assert moved[0] == moved[1]
        scale, *_, x, _ = (float(number) for number in moved[0][7:-1].split(","))
        assert scale == pytest.approx(1.5, abs=0.01)
        assert x < 0
        press(page, "Whole")
    transforms = page.locator(".pane img").evaluate_all("all => all.map(each => getComputedStyle(each).transform)")
    assert transforms == ["matrix(1, 0, 0, 1, 0, 0)"] * 2


def test_the_keyboard_zooms_and_pans(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator(".stage input").focus()
    for key in ("+", "+", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    style = page.locator(".stage").get_attribute("style")
    assert "--zoom: 2.25" in style
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert "--x: 0%" in page.locator(".stage").get_attribute("style"), "nothing lies beside the picture"


def test_difference_is_dark_where_two_are_alike(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator(".for-left").select_option(label="one")
    press(page, "Difference")
    assert near(color_at(page, 0.5), (0, 60, 0)), "20 levels, three times as bright"
    page.locator(".for-left").select_option(label="two")
    assert near(color_at(page, 0.5), (0, 0, 0))


def test_blinking_shows_one_then_the_other_and_stands_still_for_who_asks(visit: Callable[..., Any]) -> None:
    page = visit()
    press(page, "Blink")
    page.wait_for_function("document.querySelector('.stage.flipped')")
    page.wait_for_function("!document.querySelector('.stage.flipped')")
    still = visit(reduced_motion="reduce")
    press(still, "Blink")
    still.wait_for_timeout(1600)
    assert near(color_at(still, 0.5), COLORS["two"])
    press(still, "Blink")
    assert near(color_at(still, 0.5), COLORS["photo"])


def test_without_scripts_there_are_plain_pictures_with_headings(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".viewer").is_hidden()
    assert page.locator("img[data-picture]").count() == 4
    assert page.locator("th").count() == 5


@pytest.mark.parametrize("width", [390, 320])
def test_a_grid_on_a_phone_needs_no_sideways_scrolling(visit: Callable[..., Any], width: int) -> None:
    page = visit()
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [page.locator("thead th").nth(place).bounding_box() for place in (1, 2)]
    assert 0 <= boxes[0]["x"] < boxes[1]["x"] < width / 2 + 20
