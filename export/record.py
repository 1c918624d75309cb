"""The bench's record: rows with every sample, by this machine's bench or written by hand (docs/phone.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from .runtime import ModelError

P99_FROM = 1000  # runs: under that, one percent is a handful of samples

Count = Annotated[int, pydantic.Field(strict=True, ge=1, le=10**6)]
Milliseconds = Annotated[float, pydantic.Field(gt=0, lt=1e9)]


class Latency:
    """Milliseconds of the runs of one thing, in their order, and what is said of them.

    Args:
        milliseconds: of at least one run.
    """

    def __init__(self, milliseconds: Sequence[float]) -> None:
        self.milliseconds = np.asarray(milliseconds, dtype=np.float64)

    @cached_property
    def percentiles(self) -> tuple[float, float, float, float]:
        """The 10th, 50th, 90th and 99th."""
        p10, p50, p90, p99 = map(float, np.percentile(self.milliseconds, (10, 50, 90, 99)))
        return p10, p50, p90, p99

    @property
    def median(self) -> float:
        return self.percentiles[1]

    @property
    def p90(self) -> float:
        return self.percentiles[2]

    @property
    def p99(self) -> float | None:
        """None for so few runs that it would be a handful of samples."""
        return self.percentiles[3] if len(self.milliseconds) >= P99_FROM else None

    @property
    def drift(self) -> float:
        """The median of the last tenth of the runs over that of the first, less 1: 0.1 is 10 % slower at the end."""
        tenth = max(1, len(self.milliseconds) // 10)
        first, last = self.milliseconds[:tenth], self.milliseconds[-tenth:]
        return float(np.median(last) / np.median(first)) - 1

    def __str__(self) -> str:
        """Median, and 10th to 90th percentile."""
        low, median, high, _ = self.percentiles
        return f"{median:.0f} ({low:.0f} to {high:.0f})"


@pydantic.dataclasses.dataclass
class Row:
    """One file and setting: what was asked, what ran, and every sample. What a row by hand leaves out is unknown."""

    name: Annotated[str, pydantic.Field(min_length=1)]
    num_threads: Count
    provider: str  # asked for; "torch" for the yardstick's rows
    size_px: Count
    milliseconds: Annotated[list[Milliseconds], pydantic.Field(min_length=1)]  # of every run, of the whole batch
    task: Literal["features", "stylization"] = "features"
    encoder: str = ""
    precision: str = ""
    input: str = "float32"
    batch: Count = 1
    mode: str = "arrays"  # numpy arrays in and out, or buffers kept on the device
    actual: str = ""  # the provider that did most of the work, by onnxruntime's profile
    microseconds_by_provider: dict[str, int] = field(default_factory=dict)
    provider_options: dict[str, dict[str, str]] = field(default_factory=dict)
    file_mib: float | None = None
    error: float | None = None  # largest over layers and images, against the full encoder in torch, float32
    cold_start_seconds: float | None = None  # from the start of a process to its first result
    session_seconds: float | None = None
    first_run_seconds: float | None = None
    peak_memory_mib: float | None = None
    joules: float | None = None  # of a run, of all the machine's CPUs
    sustained_milliseconds: list[Milliseconds] = field(default_factory=list)  # of runs without a pause

    def __post_init__(self) -> None:
        self.actual = self.actual or self.provider

    @property
    def latency(self) -> Latency:
        return Latency(self.milliseconds)


@pydantic.dataclasses.dataclass
class Record:
    """A bench.json."""

    kind: Literal["export-bench"]
    environment: dict[str, Any]  # at least "cpu" and "system", for people
    rows: Annotated[list[Row], pydantic.Field(min_length=1)]
    rules: dict[str, Any] | None = None  # None: written by hand
    not_run: list[dict[str, str]] = field(default_factory=list)


def read_record(path: Path) -> Record:
    """A record from its file. Raises a ModelError that names the first fault of what is none."""
    try:
        return RECORDS.validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"There is no record '{path}'.") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ModelError(f"'{path}' is no record of stylecore export bench ({place}: {first['msg']}).") from error


def write_record(record: Record) -> bytes:
    """The text of its file."""
    return RECORDS.dump_json(record) + b"\n"


RECORDS = pydantic.TypeAdapter(Record)
