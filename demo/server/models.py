"""The exported models on this server: which there can be, which there are, and how fast they are here.

What exports and measures them is imported only then: the page starts without onnxruntime.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import torch

from stylecore.errors import OptionError, unknown
from stylecore.files import replacing

from .export_package import import_export
from .folders import own_folder, writable_folder

DEFAULT_RUNS, MAX_RUNS, MAX_SECONDS = 8, 64, 2.0  # of one model; the rules of a serious bench take minutes


class Models:
    """Model files in one folder, each with the record of its last measurement beside it.

    Args:
        folder: made if it is missing; None: one of this server's own, in the system's temporary folder.

    Raises:
        OptionError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = writable_folder(folder, "--models") if folder else own_folder(self, "models")
        self.variants: dict[str, tuple[str, str]] = import_export("precisions").variants()  # encoder and precision

    def path(self, name: str) -> Path:
        """Where a model is or will be. Raises an OptionError that suggests the nearest name."""
        if str(name) not in self.variants:  # a program may send anything
            raise unknown("model", name, self.variants)
        return self.folder / f"{name}.onnx"

    def check(self, name: str, num_runs: int) -> None:
        """Raise an OptionError if such a measurement is impossible, before the model is made for it."""
        self.path(name)
        if type(num_runs) is not int or not 1 <= num_runs <= MAX_RUNS:  # JSON's true is an int too
            raise OptionError(f"runs must be a whole number between 1 and {MAX_RUNS}, not {num_runs}.")

    def make(self, name: str) -> Path:
        """Export a model, if it is not there yet."""
        path = self.path(name)
        if not path.is_file():
            extractor = import_export("extractor")
            encoder, precision = self.variants[name]
            extractor.export_extractor(extractor.ExtractorOptions(encoder=encoder, precision=precision), path)
        return path

    def measure(self, name: str, num_runs: int = DEFAULT_RUNS) -> list[dict[str, Any]]:
        """Time a model that is there, and torch beside it; the rows of the export package's `report.summarize`."""
        self.check(name, num_runs)
        benchmark, path = import_export("benchmark"), self.path(name)
        provider = "cuda" if torch.cuda.is_available() else "cpu"
        rules = benchmark.Rules(num_runs=num_runs, seconds=min(MAX_SECONDS, 0.1 * num_runs))
        # What really ran is shown, so a fallback to the CPU misleads nobody.
        record = benchmark.run_bench(
            [path], providers=[provider], threads=[os.cpu_count() or 1], rules=rules, allow_fallback=True
        )
        rows: list[dict[str, Any]] = import_export("report").summarize(record)
        with replacing(path.with_suffix(".json")) as file:
            file.write(json.dumps(rows).encode())
        return rows

    def measured(self, name: str) -> dict[str, Any] | None:
        """The first row of a model's last measurement."""
        record = self.path(name).with_suffix(".json")
        return json.loads(record.read_text(encoding="utf-8"))[0] if record.is_file() else None

    @property
    def bundle_zip(self) -> Path:
        """Where `make_bundle` leaves the whole folder in one file."""
        return self.folder / "bundle.zip"

    def make_bundle(self) -> Path:
        """The folder that stylizes without torch, made if it is not there yet, with a ZIP of it beside it."""
        folder = self.bundle_zip.with_suffix("")
        if not self.bundle_zip.is_file():
            bundle = import_export("bundle")
            bundle.export_bundle(bundle.bundle_config(), folder)
            with replacing(self.bundle_zip) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
                for path in sorted(folder.rglob("*")):
                    archive.write(path, path.relative_to(folder))
        return folder
