"""The demo as people and programs meet it: a real server, the client library, a real browser."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from torch import Tensor

import stylecore
from demo import jobs, watching
from demo.app import build_app, launch
from demo.jobs import Frame, LossPoint, read_config, read_picture, run_job
from demo.serving import start_job
from stylecore.errors import DivergenceError, ImageError, OptionError
from stylecore.images import load_image, save_image

QUICK = {"size": 64, "num_steps": 3}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(), tmp_path / "photo.png")


@pytest.fixture
def style(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(seed=1), tmp_path / "style.png")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.png"
    path.write_text("no picture at all")
    return path


# --- jobs: what stands between the page and the engine


def test_config_leaves_to_the_preset_what_is_not_given() -> None:
    config = read_config("gatys", size=64, style_weight=3, num_steps=None)
    assert config == stylecore.make_config("gatys", size=64, style_weight=3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4096}, "size must be between 64 and 1024 on this page"),
        ({"num_steps": 100_000}, "num_steps must be between 1 and 1000 on this page"),
        ({"seed": 1.5}, "seed cannot be '1.5': a whole number is expected"),
        ({"size": "large"}, "size cannot be 'large'"),
        ({"init": "nosie"}, "did you mean 'noise'"),
    ],
)
def test_config_refuses_by_name_what_one_page_for_all_cannot_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_config("gatys", **options)


def test_job_starts_with_its_start_and_ends_with_its_last_step(make_image: Callable[..., Tensor]) -> None:
    config = read_config("gatys", **QUICK)
    content, style = make_image(), make_image(seed=1)
    frames = list(run_job(content, style, config, "job"))
    assert frames[0].step == 0
    assert frames[0].seconds_left is None
    assert frames[0].image.shape == (1, 3, 48, 64)
    assert frames[-1].step == 3
    assert [point.step for point in frames[-1].curve] == [1, 2, 3]
    assert frames[-1].image.equal(stylecore.stylize(content, style, config).image)


def test_job_that_diverges_ends_with_its_last_good_image(
    make_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_image(seed=2)

    def diverge(*_: Any, **__: Any) -> Iterator[stylecore.Step]:
        raise DivergenceError("It diverged.", last_good=good)
        yield

    monkeypatch.setattr(jobs, "stylize_steps", diverge)
    frame = list(run_job(make_image(), make_image(seed=1), read_config("gatys", **QUICK), "job"))[-1]
    assert frame.trouble == "It diverged."
    assert frame.image.equal(good)


def test_notes_and_errors_say_which_picture_and_no_folder(tmp_path: Path, broken: Path) -> None:
    pages = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "moving.gif", save_all=True, append_images=pages[1:])
    image, notes = read_picture(tmp_path / "moving.gif", "style")
    assert image.shape == (1, 3, 32, 32)
    assert notes == ["About the style: The image is animated: only its first frame is used."]
    with pytest.raises(ImageError, match=r"^The photo cannot be used\. The image is not an image we can read") as error:
        read_picture(broken, "photo")
    assert str(tmp_path) not in str(error.value)


def test_uploads_cannot_name_files_of_the_server(photo: Path) -> None:
    for upload in ({"path": str(photo)}, {"path": f"{photo.parent}/../{photo.parent.name}/photo.png"}, "photo.png"):
        with pytest.raises(ImageError, match="The photo must be an uploaded file"):
            start_job(upload, None, read_config("gatys"))
    with pytest.raises(ImageError, match="Choose a photo first"):
        start_job(None, None, read_config("gatys"))


# --- what is said while a job runs


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert watching.duration(seconds) == words


def test_status_tells_time_left_and_how_it_ended(make_image: Callable[..., Tensor]) -> None:
    frame = Frame("job", read_config("gatys", num_steps=40), make_image(), step=10, seconds=5.0)
    assert "Step 10 of 40 · 5 s · about 15 s left" in watching.status(frame)
    assert "width: 25.0%" in watching.status(frame)
    assert "Stopped after 10 of 40 steps, 5 s." in watching.status(frame, "Stopped")


def test_loss_curve_has_decades_and_skips_what_has_no_logarithm() -> None:
    drawing = watching.loss_curve([LossPoint(1, 1000, 0, 1000), LossPoint(2, 110, 10, 100)], num_steps=4)
    assert "10<sup>1</sup>" in drawing
    assert "10<sup>3</sup>" in drawing
    assert "<path class='style' d='M 25.00,0.00 50.00,50.00'/>" in drawing
    assert "<path class='content' d='M 50.00,100.00'/>" in drawing
    assert "<path" not in watching.loss_curve([])


# --- the server


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The served app; its uploads and results go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        app = build_app()
        yield launch(app, host="127.0.0.1", port=port, prevent_thread_lock=True)
        app.close()


@pytest.fixture
def client(url: str, tmp_path: Path) -> Client:
    return Client(url, verbose=False, download_files=str(tmp_path / "downloads"))


def test_api_returns_a_png_that_holds_its_settings(client: Client, photo: Path, style: Path) -> None:
    path, record = client.predict(
        handle_file(photo), handle_file(style), style_weight=3.0, **QUICK, api_name="/stylize"
    )
    assert Path(path).name == "photo_style.png"
    assert load_image(path).shape == (1, 3, 48, 64)
    expected = stylecore.make_config("gatys", style_weight=3.0, **QUICK)
    assert stylecore.read_settings(path) == {"config": expected.to_dict()}
    assert record["config"] == expected.to_dict()
    assert record["num_steps"] == 3
    assert record["seconds"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "gatsy"}, "Unknown preset 'gatsy': did you mean 'gatys'?"),
        ({"size": 2000}, "size must be between 64 and 1024 on this page, not 2000."),
    ],
)
def test_api_says_what_is_wrong(
    client: Client, photo: Path, style: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(handle_file(photo), handle_file(style), **options, api_name="/stylize")
    assert message in str(error.value)


def test_api_refuses_a_broken_image_without_a_traceback(
    client: Client, photo: Path, broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AppError, match=r"The style cannot be used\. The image is not an image we can read"):
        client.predict(handle_file(photo), handle_file(broken), api_name="/stylize")
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err


def test_cancelled_job_leaves_the_machine_to_the_next(client: Client, photo: Path, style: Path) -> None:
    files = handle_file(photo), handle_file(style)
    endless = client.submit(*files, size=64, num_steps=1000, api_name="/stylize")
    wait_until(lambda: len(endless.outputs()) > 1, "a first record")
    endless.cancel()
    started = time.monotonic()
    client.predict(*files, **QUICK, api_name="/stylize")
    assert time.monotonic() - started < 5


# --- the page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS.split())
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """open_page(width, height) -> the loaded page. At the end: no console error, no request to another host."""
    complaints: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def open_it(width: int = 1280, height: int = 900) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(url)
        button(page, "Stylize").wait_for()
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


def set_size_and_steps(page: Any, size: int, num_steps: int) -> None:
    page.get_by_text("Advanced").click()
    for label, value in (("number input for Size", size), ("Steps", num_steps)):
        page.get_by_label(label).fill(str(value))
        page.keyboard.press("Tab")  # Gradio takes the value when the field loses the focus
        page.wait_for_timeout(200)


def start(page: Any) -> None:
    """Press Stylize, again if nothing happens: Gradio shows its buttons a moment before they are wired."""
    for _ in range(3):
        button(page, "Stylize").click()
        for _ in range(30):
            if not button(page, "Stylize").is_visible():
                return
            page.wait_for_timeout(100)
    raise AssertionError("Stylize was pressed three times and nothing began")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.05)


def test_example_to_download_with_a_stop_between(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    page.locator(".tiles .gallery-item").nth(1).click()
    set_size_and_steps(page, 64, 1000)
    start(page)
    image = page.locator("#result img")
    image.wait_for()
    first = image.get_attribute("src")
    wait_until(lambda: image.get_attribute("src") != first, "second frame")
    wait_until(lambda: "left" in status(page), "time left")
    button(page, "Stop").click()
    page.get_by_text("Stopped after").wait_for()
    button(page, "Stylize").wait_for()
    stopped = status(page), image.get_attribute("src")
    assert "of 1000 steps" in stopped[0]
    time.sleep(1.5)  # several frames' time
    assert (status(page), image.get_attribute("src")) == stopped
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    assert download.value.suggested_filename.startswith("chelsea_")
    path = tmp_path / "download.png"
    download.value.save_as(path)
    assert load_image(path).shape == (1, 3, 43, 64)
    config = stylecore.read_settings(path)["config"]
    assert (config["size"], config["num_steps"], config["preset"]) == (64, 1000, "gatys")


def test_broken_upload_gives_a_friendly_message(open_page: Callable[..., Any], broken: Path) -> None:
    page = open_page()
    button(page, "Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(broken)
    page.locator("img[src*=broken]").first.wait_for(state="attached")
    button(page, "Stylize").click()
    page.get_by_text("The photo cannot be used. The image is not an image we can read").wait_for()
    button(page, "Stylize").wait_for()


def test_waiting_job_leaves_the_queue_and_a_closed_page_ends_its_job(
    open_page: Callable[..., Any], client: Client, photo: Path, style: Path
) -> None:
    running, waiting = open_page(), open_page()
    for page in (running, waiting):
        set_size_and_steps(page, 64, 1000)
        start(page)
        button(page, "Stop").wait_for()
    running.locator("#result img").wait_for()
    button(waiting, "Stop").click()
    button(waiting, "Stylize").wait_for()
    assert waiting.locator("#result img").count() == 0
    running.close()
    started = time.monotonic()
    client.predict(handle_file(photo), handle_file(style), **QUICK, api_name="/stylize")
    assert time.monotonic() - started < 5
    assert waiting.locator("#result img").count() == 0


def test_phone_needs_no_sideways_scrolling(open_page: Callable[..., Any]) -> None:
    page = open_page(390, 844)
    set_size_and_steps(page, 64, 3)
    start(page)
    page.get_by_text("Done after 3 of 3 steps").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
