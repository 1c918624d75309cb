"""A crowd of visitors at a demo of its own on loopback: jobs, cancels, disconnects and garbage; then it is killed.

python -m benchmarks.load [--clients 50] [--seconds 180] [-o docs/security/load.json]

Every finished picture must be the one that was asked for: each visitor asks for a size and a style of their own, and
finds both in the PNG, and shares it. The server's memory is measured all the time, and again when all have left. Then
the crowd comes back, the server is killed under it and started again, and every shared link must open. Prints one JSON
object; exit status 1 for a lost or swapped result, a traceback, a page that is slow or dead, a connection that breaks,
memory that still grows in the second half, or a link that does not open.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.security_figures import write_record
from stylecore.devices import environment, find_device
from stylecore.errors import ImageError
from stylecore.images import fit_image, load_image, read_settings, save_image
from stylecore.sample_images import load_photo
from tools.demo_server import TOKEN, DemoServer

LEAST_PX, NUM_STEPS = 64, 3
PAGE_EVERY_S, SLOW_PAGE_S = 0.5, 5.0
WARM_UP_S, IDLE_S = 30, 20  # before memory is compared, and after all have left
KILL_AFTER_S = 5
MAX_GROWTH_MIB = 48  # in the second half
BEHAVIOURS = {"job": 6, "cancel": 1, "disconnect": 1, "garbage": 2}  # shares of what a visitor does next


class Crowd:
    """What all visitors share: the server, the picture, and what became of them.

    Args:
        seconds: how long they keep coming.
        least_px, num_steps: of a job.
    """

    def __init__(
        self, server: DemoServer, seconds: float, picture: bytes, least_px: int = LEAST_PX, num_steps: int = NUM_STEPS
    ) -> None:
        self.server, self.url, self.picture = server, server.url, picture
        self.least_px, self.num_steps = least_px, num_steps
        self.deadline = time.monotonic() + seconds
        self.share = server.function("share_result")
        self.counts: Counter[str] = Counter()
        self.page_seconds: list[float] = []
        self.resident_mib: list[float] = []  # of the server, about every `PAGE_EVERY_S`
        self.tokens: list[str] = []  # of results that were shared

    @property
    def is_over(self) -> bool:
        """Whether nobody comes any more."""
        return time.monotonic() >= self.deadline

    async def come(self, clients: int) -> None:
        """All of them, until the time is over."""
        await asyncio.gather(self.watch_page(), *(self.visit(number) for number in range(clients)))

    async def visit(self, number: int) -> None:
        """One visitor, from an address of their own, until the time is over."""
        rng = random.Random(number)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{1 + number % 250}")
        async with httpx.AsyncClient(base_url=f"{self.url}/gradio_api", transport=transport, timeout=120) as client:
            while not self.is_over:
                (behaviour,) = rng.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))
                try:
                    await (
                        self._send_garbage(client, rng)
                        if behaviour == "garbage"
                        else self.order(client, behaviour, number)
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

    async def order(self, client: httpx.AsyncClient, behaviour: str, number: int) -> None:
        """A job of a size and weight that nobody else asks for."""
        size, weight = self.least_px + number % 32, 1 + number / 100
        (path,) = (await client.post("/upload", files={"files": (f"{number}.png", self.picture)})).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = [file, [file], "gatys", None, size, weight, 0, self.num_steps, None]
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
            await self._share(client, outcome[0])
            config = read_settings(picture)["config"]
            is_own = max(load_image(picture).shape) == size and abs(config["style_weight"] - weight) < 1e-6
            self.counts["finished" if is_own else "swapped"] += 1

    async def _share(self, client: httpx.AsyncClient, file: dict[str, Any]) -> None:
        body = {"data": [file, None, False], "fn_index": self.share, "session_hash": "crowd"}
        self.tokens += TOKEN.findall((await client.post("/run/predict", json=body)).text)

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
            while not self.is_over:
                began = time.monotonic()
                (await client.get(self.url)).raise_for_status()
                self.page_seconds.append(time.monotonic() - began)
                self.resident_mib.append(self.server.resident_mib)
                await asyncio.sleep(PAGE_EVERY_S)


def kill_under(server: DemoServer, picture: bytes, clients: int) -> list[str]:
    """Let a crowd in, kill the server under it, start it again; what the crowd had shared until then."""
    crowd = Crowd(server, 2 * KILL_AFTER_S, picture)

    async def kill() -> None:
        await asyncio.sleep(KILL_AFTER_S)
        server.kill()
        crowd.deadline = 0

    async def come_and_kill() -> None:
        await asyncio.gather(crowd.come(clients), kill(), return_exceptions=True)

    asyncio.run(come_and_kill())
    server.start()
    return crowd.tokens


def opened(server: DemoServer, tokens: list[str]) -> int:
    """How many links show their result again."""
    return sum(is_sound(httpx.get(f"{server.url}/r/{token}/result.png").content) for token in tokens)


def is_sound(picture: bytes | Path) -> bool:
    """Whether it can be opened."""
    try:
        load_image(picture)
    except ImageError:
        return False
    return True


def measure(server: DemoServer, picture: bytes, clients: int, seconds: float) -> dict[str, Any]:
    """All that the record says but where it was made."""
    started = server.resident_mib
    first = Crowd(server, min(WARM_UP_S, seconds / 2), picture)
    asyncio.run(first.come(clients))
    warm = server.resident_mib
    crowd = Crowd(server, seconds, picture)
    asyncio.run(crowd.come(clients))
    end = server.resident_mib
    time.sleep(IDLE_S)
    idle = server.resident_mib
    tokens = first.tokens + crowd.tokens + kill_under(server, picture, clients)
    middle = crowd.resident_mib[len(crowd.resident_mib) // 2]
    memory = {"started": started, "after_warm_up": warm, "middle": middle, "end": end, "idle": idle}
    memory["most"] = max(end, *crowd.resident_mib)
    pages = sorted(crowd.page_seconds)
    return {
        "clients": clients,
        "seconds": seconds,
        "visits": dict(sorted(crowd.counts.items())),
        "page_s": {"median": round(pages[len(pages) // 2], 3), "slowest": round(pages[-1], 3)},
        "memory_mib": {name: round(value) for name, value in memory.items()},
        "tracebacks_logged": server.log.read_text(encoding="utf-8").count("Traceback"),
        "killed": {
            "shared": len(tokens),
            "opened": opened(server, tokens),
            "stored": len(list(server.shared_results.glob("*/record.json"))),
            "broken": sum(not is_sound(path) for path in server.shared_results.glob("*/result.png")),
        },
    }


def failures(record: dict[str, Any]) -> list[str]:
    """What of a record must not be."""
    visits, memory, killed = record["visits"], record["memory_mib"], record["killed"]
    found = {
        "lost or swapped results": visits.get("lost", 0) + visits.get("swapped", 0),
        "tracebacks": visits.get("traceback sent", 0) + record["tracebacks_logged"],
        "broken connections": sum(count for name, count in visits.items() if name.startswith("trouble")),
        "no finished job": not visits.get("finished"),
        "a slow page": record["page_s"]["slowest"] > SLOW_PAGE_S,
        "growing memory": memory["end"] - memory["middle"] > MAX_GROWTH_MIB,
        "links that do not open": killed["shared"] - killed["opened"],
        "broken files": killed["broken"],
    }
    return [name for name, is_so in found.items() if is_so]


def main(
    clients: Annotated[int, typer.Option(min=1, help="Visitors at a time.")] = 50,
    seconds: Annotated[float, typer.Option(min=5, help="How long they keep coming.")] = 180,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the record goes, a JSON file.")] = None,
) -> None:
    """Serve the demo, let the crowd in, and print what became of it."""
    with tempfile.TemporaryDirectory(prefix="stylecore-load-") as name, DemoServer(Path(name)) as server:
        picture = save_image(fit_image(load_photo("astronaut"), 128), Path(name) / "photo.png").read_bytes()
        record = {"environment": environment(find_device()), **measure(server, picture, clients, seconds)}
    print(json.dumps(record, indent=2))
    if output:
        write_record(record, output)
    if failed := failures(record):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    typer.run(main)
