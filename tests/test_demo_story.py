"""What the page does for people: the first look, strength and detail, nothing lost, and everybody can use it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from PIL import Image, ImageChops
from torch import Tensor

import stylecore
from demo.finished import WALL
from stylecore.images import save_image

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1440, 900), (390, 844)
QUICK = "?size=64&num_steps=3&preset=draft"
LONG = "?size=64&num_steps=1000&preset=gatys"
SHIFT = """window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(entry => {
    if (!entry.hadRecentInput) window.shift += entry.value;
})).observe({type: "layout-shift", buffered: true});"""


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """visit(query, size, scheme) -> the loaded page, of a browser of its own."""
    contexts = []

    def open_it(query: str = "", size: tuple[int, int] = DESKTOP, scheme: Any = "light") -> Any:
        width, height = size
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(SHIFT)
        page.goto(f"{url}/{query}")
        loaded(page)
        return page

    yield open_it
    for context in contexts:
        context.close()


def loaded(page: Any) -> None:
    """The address was read, and what this browser knows is shown again."""
    page.wait_for_function("location.search.includes('tab=')")
    page.wait_for_timeout(1000)


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def done(page: Any) -> None:
    page.get_by_text("Done after").wait_for()


def setting(page: Any, name: str) -> str:
    return parse_qs(page.evaluate("location.search.slice(1)"), keep_blank_values=True)[name][0]


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.05)


def is_stale(page: Any) -> bool:
    return page.locator("#stale p").inner_text() != ""


# ---- the first look


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_finished_picture_is_there_before_anything_is_pressed(visit: Callable[..., Any], size: Any) -> None:
    page = visit("", size)
    assert page.locator("#slider img").count() == 2
    assert WALL[0].title in page.locator("#status").inner_text()
    assert not is_stale(page)
    assert page.evaluate("window.shift") < 0.1
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def test_a_click_on_the_wall_loads_pair_and_settings(visit: Callable[..., Any]) -> None:
    page = visit()
    other = WALL[3]
    page.locator(f"#wall button[data-name='{other.file}']").click()
    until(lambda: setting(page, "style") == other.settings["style"], "style of the wall's picture")
    wanted = {name: str(other.settings[name]) for name in ("photo", "strength", "preset", "size")}
    assert {name: setting(page, name) for name in wanted} == wanted
    assert other.title in page.locator("#status").inner_text()
    until(lambda: not is_stale(page), "picture of these settings")


# ---- strength and detail


def test_detail_says_seconds_after_a_run_and_resets_nothing(visit: Callable[..., Any]) -> None:
    page = visit("?size=64&preset=draft&num_steps=3&loss=bn")
    assert page.get_by_role("radio", name="Sketch").is_checked()
    press(page, "Stylize")
    done(page)
    page.get_by_text("Full · ").first.wait_for()
    page.get_by_text("Fine · ").first.click()
    until(lambda: setting(page, "preset") == "standard", "recipe of the stop")
    assert (setting(page, "loss"), setting(page, "num_steps")) == ("bn", "3")
    until(lambda: is_stale(page), "word that the picture is of other settings")
    page.get_by_text("Sketch · ").first.click()
    until(lambda: not is_stale(page), "word taken back")


@pytest.mark.slow
def test_a_sketch_is_painted_finer_from_where_it_is_and_then_larger(
    visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.stops.FINER_STEPS", 3)
    page = visit("?size=64&preset=draft&num_steps=2")
    press(page, "Stylize")
    done(page)
    page.get_by_role("button", name="Paint it fine").click()
    page.get_by_text("Done after 3 of 3 steps").wait_for()
    until(lambda: setting(page, "preset") == "standard", "stop of the picture")
    page.get_by_role("button", name="Make it large: 128 px").click()
    page.get_by_text("Done after 4 of 4 steps").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    download.value.save_as(tmp_path / "large.png")
    config = stylecore.read_settings(tmp_path / "large.png")["config"]
    assert (config["size"], config["preset"], config["encoder"]) == (128, "standard", "vgg16")


@pytest.mark.slow
def test_the_photo_shines_through_as_far_as_one_likes(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit(QUICK)
    press(page, "Stylize")
    done(page)
    files = {}
    for share in (100, 50, 0):
        number = page.locator("#blend input[type=number]")
        number.fill(str(share))
        number.press("Tab")
        until(
            lambda share=share: (
                float(page.locator("#slider img.fixed").evaluate("e => getComputedStyle(e).opacity")) == share / 100
            ),
            "blend before the eye",
        )
        page.wait_for_timeout(700)  # the file follows
        with page.expect_download() as download:
            page.get_by_text("Download PNG").click()
        files[share] = tmp_path / f"{share}.png"
        download.value.save_as(files[share])
    whole, half, none = (Image.open(files[share]).convert("RGB") for share in (100, 50, 0))
    assert ImageChops.difference(half, Image.blend(none, whole, 0.5)).getextrema() <= ((0, 1),) * 3
    assert stylecore.read_settings(files[50])["blended"] == "0.50"


# ---- nothing is lost


def test_a_refresh_rejoins_the_job_and_shows_its_result(visit: Callable[..., Any]) -> None:
    page = visit(LONG)
    press(page, "Stylize")
    page.get_by_text("left").first.wait_for()
    page.reload()
    loaded(page)
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    page.get_by_text("left").first.wait_for()
    until(lambda: not is_stale(page), "picture of these settings")
    press(page, "Stop")
    page.get_by_text("Stopped after").wait_for()
    page.locator("#history").wait_for()
    page.reload()
    loaded(page)
    page.get_by_text("Stopped after").wait_for()
    assert page.locator("#slider img").count() == 2
    assert page.locator(".strip button").count() == 1


@pytest.mark.slow
def test_another_page_of_the_same_browser_leaves_a_running_job_alone(visit: Callable[..., Any], url: str) -> None:
    page = visit(LONG)
    press(page, "Stylize")
    page.get_by_text("left").first.wait_for()
    other = page.context.new_page()
    other.goto(f"{url}/{QUICK}")
    loaded(other)
    other.wait_for_timeout(6000)
    assert other.get_by_role("button", name="Stylize", exact=True).is_visible()
    press(page, "Stop")
    page.get_by_text("Stopped after").wait_for()


def test_an_own_picture_survives_a_refresh(visit: Callable[..., Any], photo: Path) -> None:
    page = visit(QUICK)
    page.get_by_role("button", name="Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(photo)
    until(lambda: setting(page, "photo") == "own", "upload")
    page.wait_for_timeout(500)
    page.reload()
    loaded(page)
    shown = page.get_by_role("img", name="Photo", exact=True)
    until(lambda: shown.count() > 0 and "photo.png" in shown.first.get_attribute("src"), "own picture again")
    press(page, "Stylize")
    done(page)


@pytest.mark.slow
def test_the_strip_brings_back_pictures_and_uses_them(visit: Callable[..., Any]) -> None:
    page = visit(QUICK + "&strength=20")
    for strength in (20, 90):
        page.locator("#strength input[type=number]").fill(str(strength))
        page.locator("#strength input[type=number]").press("Tab")
        until(lambda strength=strength: setting(page, "strength") == str(strength), "strength")
        press(page, "Stylize")
        until(lambda strength=strength: page.locator(".strip button").count() == (1 if strength == 20 else 2), "tile")
    older = page.locator(".strip button").nth(1)
    older.click()
    until(lambda: setting(page, "strength") == "20", "settings of the older picture")
    until(lambda: not is_stale(page), "picture of these settings")
    page.get_by_label("Compare with it").click()
    page.locator(".strip button").nth(0).click()
    page.get_by_text("Two of your pictures").wait_for()
    page.get_by_label("Use as photo").click()
    older.click()
    until(lambda: setting(page, "photo") == "own", "picture in the photo's place")


@pytest.mark.slow
def test_who_waits_sees_the_place_and_the_time(visit: Callable[..., Any]) -> None:
    running, waiting = visit(LONG), visit(LONG)
    press(running, "Stylize")
    running.get_by_text("left").first.wait_for()
    press(waiting, "Stylize")
    waiting.get_by_text("One job is before yours").wait_for()
    for page in (waiting, running):
        press(page, "Stop")
    running.get_by_text("Stopped after").wait_for()


def test_a_picture_of_ours_can_be_dropped_anywhere(
    visit: Callable[..., Any], make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    config = stylecore.make_config("standard", size=128, strength=30)
    path = save_image(make_image(), tmp_path / "made.jpg", {"config": config.to_dict(), "inputs": []})
    page = visit()
    data = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "made.jpg", {type: "image/jpeg"}));
            return transfer;
        }""",
        list(path.read_bytes()),
    )
    page.dispatch_event("#title", "drop", {"dataTransfer": data})
    page.get_by_text("The settings were loaded").wait_for()
    until(lambda: (setting(page, "strength"), setting(page, "preset")) == ("30", "standard"), "settings of the JPEG")


def test_a_broken_picture_is_told_when_it_is_chosen(visit: Callable[..., Any], broken: Path) -> None:
    page = visit()
    page.get_by_role("button", name="Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(broken)
    page.get_by_text("The photo cannot be used.").wait_for()


# ---- for everyone


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (DESKTOP, "light"),
        pytest.param(DESKTOP, "dark", marks=pytest.mark.slow),
        pytest.param(PHONE, "light", marks=pytest.mark.slow),
        (PHONE, "dark"),
    ],
)
def test_axe_finds_nothing_serious(visit: Callable[..., Any], size: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(QUICK, size, scheme)
    press(page, "Stylize")
    done(page)
    page.wait_for_timeout(500)
    found = {}
    for tab in ("Stylize", "Compare", "Edge", "How it works"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(800)
        for each in axe.run(page).response["violations"]:
            if each["impact"] in ("critical", "serious"):
                found[tab, each["id"]] = [node["html"][:160] for node in each["nodes"]]
    assert found == {}


@pytest.mark.slow
def test_the_keyboard_finds_its_way_through_a_job(visit: Callable[..., Any]) -> None:
    page = visit(LONG)
    focused = "document.activeElement.innerText"
    page.get_by_role("button", name="Stylize", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_text("left").first.wait_for()
    until(lambda: page.evaluate(focused) == "Stop", "focus on Stop")
    page.keyboard.press("Enter")
    page.get_by_text("Stopped after").wait_for()
    until(lambda: page.evaluate(focused) == "Stylize", "focus on Stylize")
    page.locator("#blend input[type=range]").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    until(lambda: page.locator("#blend input[type=number]").input_value() == "97", "blend by keyboard")
    assert page.locator("#status [role=status]").count() == 1


def test_the_button_is_in_reach_on_a_phone_wherever_one_is(visit: Callable[..., Any]) -> None:
    page = visit("", PHONE)
    button = page.get_by_role("button", name="Stylize", exact=True)
    for share in (0, 0.5, 1):
        page.evaluate(f"window.scrollTo(0, {share} * document.body.scrollHeight)")
        page.wait_for_timeout(100)
        box = button.bounding_box()
        assert 0 <= box["y"] <= PHONE[1] - box["height"]


def test_a_first_visit_is_small(browser: Any, url: str) -> None:
    context = browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]})
    page = context.new_page()
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    sizes: list[float] = []
    asked: list[str] = []
    line.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    loaded(page)
    page.wait_for_timeout(2000)
    context.close()
    assert sum(sizes) < 1.3e6
    assert len([each for each in asked if each.startswith("http")]) < 110


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_everything_that_is_pressed_is_large_enough(visit: Callable[..., Any], size: Any) -> None:
    page = visit("", size)
    small = page.evaluate("""() => [...document.querySelectorAll("button, a[href], input[type=radio]")]
        .filter(each => each.checkVisibility() && each.tabIndex >= 0 && !each.closest("p, footer"))
        .map(each => [each.closest("label") ?? each, each.outerHTML.slice(0, 120)])
        .map(([target, html]) => [target.getBoundingClientRect(), html])
        .filter(([box]) => box.width && Math.min(box.width, box.height) < 24).map(([, html]) => html)""")
    assert small == []
