"""The demo as people meet it: a real server, a real browser."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image
from torch import Tensor

import stylecore
from stylecore.images import load_image, save_image

pytestmark = pytest.mark.browser

QUICK = {"size": 64, "num_steps": 3}


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """open_page(query, width, height) -> the loaded page. At the end: no console error, no request to another host."""
    complaints: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def open_it(query: str = "", width: int = 1280, height: int = 900) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(f"{url}/{query}")
        page.wait_for_function("location.search.includes('tab=')")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
    assert hosts - {""} == {urlsplit(url).netloc}  # data: and blob: addresses have no host


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def status(page: Any) -> str:
    return page.locator("#status").inner_text()


def settings(page: Any) -> dict[str, str]:
    """What the page's address says."""
    query = parse_qs(page.evaluate("location.search.slice(1)"), keep_blank_values=True)
    return {name: values[0] for name, values in query.items()}


def choose(page: Any, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=value, exact=True).click()


def strength(page: Any) -> str:
    return str(page.locator("#strength input[type=number]").input_value())


def set_strength(page: Any, value: int) -> None:
    page.locator("#strength input[type=number]").fill(str(value))
    page.locator("#strength input[type=number]").press("Tab")


def start(page: Any, name: str = "Stylize") -> None:
    """Press it, again if nothing happens: Gradio shows its buttons a moment before they are wired."""
    for _ in range(3):
        button(page, name).click()
        for _ in range(30):
            if not button(page, name).is_visible():
                return
            page.wait_for_timeout(100)
    raise AssertionError(f"{name} was pressed three times and nothing began")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.05)


def test_a_page_with_settings_in_its_link_comes_to_rest(open_page: Callable[..., Any]) -> None:
    """Events that answer each other would go on for ever."""
    page = open_page("?size=96&num_steps=7&preset=draft&strength=30")
    page.wait_for_timeout(2000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1500)
    assert asked == []


def test_example_to_download_with_a_stop_between(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page("?size=64&num_steps=1000&preset=gatys")
    page.get_by_role("button", name="Rocket on its pad").first.click()
    wait_until(lambda: settings(page)["photo"] == "rocket", "the rocket in the address")
    start(page)
    image = page.locator("#live img")
    image.wait_for()
    first = image.get_attribute("src")
    wait_until(lambda: image.get_attribute("src") != first, "second frame")
    wait_until(lambda: "left" in status(page), "time left")
    button(page, "Stop").click()
    page.get_by_text("Stopped after").wait_for()
    button(page, "Stylize").wait_for()
    stopped = status(page)
    assert "of 1000 steps" in stopped
    time.sleep(1.0)  # several frames' time
    assert status(page) == stopped
    assert page.locator("#slider img").count() == 2
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    assert download.value.suggested_filename.startswith("rocket_")
    path = tmp_path / "download.png"
    download.value.save_as(path)
    assert load_image(path).shape == (1, 3, 43, 64)
    config = stylecore.read_settings(path)["config"]
    assert (config["size"], config["num_steps"], config["preset"]) == (64, 1000, "gatys")
    with page.expect_download() as download:
        page.get_by_text("Download film").click()
    assert re.fullmatch(r"rocket_\w+\.webp", download.value.suggested_filename)
    with Image.open(download.value.path()) as film:
        assert film.n_frames > 2
        film.seek(film.n_frames - 1)
        film_end = np.asarray(film.convert("RGB").resize((64, 43))).astype(int)
    assert abs(film_end - np.asarray(Image.open(path))).mean() < 8, "it ends with the result"


def shared_link(page: Any, before: str = "") -> str:
    """The link that Share shows, another than the one before."""
    button(page, "Share").click()
    link = page.locator(".link input").last
    wait_until(lambda: link.count() == 1 and link.input_value() not in ("", before), "link")
    return str(link.input_value())


def test_a_click_on_share_copies_the_link_and_a_phone_sees_the_picture_first(
    open_page: Callable[..., Any], browser: Any, url: str
) -> None:
    page = open_page("?size=64&num_steps=2&style=stained_glass&loss=bn&photo=coffee&strength=30")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    start(page)
    page.get_by_text("Done after").wait_for()
    set_strength(page, 90)
    link = shared_link(page)
    page.get_by_text("Copied: paste it anywhere.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == link
    assert "result" not in settings(page)
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).new_page()
    phone.goto(link)
    assert phone.title() == "A cup of coffee in the manner of stained glass"
    stage, go = phone.locator(".stage"), phone.get_by_role("link", name="Try it with your photo")
    for each in (stage, go):
        box = each.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844
    assert phone.locator(".stage img").evaluate_all("all => all.map(each => each.naturalWidth)") == [64, 64]
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    assert phone.locator("#taking-back").is_hidden(), "only the sharer can take it back"
    go.click()
    phone.wait_for_function("location.search.includes('tab=')")
    made = {"strength": "30", "photo": "", "style": "stained_glass", "loss": "bn", "size": "64", "num_steps": "2"}
    wait_until(lambda: made.items() <= settings(phone).items(), "the picture's own settings, without its photo")
    phone.context.close()


def test_what_was_shared_is_taken_back_where_it_is_seen(open_page: Callable[..., Any], photo: Path) -> None:
    page = open_page("?size=64&num_steps=2")
    button(page, "Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(photo)
    wait_until(lambda: settings(page)["photo"] == "own", "upload")
    start(page)
    page.get_by_text("Done after").wait_for()
    page.get_by_label("With my own pictures in it").wait_for()
    link = shared_link(page)
    seen = page.context.new_page()
    seen.goto(link)
    assert seen.locator(".stage").count() == 0, "the photo is in it only where that was agreed to"
    assert seen.locator("figure img").evaluate("image => image.naturalWidth") == 64
    seen.get_by_role("button", name="Take it back").click()
    seen.get_by_text("Taken back").wait_for()
    seen.goto(link)
    seen.get_by_text("This is gone").wait_for()
    page.get_by_label("With my own pictures in it").check()
    seen.goto(shared_link(page, link))
    assert seen.locator(".stage img").count() == 2
    seen.close()


def test_a_failed_job_says_why_and_leaves_the_last_result(
    open_page: Callable[..., Any], broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("?size=64&num_steps=2")
    start(page)
    page.get_by_text("Done after").wait_for()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody foresaw it")

    with monkeypatch.context() as patch:
        patch.setattr("stylecore.measured_run.job_steps", fail)
        button(page, "Stylize").click()
        page.get_by_text("The server failed at this: try again, or with other settings.").wait_for()
    button(page, "Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(broken)
    wait_until(lambda: settings(page)["photo"] == "own", "upload")
    button(page, "Stylize").click()
    page.get_by_text("The photo cannot be used.").wait_for()
    button(page, "Stylize").wait_for()
    assert page.locator("#slider img").count() == 2
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    assert download.value.suggested_filename.startswith("chelsea_")
    button(page, "Share").click()
    link = page.get_by_label("Link", exact=True)
    wait_until(lambda: link.count() == 1 and "/r/" in link.input_value(), "link")


def test_the_time_limit_keeps_the_last_frame(open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.server.quota.Quota.allowance", lambda *_: 1.0)
    page = open_page("?size=64&num_steps=1000&preset=gatys")
    start(page)
    page.get_by_text("Ended early after").wait_for()
    assert status(page).startswith("This job takes longer than the server allows")
    assert page.locator("#slider img").count() == 2
    assert button(page, "Share").is_enabled()


def test_link_to_nothing_and_with_nonsense_is_answered_kindly(open_page: Callable[..., Any]) -> None:
    page = open_page("?size=2000&loss=grm&seed=3&photo=<img src=https://example.org/x.png>")
    for words in (
        "size must be between 64 and 1024",
        "did you mean 'gram'",
        "Unknown example '<img src",
    ):
        page.get_by_text(words).wait_for()
    assert settings(page)["seed"] == "3"


def test_back_button_goes_through_the_settings(open_page: Callable[..., Any]) -> None:
    page = open_page("?strength=10")
    set_strength(page, 90)
    wait_until(lambda: settings(page)["strength"] == "90", "first change")
    page.get_by_role("tab", name="Compare").click()
    wait_until(lambda: settings(page)["tab"] == "compare", "second change")
    page.go_back()
    button(page, "Stylize").wait_for()
    wait_until(lambda: strength(page) == "90", "changed setting")
    page.go_back()
    wait_until(lambda: strength(page) == "10", "first setting")
    page.go_forward()
    wait_until(lambda: strength(page) == "90", "changed setting again")


def test_settings_travel_in_a_png(
    open_page: Callable[..., Any], make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    config = stylecore.make_config("paper", size=128, loss="svd", num_steps=7, tv_weight=2.0)
    inputs = [{"name": name, "checksum": ""} for name in ("coffee.png", "ink_marbling.jpg")]
    path = save_image(make_image(), tmp_path / "made.png", {"config": config.to_dict(), "inputs": inputs})
    page = open_page()
    page.locator("input[type=file][accept*='.tif']").set_input_files(path)
    page.get_by_text("but not tv weight, for which this page has no control").wait_for()
    expected = {"preset": "paper", "size": "128", "loss": "svd", "num_steps": "7"}
    expected |= {"photo": "coffee", "style": "ink_marbling"}
    wait_until(lambda: expected.items() <= settings(page).items(), "the PNG's settings")


def test_variants_are_looked_at_in_one_place(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page("?tab=compare&size=64&num_steps=3&preset=gatys&x=loss&xs=gram,bn&y=strength&ys=20,80")
    page.get_by_text("4 variants").wait_for()
    start(page, "Compare")
    page.get_by_text("4 of 4 variants are done").wait_for()
    headings = page.locator("#sheet th").all_inner_texts()
    assert [each.split()[-1] for each in headings[1:]] == ["gram", "bn", "20", "80"]
    right = page.locator("#sheet .pane.right img")
    for name in ("gram strength 20", "bn strength 20"):
        page.get_by_role("button", name=f"Show {name}").click()
        wait_until(lambda name=name: right.get_attribute("alt") == name, f"{name} at the right")
    assert page.locator("#sheet .pane.left img").get_attribute("alt") == "photo"
    handle = page.locator("#sheet .handle").bounding_box()
    page.mouse.move(handle["x"] + 1, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(handle["x"] + 120, handle["y"] + handle["height"] / 2, steps=4)
    page.mouse.up()
    wait_until(lambda: page.locator("#sheet .handle").bounding_box()["x"] > handle["x"] + 60, "slider at the right")
    with page.expect_download() as download:
        page.get_by_text("Download all of it").click()
    download.value.save_as(tmp_path / "page.html")
    assert "bn strength 80" in (tmp_path / "page.html").read_text(encoding="utf-8")
    address = shared_link(page)
    assert "<iframe" in page.locator(".embed").input_value()
    page.goto(address)
    assert page.locator("table.grid tbody tr").count() == 2
    framed(page, address)


def framed(page: Any, address: str) -> None:
    """A comparison in another page: what it is for, and as plain pictures where scripts are forbidden."""
    page = page.context.new_page()  # the comparison's own would let nothing in
    frame = page.frame_locator("iframe")
    for forbids in (False, True):
        page.set_content(f"<iframe {'sandbox' * forbids} src='{address}' width='600' height='400'></iframe>")
        frame.locator("img[data-picture]").first.wait_for()
        if not forbids:
            frame.locator(".stage").wait_for()
        assert frame.locator(".stage").is_visible() is not forbids
        assert frame.locator("img[data-picture]").count() == 6
    page.close()


def test_compare_opens_on_detail_and_says_what_is_wrong_before_the_click(open_page: Callable[..., Any]) -> None:
    page = open_page("?tab=compare&size=64")
    wait_until(lambda: settings(page).get("xs") == "draft,preview,standard", "the stops of Detail")
    page.get_by_text("3 variants").wait_for()
    choose(page, "with each", "Style")
    wait_until(lambda: len(settings(page)["ys"].split(",")) == 2, "two values to begin with")
    page.get_by_text("6 variants").wait_for()
    again = open_page("?tab=compare&x=preset&xs=draft&y=seed&ys=1,2")
    again.get_by_text("A seed matters only where the start is noise").wait_for()


@pytest.mark.usefixtures("quick_export")
def test_edge_measures_a_model_and_paints_without_torch(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page("?tab=edge&size=128")
    start(page, "Measure it here, now")
    page.get_by_text("Torch on the same threads").wait_for(timeout=120_000)
    with page.expect_download() as download:
        page.get_by_text("Download the ONNX file").click()
    download.value.save_as(tmp_path / "vgg16.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert onnxruntime.InferenceSession(tmp_path / "vgg16.onnx").get_inputs()[0].name == "image"
    start(page, "Stylize without torch")
    page.get_by_text("with torch ").wait_for(timeout=120_000)
    said = re.findall(r"style distance (\d\.\d+)", page.locator("#bundle-status").inner_text())
    without_torch, with_torch = (float(distance) for distance in said)
    assert without_torch == pytest.approx(with_torch, rel=0.05)


def test_broken_upload_gives_a_friendly_message(open_page: Callable[..., Any], broken: Path) -> None:
    page = open_page()
    button(page, "Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(broken)
    wait_until(lambda: settings(page)["photo"] == "own", "upload")
    button(page, "Stylize").click()
    page.get_by_text("The photo cannot be used. The image is not an image we can read").wait_for()
    button(page, "Stylize").wait_for()


def test_waiting_job_leaves_the_queue_and_a_closed_page_ends_its_job(
    open_page: Callable[..., Any], client: Client, photo: Path, style: Path
) -> None:
    running, waiting = (open_page("?size=64&num_steps=1000&preset=gatys") for _ in range(2))
    for page in (running, waiting):
        start(page)
        button(page, "Stop").wait_for()
    running.locator("#live img").wait_for()
    button(waiting, "Stop").click()
    button(waiting, "Stylize").wait_for()
    waiting.get_by_text("Stopped before its turn came.").wait_for()
    time.sleep(1.0)  # Gradio's own message about the job that has left
    assert status(waiting) == "Stopped before its turn came."
    assert waiting.locator("#live img").count() == 0
    running.close()
    started = time.monotonic()
    client.predict(handle_file(photo), [handle_file(style)], **QUICK, api_name="/stylize")
    assert time.monotonic() - started < 5
    assert waiting.locator("#live img").count() == 0


def test_phone_needs_no_sideways_scrolling(open_page: Callable[..., Any]) -> None:
    page = open_page("?size=64&num_steps=3&preset=gatys&x=loss&xs=gram,bn", 390, 844)
    start(page)
    page.get_by_text("Done after 3 of 3 steps").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("tab", name="Compare").click()
    start(page, "Compare")
    page.get_by_text("2 of 2 variants are done").wait_for()
    page.locator(".table table").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("tab", name="Edge").click()
    button(page, "Measure it here, now").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
