"""A demo in a process of its own, which can be killed and started again on the same folders."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from stylecore.devices import resident_memory_mib

START_S = 120
TOKEN = re.compile(r"r/([\w-]{22})")


class DemoServer:
    """`with DemoServer(folder) as server`: it answers at `server.url`, and all its files lie in the folder.

    Args:
        options: of the command line.
        environment: variables of the process.
    """

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.options, self.environment = folder, options, environment or {}
        self.shared_results, self.models, self.uploads = (
            folder / name for name in ("shared_results", "models", "uploads")
        )
        self.log = folder / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def start(self) -> None:
        """Come back when the page is served."""
        options = [f"--port={self.port}", f"--shared-results={self.shared_results}", f"--models={self.models}"]
        command = [sys.executable, "-m", "demo", *options, *self.options]
        environment = os.environ | {"TMPDIR": str(self.folder), "GRADIO_TEMP_DIR": str(self.uploads)}
        environment |= self.environment
        environment["STYLECORE_CLIENT_SHARES"] = "1e6"  # all visitors have this machine's address
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                httpx.get(self.url, timeout=5).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.25)
            else:
                return
        raise RuntimeError(f"The demo did not start:\n{self.log.read_text(encoding='utf-8')}")

    def kill(self) -> None:
        """End it at once: nothing of it runs any more, not even its cleaning up."""
        self.process.kill()
        self.process.wait()

    def press(self, name: str, *data: Any) -> list[Any]:
        """What a function that is only the page's answers."""
        body = {"data": data, "fn_index": self.function(name), "session_hash": "script"}
        answer = httpx.post(f"{self.url}/gradio_api/run/predict", json=body, timeout=60)
        return list(answer.raise_for_status().json()["data"])

    def share(self, picture: Any) -> str:
        """Share a result that was uploaded, and return its token."""
        (shown,) = self.press("share_result", picture, None, False)[:1]
        return TOKEN.findall(str(shown))[0]

    def function(self, name: str) -> int:
        """The number that the page calls a function by."""
        config = httpx.get(f"{self.url}/config", timeout=60).json()
        (index,) = (each["id"] for each in config["dependencies"] if each["api_name"] == name)
        return int(index)

    @property
    def resident_mib(self) -> float:
        """What its process holds of the main memory."""
        return resident_memory_mib(self.process.pid)
