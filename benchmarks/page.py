"""What the page costs a visitor, and what it is to those who do not see or do not use a mouse.

python -m benchmarks.page      # two minutes; needs Chromium

A cold load at a desktop's and a phone's width: bytes as they cross the line, requests, layout shift. The same on a slow
line (1.6 Mbit/s, 150 ms): seconds until the button answers and until the example pictures are there. In light and dark,
what axe-core finds on each tab. Writes page.json, the record, and page.md, its view.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from stylecore.files import write_file, write_json
from stylecore.report import Table, document
from tools.chromium import chromium
from tools.demo_server import DemoServer

FOLDER = Path("docs/benchmarks")
WIDTHS_PX = {"desktop": (1440, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
TABS = ("stylize", "compare", "edge", "how")
SLOW = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 1.6e6 / 8, "offline": False}
SETTLED_MS = 4000  # after the load
SERIOUS = ("critical", "serious")
SHIFT = """() => {
    window.shift = 0;
    new PerformanceObserver(list => list.getEntries().forEach(entry => {
        if (!entry.hadRecentInput) window.shift += entry.value;
    })).observe({type: "layout-shift", buffered: true});
}"""


def visit(browser: Browser, width: str, scheme: Any = "light") -> Page:
    """An empty page of a browser that has been nowhere."""
    size_x, size_y = WIDTHS_PX[width]
    context = browser.new_context(viewport={"width": size_x, "height": size_y}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(f"({SHIFT})()")
    return page


def cold_load(browser: Browser, url: str, width: str) -> dict[str, Any]:
    """Bytes over the line, requests and layout shift of the first visit."""
    page = visit(browser, width)
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    sizes: dict[str, float] = {}
    inline: set[str] = set()  # pictures inside the page are no requests
    line.on(
        "Network.requestWillBeSent",
        lambda event: event["request"]["url"].startswith("http") or inline.add(event["requestId"]),
    )
    line.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    page.goto(url)
    page.wait_for_timeout(SETTLED_MS)
    shift = page.evaluate("window.shift")
    sizes = {request: size for request, size in sizes.items() if request not in inline}
    page.context.close()
    return {"width": width, "bytes": round(sum(sizes.values())), "requests": len(sizes), "shift": round(shift, 3)}


def slow_load(browser: Browser, url: str, width: str) -> dict[str, Any]:
    """Seconds on a slow line until Stylize does something, and until the example pictures are there."""
    page = visit(browser, width)
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", SLOW)
    started = time.monotonic()
    page.goto(url, wait_until="commit")
    button = page.get_by_role("button", name="Stylize", exact=True)
    button.wait_for()
    page.wait_for_function("location.search.includes('tab=')")
    answers = time.monotonic() - started
    page.wait_for_function("""() => {
        const tiles = [...document.querySelectorAll('.tiles img')];
        return tiles.length && tiles.every(image => image.complete && image.naturalWidth);
    }""")
    pictures = time.monotonic() - started
    page.context.close()
    return {"width": width, "answers_s": round(answers, 2), "examples_s": round(pictures, 2)}


def findings(page: Page) -> dict[str, list[str]]:
    """Rules of axe-core that something critical or serious breaks, and what does."""
    violations = Axe().run(page).response["violations"]
    return {
        each["id"]: [node["html"][:200] for node in each["nodes"]] for each in violations if each["impact"] in SERIOUS
    }


def access(browser: Browser, url: str, width: str, scheme: str) -> Iterator[dict[str, Any]]:
    """Serious findings of each tab, as it is opened."""
    page = visit(browser, width, scheme)
    for tab in TABS:
        page.goto(f"{url}?tab={tab}")
        page.wait_for_function("location.search.includes('tab=')")
        page.wait_for_timeout(1500)
        found = findings(page)
        yield {"tab": tab, "width": width, "scheme": scheme, "findings": found}
    page.context.close()


def measure(browser: Browser, url: str) -> dict[str, Any]:
    """The whole record."""
    return {
        "cold": [cold_load(browser, url, width) for width in WIDTHS_PX],
        "slow": [slow_load(browser, url, width) for width in WIDTHS_PX],
        "access": [each for width in WIDTHS_PX for scheme in SCHEMES for each in access(browser, url, width, scheme)],
    }


def to_markdown(record: dict[str, Any]) -> str:
    """A table of the loads, and one of the findings."""
    columns = {"first visit": "{}", "kB": "{:.0f}", "requests": "{}", "layout shift": "{:.3f}"}
    columns |= {"slow line: answers, s": "{:.1f}", "examples there, s": "{:.1f}"}
    loads = zip(record["cold"], record["slow"], strict=True)
    rows = [
        (cold["width"], cold["bytes"] / 1000, cold["requests"], cold["shift"], slow["answers_s"], slow["examples_s"])
        for cold, slow in loads
    ]
    found: Counter[tuple[str, str]] = Counter()
    for each in record["access"]:
        found.update({(each["tab"], rule): len(nodes) for rule, nodes in each["findings"].items()})
    words = [f"{tab}: {rule} ({number})" for (tab, rule), number in found.items()]
    return document(
        "# The page",
        f"Made by `python -m benchmarks.page` in Chromium {record['browser']}, on a server of its own on the same "
        "machine. The slow line has 1.6 Mbit/s and 150 ms.",
        Table.of(columns, rows),
        f"axe-core finds critical or serious on {len(record['access'])} views (tabs, both widths, light and dark): "
        f"{', '.join(words) or 'nothing'}.",
    )


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the record and its view.")] = FOLDER,
) -> None:
    """Measure, write the record and its view, and print the view."""
    with tempfile.TemporaryDirectory() as folder, DemoServer(Path(folder)) as server, chromium() as browser:
        record = {"browser": browser.version, **measure(browser, server.url)}
    write_json(output / "page.json", record)
    view = to_markdown(record)
    write_file(output / "page.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
