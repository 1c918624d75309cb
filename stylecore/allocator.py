"""What becomes of memory that was freed: glibc's settings, for all of a process. Does nothing where there is no glibc.

glibc gives a large block back to the system as soon as it is freed, and the system clears it anew for the next
evaluation: page by page, a third of an evaluation's time at 512 px.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD, ARENA_MAX = -3, -1, -8  # as malloc.h numbers them
MOST_BYTES = 2**31 - 1  # of a threshold


def keep_freed_memory() -> None:
    """Reuse freed blocks of any size instead of asking the system again, in the one heap that can hold them."""
    if glibc := _glibc():
        glibc.mallopt(MMAP_THRESHOLD, MOST_BYTES)
        glibc.mallopt(TRIM_THRESHOLD, MOST_BYTES)
        glibc.mallopt(ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Give back to the system what is free now."""
    if glibc := _glibc():
        glibc.malloc_trim(0)


@cache
def _glibc() -> Any:
    try:
        found = ctypes.CDLL("libc.so.6")
        return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None
    except OSError:
        return None
