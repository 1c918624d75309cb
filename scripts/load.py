"""A crowd of visitors at a demo of its own on loopback: jobs, cancels, disconnects and garbage.

python -m scripts.load [--clients 50] [--seconds 180]

Every finished picture must be the one that was asked for: each visitor asks for a size and a style of their own, and
finds both in the PNG. One JSON object at the end; exit status 1 for a lost or swapped result, or a dead page.
"""

import asyncio
import io
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from stylecore.images import fit_image, load_image, read_settings, save_image
from stylecore.photos import load_photo

NUM_STEPS = 3
PAGE_EVERY_S, SLOW_PAGE_S = 0.5, 5.0
BEHAVIOURS = {"job": 6, "cancel": 1, "disconnect": 1, "garbage": 2}  # shares of what a visitor does next


class Crowd:
    """What all visitors share: the server's address, the pictures, and the counts."""

    def __init__(self, url: str, deadline: float, picture: bytes) -> None:
        self.url, self.deadline, self.picture = url, deadline, picture
        self.counts: Counter[str] = Counter()
        self.page_seconds: list[float] = []

    async def visit(self, number: int) -> None:
        """One visitor, from an address of their own, until the time is over."""
        rng = random.Random(number)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{1 + number % 250}")
        async with httpx.AsyncClient(base_url=f"{self.url}/gradio_api", transport=transport, timeout=120) as client:
            while time.monotonic() < self.deadline:
                (behaviour,) = rng.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))
                try:
                    await (
                        self._send_garbage(client, rng)
                        if behaviour == "garbage"
                        else self._order(client, behaviour, number)
                    )
                except httpx.HTTPError as error:
                    self.counts[f"trouble: {type(error).__name__}"] += 1
                await asyncio.sleep(rng.uniform(0, 1))

    async def _send_garbage(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        answer = await client.post(
            rng.choice(["/queue/join", "/call/stylize", "/upload", "/run/stylize"]), content=rng.randbytes(500)
        )
        self.counts["garbage"] += 1
        self.counts["traceback sent"] += "Traceback" in answer.text

    async def _order(self, client: httpx.AsyncClient, behaviour: str, number: int) -> None:
        """A job of a size and weight that nobody else asks for."""
        size, weight = 64 + number % 32, 1 + number / 100
        (path,) = (await client.post("/upload", files={"files": (f"{number}.png", self.picture)})).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = [file, [file], "gatys", None, size, weight, 0, NUM_STEPS]
        answer = await client.post("/call/stylize", json={"data": data})
        if answer.status_code != 200:
            self.counts[f"refused {answer.status_code}"] += 1
            return
        event = answer.json()["event_id"]
        if behaviour == "cancel":
            await client.post("/cancel", json={"event_id": event, "session_hash": event, "fn_index": 0})
            self.counts["cancelled"] += 1
            return
        outcome = await self._follow(client, event, hangs_up=behaviour == "disconnect")
        if outcome is None:
            self.counts["disconnected"] += 1
        elif not outcome:
            self.counts["lost"] += 1
        else:
            picture = (await client.get(f"/file={outcome[0]['path']}")).content
            config = read_settings(picture)["config"]
            is_own = max(load_image(picture).shape) == size and abs(config["style_weight"] - weight) < 1e-6
            self.counts["finished" if is_own else "swapped"] += 1

    async def _follow(self, client: httpx.AsyncClient, event: str, *, hangs_up: bool) -> list[Any] | None:
        """The last data of a job; [] if it ended without any, None if this visitor hung up."""
        kind = ""
        async with client.stream("GET", f"/call/stylize/{event}") as answer:
            async for line in answer.aiter_lines():
                if hangs_up:
                    return None
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif kind in ("complete", "error"):
                    return json.loads(line.removeprefix("data: ")) or [] if kind == "complete" else []
        return []

    async def watch_page(self) -> None:
        """Whether somebody new still gets the page."""
        async with httpx.AsyncClient(timeout=60) as client:
            while time.monotonic() < self.deadline:
                began = time.monotonic()
                (await client.get(self.url)).raise_for_status()
                self.page_seconds.append(time.monotonic() - began)
                await asyncio.sleep(PAGE_EVERY_S)


async def _crowd(crowd: Crowd, clients: int) -> None:
    await asyncio.gather(crowd.watch_page(), *(crowd.visit(number) for number in range(clients)))


def _wait_for(url: str) -> None:
    for _ in range(240):
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.25)
        else:
            return
    sys.exit("The demo did not start.")


def main(
    clients: Annotated[int, typer.Option(min=1, help="Visitors at a time.")] = 50,
    seconds: Annotated[float, typer.Option(min=5, help="How long they keep coming.")] = 180,
) -> None:
    """Serve the demo, let the crowd in, and print what became of it."""
    with tempfile.TemporaryDirectory(prefix="stylecore-load-") as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        url = f"http://127.0.0.1:{port}"
        picture = save_image(fit_image(load_photo("astronaut"), 128), Path(name) / "photo.png").read_bytes()
        log = io.FileIO(Path(name) / "log", "w")
        command = [sys.executable, "-m", "demo", "--port", str(port), "--kept", name, "--models", name]
        server = subprocess.Popen(command, env=os.environ | {"TMPDIR": name}, stdout=log, stderr=log)
        try:
            _wait_for(url)
            warm = Crowd(url, time.monotonic() + min(10, seconds / 4), picture)
            asyncio.run(_crowd(warm, clients))
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            crowd = Crowd(url, time.monotonic() + seconds, picture)
            asyncio.run(_crowd(crowd, clients))
            after = process.memory_info().rss
        finally:
            server.terminate()
            server.wait(30)
    pages = sorted(crowd.page_seconds)
    record = {
        "clients": clients,
        "seconds": seconds,
        **dict(sorted(crowd.counts.items())),
        "page_median_s": round(pages[len(pages) // 2], 3),
        "page_slowest_s": round(pages[-1], 3),
        "server_before_mib": round(before / 2**20),
        "server_after_mib": round(after / 2**20),
    }
    print(json.dumps(record, indent=2))
    bad = sum(crowd.counts[kind] for kind in ("lost", "swapped", "traceback sent"))
    raise typer.Exit(int(bad > 0 or not crowd.counts["finished"] or pages[-1] > SLOW_PAGE_S))


if __name__ == "__main__":
    typer.run(main)
