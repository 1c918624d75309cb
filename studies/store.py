"""The record file: finished parts are kept in it and not run again."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from studies.settings import Settings
from stylecore.devices import environment
from stylecore.encoders import Encoder
from stylecore.files import write_file, write_json
from stylecore.report import Picture, contact_sheet
from stylecore.report.sheets import jpeg
from stylecore.sample_images import style_path

Record = dict[str, Any]


class Store:
    """Records by experiment and part, the folder of the images they speak of, and the figures made of both.

    What was recorded on another machine, with other threads or other settings is put aside as `*.previous.json`:
    figures of two runs do not mix, and a quarter of an hour's work is not thrown away.

    Args:
        records: the JSON file; figures go beside it.
        images: a folder for the results' images.
        encoder: of every experiment: the bundled VGG-16 in float32 on the CPU.
    """

    def __init__(self, records: Path, images: Path, settings: Settings, encoder: Encoder) -> None:
        self.path = records
        self.images = images
        self.settings = settings
        self.encoder = encoder
        self.content: Record = {
            "environment": environment(torch.device("cpu")),
            "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
            "experiments": {},
        }
        records.parent.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        if records.exists():
            stored = read(records)
            same_machine = _agree(stored["environment"], self.content["environment"])
            if same_machine and stored["settings"] == self.content["settings"]:
                self.content = stored
            else:
                records.replace(records.with_suffix(".previous.json"))

    def parts(self, experiment: str) -> Record:
        """The records of an experiment, by part."""
        return self.content["experiments"].setdefault(experiment, {})

    def part(self, experiment: str, key: str, measure: Callable[[], Record]) -> Record:
        """The record of a part: the stored one if the images and figures that it speaks of are there too, else what
        `measure` returns now."""
        parts = self.parts(experiment)
        if key in parts and self._has_pictures(parts[key]):
            print(f"  {experiment}: {key} is there", flush=True)
            return parts[key]
        print(f"  {experiment}: {key} ...", flush=True)
        started = time.perf_counter()
        parts[key] = measure()
        parts[key]["wall_s"] = round(time.perf_counter() - started, 1)
        write_json(self.path, self.content)
        return parts[key]

    def _has_pictures(self, record: Record) -> bool:
        images = [self.images / name for name in record.get("images", ())]
        figures = [self.path.parent / name for name in record.get("figures", ())]
        return all(path.exists() for path in (*images, *figures))

    def picture(self, name: str, title: str, *lines: str) -> Picture:
        """An image of the records, with its caption."""
        return Picture(Image.open(self.images / name), title, lines)

    def write_figure(self, name: str, data: bytes) -> None:
        """Beside the records."""
        write_file(self.path.parent / name, data)

    def write_sheet(self, name: str, rows: Sequence[Sequence[Picture]], cell_px: int) -> None:
        """Beside the records, as a JPEG."""
        self.write_figure(name, jpeg(contact_sheet(rows, cell_px), quality=72))


def _agree(stored: Record, own: Record) -> bool:
    """Whether all that both say is the same: a record from before something was noted says nothing of it."""
    return all(stored[key] == own[key] for key in stored.keys() & own.keys())


def style_picture(name: str, title: str) -> Picture:
    """A style, with its name below the title."""
    return Picture(Image.open(style_path(name)), title, (name.replace("_", " "),))


def read(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))
