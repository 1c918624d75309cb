"""Draw docs/images/web-*.jpg, the static page after real runs, and what the page itself has: its opening, its icons.

python -m export web -o build/web
python -m tools.web_screenshots build/web     # five minutes on two cores; needs Chromium; names after it: those alone,
                                              # such as icons, opening, web-result, or one of MORE to look at
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page

from tools.chromium import chromium
from tools.static_host import serving

ROOT = Path(__file__).parent.parent
DOCS, PAGE = ROOT / "docs" / "images", ROOT / "export" / "web"
DESKTOP, PHONE = (1280, 860), (390, 844)
TIMEOUT_MS = 600_000
WATCHED = 0.6  # of a run, when it is drawn
MAX_BYTES = 120_000
OPENING = "#photo=astronaut&style=woodblock_waves&detail=fine&strength=75&size=384"
ICON_SIDES_PX = (192, 512)


def stylize(page: Page) -> None:
    page.get_by_role("button", name="Stylize", exact=True).click()
    page.get_by_text("Done after").first.wait_for()


def watch(page: Page) -> None:
    page.get_by_role("button", name="Stylize", exact=True).click()
    while page.locator("#bar").evaluate("bar => bar.value") < WATCHED:
        page.wait_for_timeout(100)


def wait(_: Page) -> None:
    """Nothing to do: the page is there to be seen."""


def offline(page: Page) -> None:
    page.get_by_text("the page works without a connection").first.wait_for()
    page.context.set_offline(True)
    page.reload()
    page.get_by_text("Ready. Press Stylize").first.wait_for()
    stylize(page)


# name -> link, what is done, size in px, colour scheme
Shot = tuple[str, Callable[[Page], None], tuple[int, int], Any]
SHOTS: dict[str, Shot] = {
    "web-result": (OPENING.replace("fine", "preview"), stylize, DESKTOP, "light"),
    "web-live-phone": ("#photo=rocket&style=stained_glass&strength=70", watch, PHONE, "dark"),
}
MORE: dict[str, Shot] = {
    "web-start": ("", wait, DESKTOP, "light"),
    "web-start-dark": ("", wait, DESKTOP, "dark"),
    "web-start-phone": ("", wait, PHONE, "light"),
    "web-live": ("#photo=rocket&style=flow_strokes", watch, DESKTOP, "light"),
    "web-result-dark": ("#photo=rocket&style=flow_strokes", stylize, DESKTOP, "dark"),
    "web-result-phone": ("#photo=rocket&style=flow_strokes", stylize, PHONE, "light"),
    "web-offline-phone": ("#photo=rocket&style=ink_marbling&detail=sketch&size=128", offline, PHONE, "dark"),
}


def open_page(browser: Browser, url: str, size: tuple[int, int], scheme: Any = "light") -> Page:
    """The page in a context of its own, ready to paint."""
    is_phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        is_mobile=is_phone,
        has_touch=is_phone,
        device_scale_factor=2 if is_phone else 1,
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.locator("#device:not(:empty)").wait_for()
    return page


def shoot(browser: Browser, url: str, name: str) -> Path:
    """One picture for the docs, as large as MAX_BYTES allows; of what is only looked at, in build/."""
    link, act, size, scheme = (SHOTS | MORE)[name]
    page = open_page(browser, url + link, size, scheme)
    act(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(700)
    path = DOCS / f"{name}.jpg" if name in SHOTS else ROOT / "build" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    shot = page.screenshot()
    path.write_bytes(as_jpeg(shot, MAX_BYTES) if name in SHOTS else shot)
    page.context.close()
    return path


def draw(browser: Browser, url: str, name: str) -> Path:
    """The picture of that name."""
    if name == "icons":
        return draw_icons(browser)
    return draw_opening(browser, url) if name == "opening" else shoot(browser, url, name)


def draw_opening(browser: Browser, url: str) -> Path:
    """What the page shows before anything is done, painted by itself."""
    page = open_page(browser, url + OPENING, DESKTOP)
    stylize(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    path = PAGE / "opening.jpg"
    path.write_bytes(as_jpeg(Path(download.value.path()).read_bytes(), MAX_BYTES // 2))
    page.context.close()
    return path


def draw_icons(browser: Browser) -> Path:
    """icon.svg as the PNGs that phones ask for."""
    for side in ICON_SIDES_PX:
        page = browser.new_page(viewport={"width": side, "height": side})
        page.set_content(f"<body style='margin: 0; line-height: 0'>{(PAGE / 'icon.svg').read_text()}")
        page.screenshot(path=PAGE / f"icon-{side}.png")
        page.close()
    return PAGE


def as_jpeg(picture: bytes, max_bytes: int) -> bytes:
    """The best JPEG of at most so many bytes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for quality in range(92, 20, -4):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if file.tell() <= max_bytes:
            break
    return file.getvalue()


def main() -> None:
    folder, *names = sys.argv[1:]
    with serving(Path(folder)) as url, chromium() as browser:
        for name in names or ["icons", "opening", *SHOTS]:
            print(draw(browser, url, name))


if __name__ == "__main__":
    main()
