"""Memory that is freed and asked for again: kept where a program says so, and given back before a job is judged."""

import subprocess
import sys

import pytest

from stylecore import allocator

# 20 times 40 MB, as an evaluation at 512 px asks for it; prints how many pages the system had to clear.
PROGRAM = """
import ctypes, resource, sys
from stylecore.allocator import keep_freed_memory, return_freed_memory
from stylecore.devices import available_memory_mib
import psutil, torch
if "keep" in sys.argv:
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
held = psutil.Process().memory_info().rss
available_memory_mib(torch.device("cpu"))
print(held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="glibc alone has these settings")
def test_kept_memory_is_cleared_less_often_and_counted_as_available() -> None:
    def run(*words: str) -> list[int]:
        command = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    (faults, _), (kept_faults, given_back) = run(), run("keep")
    assert kept_faults < 0.6 * faults
    assert given_back > 30e6


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    allocator.keep_freed_memory()
    allocator.return_freed_memory()
