"""The record file: finished parts are kept in it and not run again."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from studies.settings import Settings
from stylecore.devices import environment
from stylecore.files import replacing

Record = dict[str, Any]


class Store:
    """Records by experiment and part, and the folder of the images they speak of.

    What was recorded on another machine, with other threads or other settings is put aside as `*.previous.json`:
    figures of two runs do not mix, and a quarter of an hour's work is not thrown away.
    """

    def __init__(self, records: Path, images: Path, settings: Settings) -> None:
        self.path = records
        self.images = images
        self.settings = settings
        self.content: Record = {
            "environment": environment(torch.device("cpu")),
            "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
            "experiments": {},
        }
        records.parent.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        if records.exists():
            stored = read(records)
            if all(stored[key] == self.content[key] for key in ("environment", "settings")):
                self.content = stored
            else:
                records.replace(records.with_suffix(".previous.json"))

    def part(self, experiment: str, key: str, measure: Callable[[], Record]) -> Record:
        """The record of a part: the stored one if its images are there too, else what `measure` returns now."""
        parts = self.content["experiments"].setdefault(experiment, {})
        if key in parts and all((self.images / name).exists() for name in parts[key].get("images", ())):
            print(f"  {experiment}: {key} is there", flush=True)
            return parts[key]
        print(f"  {experiment}: {key} ...", flush=True)
        started = time.perf_counter()
        parts[key] = measure()
        parts[key]["wall_s"] = round(time.perf_counter() - started, 1)
        self.write()
        return parts[key]

    def write(self) -> None:
        with replacing(self.path) as file:
            file.write(json.dumps(self.content, indent=1).encode() + b"\n")


def read(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))
