"""What one visitor, and all of them together, may ask of this server, and where it stores files."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stylecore import StylizeConfig, make_config
from stylecore.compare import check_components
from stylecore.config import MIN_SIZE_PX, SETTINGS
from stylecore.errors import OptionError

ENV_PREFIX = "STYLECORE_"
MAX_SEED = 2**53 - 1  # a browser's numbers are floats: a larger one would come as another
MAX_NUM_STEPS = 1000  # one job blocks everybody else's, so the page allows less than the library


class Settings(BaseSettings):
    """Each field can be set by the environment: `STYLECORE_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True)

    client_jobs: PositiveFloat = 4  # of one address, waiting and running
    # Of a square result: the longer side of any is limited.
    job_pixels: Annotated[float, Field(ge=MIN_SIZE_PX**2)] = 1024 * 1024
    job_seconds: PositiveFloat = 1800  # of computing, as all below
    client_seconds: PositiveFloat = 3600  # of one address, within an hour
    total_seconds: PositiveFloat = 3600  # of all, within an hour
    free_disk_mib: PositiveFloat = 1024  # below it, nothing is uploaded or shared
    client_shares: PositiveFloat = 20  # things that one address shares within an hour
    shared_mib: PositiveFloat = 2048  # of all that is shared: beyond, nothing more is
    shared_days: PositiveFloat = 30  # for so long links open what was shared
    workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes that paint side by side; 1: the server itself
    ray: str = ""  # where they are: the address of a Ray cluster; empty: processes here
    ray_cpus: PositiveFloat = 1  # that each asks the cluster for
    ray_gpus: NonNegativeFloat = 0
    votes: bool = False  # whether visitors may say which variant of a shared comparison is better
    shared_results: Path | None = None  # folder; None: a temporary one of this server's own
    source: str = ""  # address of the source, where the page links it; empty: the Space's own, if it is one
    models: Path | None = None  # folder of exported models; None: a temporary one of this server's own

    @classmethod
    def read(cls, **options: Any) -> Settings:
        """From the environment, with options laid over it; None leaves a field to the environment.

        Raises:
            OptionError: a limit that is no number, or too small for any job.
        """
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            problem = error.errors()[0]
            variable = f"{ENV_PREFIX}{problem['loc'][0]}".upper()
            least = problem.get("ctx", {}).get("ge")
            number = "1 or 0" if problem["type"].startswith("bool") else "a number above 0"
            number = f"{least:g} or more" if least is not None else number
            raise OptionError(f"{variable} must be {number}, not '{problem['input']}'.") from error

    def range(self, field: str) -> tuple[float, float]:
        """(lowest, highest) of a numeric field of the config: the library's, or what this server makes of it."""
        low, high = SETTINGS[field].low, SETTINGS[field].high
        assert low is not None
        assert high is not None
        here = {"num_steps": MAX_NUM_STEPS, "seed": MAX_SEED, "size": math.isqrt(int(min(self.job_pixels, 2**62)))}
        return low, min(high, here.get(field, high))

    def make_config(self, preset: str, **options: Any) -> StylizeConfig:
        """The preset with options laid over it, as `stylecore.make_config` does; None leaves a field to the preset.

        Raises:
            OptionError: a value of the wrong kind, or beyond what one page for all can do.
        """
        config = make_config(str(preset), **options)  # a program may send anything
        for field in ("size", "num_steps", "seed"):
            (low, high), value = self.range(field), getattr(config, field)
            if not low <= value <= high:
                raise OptionError(f"{field} must be between {low:.16g} and {high:.16g} on this page, not {value}.")
        check_components(config)
        return config

    def has_room(self, folder: str | Path) -> bool:
        """Whether enough of the disk of a folder is free."""
        return shutil.disk_usage(folder).free >= self.free_disk_mib * 2**20
