"""Draw docs/images/demo-*.jpg: the demo's tabs after real runs, at a desktop's width, a phone's, and in the dark.

python -m tools.screenshots     # a few minutes on two cores; needs Chromium; names of pictures: those alone
"""

import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from demo.app import build_app, launch
from demo.server.settings import Settings
from stylecore.presets import make_config
from stylecore.sample_images import photo_path
from tools.chromium import chromium

TARGET = Path(__file__).parent.parent / "docs" / "images"
WIDTH_PX, HEIGHT_PX, PHONE_PX = 1440, 900, 390
TIMEOUT_MS = 300_000
JPEG_QUALITY = 85
PICTURES = "photo=chelsea&style=woodblock_waves&strength=75&size=320"
OWN_PHOTO = "flower"
AXES = "x=style&xs=flow_strokes,stained_glass,woodblock_waves&y=preset&ys=draft,preview,standard"
COMPARED = f"?tab=compare&{PICTURES}&{AXES}"
IN_TEXT = """<body style="font: 18px/1.5 Georgia, serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem">
<h1>Three styles, three details</h1><p>A comparison in the middle of somebody's article.</p>{}
<p>And the article goes on.</p>"""


def stylize(page: Page) -> None:
    page.get_by_role("button", name="Stylize", exact=True).click()
    page.get_by_text("Style distance").first.wait_for()


def own_photo(page: Page) -> None:
    page.get_by_role("button", name="Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(photo_path(OWN_PHOTO))
    page.wait_for_function("location.search.includes('photo=own')")
    stylize(page)


def stronger(page: Page) -> None:
    stylize(page)
    page.locator("#strength input[type=number]").fill("95")
    page.locator("#strength input[type=number]").press("Tab")
    page.get_by_text("This picture was made with other settings").wait_for()
    page.get_by_role("button", name="Stylize", exact=True).click()
    page.locator(".strip button").nth(1).wait_for()


def finer(page: Page) -> None:
    stylize(page)
    page.get_by_role("button", name="Paint it fine").click()
    page.get_by_text("Done after 30 of 30 steps").wait_for()


def refresh_in_the_middle(page: Page) -> None:
    page.get_by_role("button", name="Stylize", exact=True).click()
    page.get_by_text("left").first.wait_for()
    page.reload()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    page.get_by_text("left").first.wait_for()


def compare(page: Page) -> None:
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("9 of 9 variants are done").wait_for()


def share(page: Page, number: int) -> str:
    """Share on the tab of that number; the link."""
    page.get_by_role("button", name="Share", exact=True).click()
    link = page.locator(".link input").nth(number)
    link.wait_for()
    return link.input_value()


def shared_result(page: Page) -> None:
    stylize(page)
    page.goto(share(page, 0))


def shared_comparison(page: Page) -> None:
    compare(page)
    page.goto(share(page, 0))


def framed_comparison(page: Page) -> None:
    compare(page)
    share(page, 0)
    frame = page.locator(".embed").input_value()
    page.set_content(IN_TEXT.format(frame))
    page.frame_locator("iframe").locator(".stage").wait_for()


def paint_without_torch(page: Page) -> None:
    page.get_by_role("button", name="Measure it here, now").click()
    page.get_by_text("Torch on the same threads").wait_for()
    page.get_by_role("button", name="Stylize without torch").click()
    page.get_by_text("with torch ").wait_for()


def wait(_: Page) -> None:
    """Nothing to do: the page is there to be read."""


def read(page: Page) -> None:
    page.get_by_text("The style losses").first.wait_for()


# name -> query, what is done, width in px, colour scheme
SHOTS: dict[str, tuple[str, Callable[[Page], None], int, Any]] = {
    "demo-first": ("", wait, WIDTH_PX, "light"),
    "demo-first-dark": ("", wait, WIDTH_PX, "dark"),
    "demo-first-phone": ("", wait, PHONE_PX, "light"),
    "demo-stylize": (f"?{PICTURES}", stylize, WIDTH_PX, "light"),
    "demo-own-photo": (f"?{PICTURES}", own_photo, PHONE_PX, "dark"),
    "demo-stronger": (f"?{PICTURES}", stronger, WIDTH_PX, "light"),
    "demo-finer": (f"?{PICTURES}", finer, WIDTH_PX, "dark"),
    "demo-refresh": (f"?{PICTURES}&preset=full", refresh_in_the_middle, PHONE_PX, "light"),
    "demo-compare": (COMPARED, compare, WIDTH_PX, "light"),
    "demo-compare-phone": (COMPARED, compare, PHONE_PX, "dark"),
    "shared-result-phone": (f"?{PICTURES}", shared_result, PHONE_PX, "light"),
    "shared-comparison": (COMPARED, shared_comparison, WIDTH_PX, "light"),
    "shared-comparison-framed": (COMPARED, framed_comparison, WIDTH_PX, "light"),
    "demo-edge": (f"?tab=edge&{PICTURES}", paint_without_torch, WIDTH_PX, "light"),
    "demo-how": ("?tab=how", read, WIDTH_PX, "light"),
    "demo-phone": (f"?{PICTURES}", stylize, PHONE_PX, "light"),
    "demo-dark": (f"?{PICTURES}", stylize, WIDTH_PX, "dark"),
}


def shoot(browser: Browser, url: str, name: str) -> None:
    """One page in a context of its own, as high as it is."""
    query, act, width, scheme = SHOTS[name]
    context = browser.new_context(viewport={"width": width, "height": HEIGHT_PX}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url + query)
    page.wait_for_function("location.search.includes('tab=')")
    act(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # images fade in
    page.screenshot(path=TARGET / f"{name}.jpg", full_page=True, type="jpeg", quality=JPEG_QUALITY)
    context.close()


def main() -> None:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings.read(shared_results=Path(folder))
        app = build_app(settings)
        url, _ = launch(app, settings, host="127.0.0.1", port=port)
        app.services.warm_up()
        while app.services.timings.estimate(make_config("draft", size=384)) is None:
            time.sleep(0.1)
        with chromium() as browser:
            for name in sys.argv[1:] or SHOTS:
                shoot(browser, url, name)
                print(TARGET / f"{name}.jpg")
        app.close()


if __name__ == "__main__":
    main()
