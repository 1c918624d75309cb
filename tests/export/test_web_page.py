"""The static page in a real browser, served as GitHub Pages does: under a sub-path and without headers of its own."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from heic_sample import HEIC
from paths import ROOT
from PIL import Image
from stylecore_export.record import read_record

from stylecore import StylizeConfig
from stylecore.images import load_image
from stylecore.job import SavedSettings, Source
from stylecore.strength import weight_of

pytestmark = pytest.mark.browser

PREFIX = "/stylecore/"
DESKTOP, PHONE, SMALLEST = (1280, 860), (390, 844), (320, 640)
QUICK = "#photo=astronaut&style=ink_marbling&detail=sketch&strength=60&size=128"
LONG = "#detail=full&size=256"
TYPESCRIPT = "typescript@5.9.3"
READY = "Ready. Press Stylize"

# In the place of the worker, where a test is about the page alone: it gives the photo back, up to 128 px, for more it
# has no memory.
QUICK_WORKER = b"""
onmessage = ({ data }) => {
  const { type, id, size, content } = data;
  const defaults = { size: 256, numSteps: 4, strength: 100 };
  const ready = { type: "ready", provider: "wasm", threads: 1, version: "0", encoder: "", precision: "", runtime: "" };
  if (type === "load") postMessage({ ...ready, defaults });
  const record = { size, version: "0", seconds: 1, milliseconds: [1], stages: [[size, 1]], config: {} };
  if (type === "start" && size > 128) postMessage({ type: "error", id, code: "memory", message: "It does not fit." });
  else if (type === "start") postMessage({ type: "done", id, image: content, stopped: false, record });
};
"""

# A camera that sees a grey rectangle.
CAMERA = """
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const context = canvas.getContext("2d");
  setInterval(() => context.fillRect(0, 0, 64, 48), 50);
  return canvas.captureStream(20);
};
"""
SHARE = "navigator.canShare = () => true; navigator.share = async (what) => { window.shared = what; };"
DROP = "new DragEvent('drop', {dataTransfer: clipboardData, bubbles: true})"

Visit = Callable[..., Any]


class Handler(http.server.SimpleHTTPRequestHandler):
    """A folder under a sub-path, with some files in other versions; notes what it is asked for."""

    def __init__(self, *args: Any, changed: dict[str, bytes], asked: list[str], **options: Any) -> None:
        self.changed, self.asked = changed, asked
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not path.startswith(PREFIX):
            self.send_error(404)
            return
        self.path = "/" + path.removeprefix(PREFIX)
        self.asked.append(self.path.lstrip("/"))
        content = self.changed.get(self.path.lstrip("/"))
        if content is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def host(page_folder: Path) -> Iterator[SimpleNamespace]:
    """A host of the page: url, changed (files by their path), asked (paths), close()."""
    changed: dict[str, bytes] = {}
    asked: list[str] = []
    handler = partial(Handler, directory=str(page_folder), changed=changed, asked=asked)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def close() -> None:
        server.shutdown()
        server.server_close()

    url = f"http://127.0.0.1:{server.server_port}{PREFIX}"
    yield SimpleNamespace(url=url, changed=changed, asked=asked, close=close)
    close()


@pytest.fixture
def quick_worker(host: SimpleNamespace) -> None:
    """The host has it in the place of the worker that paints."""
    host.changed["worker.js"] = QUICK_WORKER


@pytest.fixture
def visit(browser: Any, host: SimpleNamespace) -> Iterator[Visit]:
    """visit(hash, size, **options of the context) -> a page of a visitor's first visit. At the end: no error that the
    page did not expect, no request to another host."""
    complaints: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def open_it(hash_: str = "", size: tuple[int, int] = DESKTOP, *, script: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, **options))
        contexts[-1].on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        contexts[-1].add_init_script(script)
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(host.url + hash_)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
    assert hosts - {""} == {urlsplit(host.url).netloc}  # data: and blob: addresses have no host


def said(page: Any, words: str) -> None:
    """Wait until the page says so."""
    page.get_by_text(words).first.wait_for()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def stylize(page: Any) -> None:
    press(page, "Stylize")
    said(page, "Done after")


def downloaded(page: Any, name: str, path: Path) -> Path:
    """What the button of that name saves, at `path`."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    download.value.save_as(path)
    return path


def linked(page: Any) -> dict[str, str]:
    """What the page's address says."""
    return {name: values[0] for name, values in parse_qs(page.evaluate("location.hash.slice(1)")).items()}


def shown_photo(page: Any) -> tuple[int, int]:
    """Width and height of the photo as it was decoded."""
    return tuple(page.locator("#live").evaluate("each => [each.width, each.height]"))


# ---- from a visit to a PNG


def test_a_run_in_threads_ends_in_a_png_that_knows_its_settings(
    visit: Visit, page_folder: Path, tmp_path: Path
) -> None:
    page = visit(QUICK)
    said(page, READY)
    assert page.evaluate("crossOriginIsolated"), "the service worker sets the headers that this host does not"
    stylize(page)
    path = downloaded(page, "Download PNG", tmp_path / "result.png")
    with Image.open(path) as image:
        assert max(image.size) == 128
        assert image.mode == "RGB"
    settings = SavedSettings.read(path)
    config = StylizeConfig.from_dict(settings.config)
    assert (config.size, config.style_weight) == (128, weight_of(60))
    folder = page_folder / "samples"
    for source, sample in zip(settings.sources, ("photos/astronaut.jpg", "styles/ink_marbling.jpg"), strict=True):
        assert source == Source.of(load_image(folder / sample), Path(sample).name), "so that --from finds it"

    record = read_record(downloaded(page, "Measurements", tmp_path / "record.json"))
    row = record.rows[0]
    assert (row.provider, row.size_px) == ("web-wasm", 128)
    assert 1 <= len(row.milliseconds) < config.num_steps, "those of the full size"


@pytest.mark.usefixtures("quick_worker")
def test_the_picture_brings_its_settings_back(visit: Visit, tmp_path: Path) -> None:
    page = visit(QUICK)
    said(page, READY)
    stylize(page)
    before = linked(page)
    path = downloaded(page, "Download PNG", tmp_path / "result.png")
    page.locator("#strength").fill("10")
    page.get_by_title("Pointillism").click()
    said(page, READY)
    assert linked(page) != before
    page.locator("#photo-file").set_input_files(path)
    said(page, "These are the settings of that picture")
    assert linked(page) == before


@pytest.mark.slow
def test_stop_keeps_what_there_is(visit: Visit, tmp_path: Path) -> None:
    page = visit(LONG)
    said(page, READY)
    page.get_by_role("button", name="Stylize", exact=True).focus()
    page.keyboard.press("Enter")
    said(page, "left")
    assert page.evaluate("document.activeElement.innerText") == "Stop", (
        "who uses the keyboard finds it where Stylize was"
    )
    page.keyboard.press("Enter")
    said(page, "Stopped after")
    assert page.evaluate("document.activeElement.innerText") == "Stylize"
    settings = SavedSettings.read(downloaded(page, "Download PNG", tmp_path / "stopped.png"))
    assert 0 < settings.num_made < StylizeConfig.from_dict(settings.config).num_steps


@pytest.mark.usefixtures("quick_worker")
def test_the_handle_moves_between_photo_and_result(visit: Visit) -> None:
    page = visit(QUICK)
    said(page, READY)
    stylize(page)
    handle = page.locator("#result input[type=range]")
    handle.focus()
    page.keyboard.press("End")
    assert page.locator("#result .stage").evaluate("each => each.style.getPropertyValue('--at')") == "100%"
    page.locator("#strength").fill("10")
    said(page, "This picture was made with other settings")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_worker")
def test_share_gives_the_png_and_the_link(visit: Visit) -> None:
    page = visit(QUICK, script=SHARE)
    said(page, READY)
    stylize(page)
    press(page, "Share")
    name, kind, url = page.evaluate("[shared.files[0].name, shared.files[0].type, shared.url]")
    assert (name, kind) == ("astronaut_ink_marbling.png", "image/png")
    assert url == page.url


# ---- links, hosts, lines


@pytest.mark.usefixtures("quick_worker")
def test_a_link_restores_settings_and_follows_them(visit: Visit) -> None:
    page = visit("#photo=rocket&style=stained_glass&detail=fine&strength=40&size=192")
    said(page, READY)
    checked = page.locator("input[type=radio]:checked").evaluate_all("all => all.map(each => each.value)")
    assert checked == ["rocket", "stained_glass", "fine", "192"]
    assert page.locator("#strength").input_value() == "40"
    page.get_by_text("Sketch").click()
    assert linked(page)["detail"] == "sketch"
    page.evaluate("location.hash = '#strength=5000&size=77&style=<b>&photo=own'")
    page.wait_for_timeout(200)
    assert page.locator("#strength").input_value() == "40", "what makes no sense is left out"


def test_the_second_visit_needs_no_host(visit: Visit, host: SimpleNamespace) -> None:
    page = visit(QUICK)
    said(page, "the page works without a connection")
    host.close()
    page.reload()
    said(page, READY)  # the models are open, and have computed a known step
    page.get_by_title("Woodblock waves").click()
    said(page, READY)
    assert not page.locator("#trouble").is_visible(), "a style that was not chosen before is here, too"


@pytest.mark.slow
def test_after_an_update_only_what_changed_is_fetched(visit: Visit, host: SimpleNamespace, page_folder: Path) -> None:
    page = visit(QUICK)
    said(page, "the page works without a connection")
    css = (page_folder / "style.css").read_bytes() + b"h1 { color: rgb(1, 2, 3); }"
    listed = json.loads((page_folder / "files.json").read_text())
    (entry,) = [each for each in listed["files"] if each["path"] == "style.css"]
    entry.update(bytes=len(css), sha256=hashlib.sha256(css).hexdigest())
    host.changed |= {"style.css": css, "files.json": json.dumps(listed).encode()}
    host.asked.clear()
    page.reload()
    said(page, "the page works without a connection")
    assert page.locator("h1").evaluate("each => getComputedStyle(each).color") == "rgb(1, 2, 3)"
    assert "style.css" in host.asked
    assert set(host.asked) <= {"style.css", "files.json", "sw.js"}


@pytest.mark.slow
def test_two_tabs_paint_at_once(visit: Visit) -> None:
    first = visit(LONG)
    said(first, READY)
    second = first.context.new_page()
    second.goto(first.url)
    said(second, READY)
    press(first, "Stylize")
    said(first, "left")
    press(second, "Stylize")
    said(second, "Another tab of this page is painting too")
    said(second, "left")
    for page in (first, second):
        press(page, "Stop")
        said(page, "Stopped after")


@pytest.mark.slow
def test_a_hidden_tab_goes_on(visit: Visit) -> None:
    page = visit(QUICK)
    said(page, READY)
    press(page, "Stylize")
    other = page.context.new_page()
    other.bring_to_front()
    said(page, "Done after")


@pytest.mark.slow
def test_a_plain_http_address_paints_too(browser: Any, page_folder: Path) -> None:
    """A phone that asks `python -m http.server` on a laptop: no service worker, no checksums, one thread."""
    page = browser.new_page()

    def answer(route: Any) -> None:
        path = page_folder / (urlsplit(route.request.url).path.removeprefix(PREFIX) or "index.html")
        route.fulfill(path=path) if path.is_file() else route.fulfill(status=404)

    page.context.route("http://laptop.test/**", answer)
    page.goto(f"http://laptop.test{PREFIX}{QUICK}")
    said(page, "This address begins with http")
    said(page, "one thread")
    stylize(page)
    page.close()


# ---- pictures


@pytest.mark.usefixtures("quick_worker")
def test_a_photo_is_turned_as_its_exif_says(visit: Visit, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (90, 60), "red").save(path, exif=exif)
    page = visit(QUICK)
    said(page, READY)
    page.locator("#photo-file").set_input_files(path)
    page.locator("#live[width='60']").wait_for()
    assert shown_photo(page) == (60, 90)


@pytest.mark.usefixtures("quick_worker")
def test_a_picture_that_cannot_be_read_says_what_to_do_and_loses_nothing(visit: Visit, tmp_path: Path) -> None:
    page = visit(QUICK)
    said(page, READY)
    heic, broken, thin = tmp_path / "IMG_1.HEIC", tmp_path / "broken.png", tmp_path / "thin.png"
    heic.write_bytes(HEIC)
    broken.write_text("no picture at all")
    Image.new("RGB", (300, 20)).save(thin)
    for path, words in (
        (heic, "'IMG_1.HEIC' is a HEIC picture, which this browser cannot read: save it as JPEG"),
        (broken, "'broken.png' is no picture that this browser can read, or is damaged"),
        (thin, "the longer side may be 12 times the shorter"),
    ):
        page.locator("#photo-file").set_input_files(path)
        said(page, words)
    assert linked(page)["photo"] == "astronaut"
    assert shown_photo(page) == (512, 512)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_worker")
def test_a_picture_of_100_megapixels_is_shrunk(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.radial_gradient("L").resize((12_500, 8_000)).convert("RGB").save(path)
    page = visit(QUICK)
    said(page, READY)
    page.locator("#photo-file").set_input_files(path)
    page.locator("#live[width='1024']").wait_for()
    assert shown_photo(page) == (1024, 655)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_worker")
def test_a_photo_from_the_camera(visit: Visit) -> None:
    page = visit(QUICK, script=CAMERA)
    said(page, READY)
    press(page, "Camera")
    press(page, "Take the photo")
    page.locator("#live[width='64']").wait_for()
    assert shown_photo(page) == (64, 48)
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('denied')); }")
    press(page, "Camera")
    said(page, "The camera cannot be used: allow it for this page, or choose a file.")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_worker")
@pytest.mark.parametrize(
    ("event", "target"),
    [("new ClipboardEvent('paste', {clipboardData, bubbles: true})", "photo"), (DROP, "photo"), (DROP, "style")],
)
def test_a_picture_is_pasted_or_dropped(visit: Visit, event: str, target: str) -> None:
    page = visit(QUICK)
    said(page, READY)
    page.evaluate(
        f"""async (place) => {{
            const canvas = Object.assign(document.createElement("canvas"), {{ width: 70, height: 50 }});
            const blob = await new Promise((resolve) => canvas.toBlob(resolve));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "one.png", {{ type: "image/png" }}));
            document.querySelector(place).dispatchEvent({event});
        }}""",
        f"#{target}s",
    )
    page.locator(f"#{target}s input[value=own]:checked").wait_for(state="attached")
    assert linked(page)[target] == "own"


# ---- what can go wrong


@pytest.mark.slow
def test_a_damaged_model_is_named_and_another_try_heals_it(
    visit: Visit, host: SimpleNamespace, page_folder: Path
) -> None:
    weights = (page_folder / "models" / "weights.bin").read_bytes()
    host.changed["models/weights.bin"] = weights[:-1] + bytes([weights[-1] ^ 1])
    page = visit(QUICK)
    said(page, "models/weights.bin is damaged or not of this page")
    host.changed.clear()
    press(page, "Try again")
    said(page, READY)


@pytest.mark.parametrize(
    ("path", "content"), [("models/manifest.json", b'{"format": 999}'), ("samples/samples.json", b"<html>")]
)
@pytest.mark.slow
def test_a_file_of_another_form_says_so(visit: Visit, host: SimpleNamespace, path: str, content: bytes) -> None:
    host.changed[path] = content
    page = visit()
    sentence = page.locator("#trouble p:not(:empty)").inner_text()  # waits, also over the first visit's second load
    assert sentence.endswith(".")
    assert "\n" not in sentence
    page.get_by_role("button", name="Try again").wait_for()


@pytest.mark.usefixtures("quick_worker")
def test_too_little_memory_offers_a_smaller_picture(visit: Visit) -> None:
    page = visit("#size=192")
    said(page, READY)
    press(page, "Stylize")
    said(page, "It does not fit.")
    press(page, "Paint it at 128 px")
    said(page, "Done after")
    assert linked(page)["size"] == "128"


def test_a_browser_without_simd_is_told(visit: Visit) -> None:
    page = visit(script="WebAssembly.validate = () => false;")
    said(page, "This browser is too old to paint")
    assert page.get_by_role("button", name="Stylize", exact=True).is_disabled()


# ---- for everyone


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (DESKTOP, "light"),
        pytest.param(PHONE, "dark", marks=pytest.mark.slow),
        pytest.param(SMALLEST, "light", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("quick_worker")
def test_axe_finds_nothing_serious(visit: Visit, size: tuple[int, int], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(QUICK, size, color_scheme=scheme)
    said(page, READY)
    found: dict[str, Any] = {}

    def look() -> None:
        for each in axe.run(page).response["violations"]:
            if each["impact"] in ("critical", "serious"):
                found[each["id"]] = [node["html"][:160] for node in each["nodes"]]

    look()
    stylize(page)
    look()
    assert found == {}


@pytest.mark.parametrize("size", [SMALLEST, pytest.param(PHONE, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("quick_worker")
def test_a_phone_needs_no_sideways_scrolling(visit: Visit, size: tuple[int, int]) -> None:
    page = visit(QUICK, size)
    said(page, READY)
    stylize(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    button = page.get_by_role("button", name="Stylize", exact=True)
    for share in (0, 1):
        page.evaluate(f"window.scrollTo(0, {share} * document.body.scrollHeight)")
        box = button.bounding_box()
        assert 0 <= box["y"] <= size[1] - box["height"], "in reach wherever one is"


# ---- the scripts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "library"), [(("page.js",), "dom,dom.iterable"), (("sw.js",), "webworker,webworker.iterable")]
)
def test_types_hold(files: tuple[str, ...], library: str, tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which fetches TypeScript, is not installed")
    fetched = subprocess.run([npm, "install", "--silent", "--no-save", "--prefix", tmp_path, TYPESCRIPT], check=False)
    if fetched.returncode:
        pytest.skip(f"npm could not fetch {TYPESCRIPT}")
    options = (
        "--noEmit --allowJs --checkJs --strict --noUnusedLocals --noUnusedParameters --target es2022 --module esnext"
    )
    paths = [ROOT / "export" / "web" / name for name in files]
    command = [tmp_path / "node_modules/.bin/tsc", *options.split(), "--moduleResolution", "bundler"]
    done = subprocess.run([*command, "--lib", f"es2022,{library}", *paths], capture_output=True, text=True, check=False)
    assert done.stdout == ""
