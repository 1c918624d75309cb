"""What one visitor, and all of them together, may ask of this server."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from stylecore.config import MIN_SIZE_PX
from stylecore.errors import OptionError

DISK_IS_FULL = "The server's disk is full for now: try again later."


@dataclass(frozen=True)
class Limits:
    """Each field can be set by the environment: `STYLECORE_` and its name in capitals."""

    client_jobs: float = 4  # of one address, waiting and running
    job_pixels: float = 1024 * 1024  # of a result, if it is square: the longer side is what is limited
    job_seconds: float = 1800  # of computing, as all below
    client_seconds: float = 3600  # of one address, within an hour
    total_seconds: float = 3600  # of all, within an hour
    free_disk_mib: float = 1024  # below it, nothing is uploaded or shared

    @property
    def job_size_px(self) -> int:
        """Longer side of a result, at most."""
        return max(MIN_SIZE_PX, math.isqrt(int(min(self.job_pixels, 2**62))))

    def has_room(self, folder: str | Path) -> bool:
        """Whether the disk of a folder has that much left."""
        return shutil.disk_usage(folder).free >= self.free_disk_mib * 2**20

    @classmethod
    def from_environment(cls) -> Limits:
        """Raises an OptionError for a value that is no positive number."""
        given = {}
        for field in dataclasses.fields(cls):
            variable = f"STYLECORE_{field.name.upper()}"
            if variable in os.environ:
                given[field.name] = _positive(variable, os.environ[variable])
        return cls(**given)


def _positive(variable: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise OptionError(f"{variable} must be a number above 0, not '{text}'.")
    return value
