"""Chromium for benches, tests and the pictures of the docs: where it is, and how it is started."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
WITHOUT_GPU = "--disable-gpu"
EMULATED_WEBGPU = (
    "--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --enable-features=Vulkan --ignore-gpu-blocklist"
)


@contextmanager
def chromium(graphics: str = WITHOUT_GPU) -> Iterator[Browser]:
    """A browser, driven by Playwright, with these flags besides."""
    from playwright.sync_api import sync_playwright  # of the extra `dev`

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=f"{FLAGS} {graphics}".split())
        yield browser
        browser.close()
