"""Energy of the machine's CPUs, where Linux lets it be read (RAPL)."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Counts from when it is made. What else runs on the machine is counted, too.

    Args:
        folder: of the kernel's powercap interface.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self.before = _read_counters(folder)
        self.folder = folder

    @property
    def joules(self) -> float | None:
        """Of all packages together; None where no counter can be read, as in most virtual machines."""
        after = _read_counters(self.folder)
        if not self.before or after.keys() != self.before.keys():
            return None
        return sum((after[name] - before) % _range(name) for name, before in self.before.items()) / 1e6


def _read_counters(folder: Path) -> dict[Path, int]:
    """Microjoules of each CPU package; its parts, `intel-rapl:0:1`, are in it. Often root alone may read them."""
    try:
        return {zone: int((zone / "energy_uj").read_text()) for zone in folder.glob("*-rapl:*") if _is_package(zone)}
    except (OSError, ValueError):
        return {}


def _is_package(zone: Path) -> bool:
    return zone.name.count(":") == 1


def _range(zone: Path) -> int:
    """After which the counter begins anew."""
    return int((zone / "max_energy_range_uj").read_text()) + 1
