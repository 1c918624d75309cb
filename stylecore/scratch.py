"""Tensors on the disk, for what is too large for the memory and read in order.

A file without a name, mapped into memory: it is gone with its last tensor, or with the process, however that ends. What
was touched of it counts as the process's memory until `leave` gives it back to the system, which writes it out.
"""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylecore.errors import OutputError

SPARE_MIB = 1024.0  # of the disk, which is left to others


def scratch_folder() -> Path:
    """Where large temporary files belong: what TMPDIR names, else /var/tmp, as /tmp is often kept in memory."""
    large = Path("/var/tmp")
    return large if "TMPDIR" not in os.environ and os.access(large, os.W_OK) else Path(tempfile.gettempdir())


def free_disk_mib() -> float:
    """What may be written to the scratch folder."""
    return max(0.0, shutil.disk_usage(scratch_folder()).free / 2**20 - SPARE_MIB)


class Scratch:
    """A tensor of zeros on the disk, and what keeps it from the memory.

    Raises:
        OutputError: when made, where the disk has no room for it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        try:
            with tempfile.TemporaryFile(dir=scratch_folder()) as file:
                if hasattr(os, "posix_fallocate"):  # a disk that fills up later would end the process
                    os.posix_fallocate(file.fileno(), 0, num_bytes)
                else:
                    file.truncate(num_bytes)
                self._map = mmap.mmap(file.fileno(), num_bytes)
        except OSError as error:
            raise OutputError(
                f"{num_bytes / 2**30:.1f} GiB could not be written to '{scratch_folder()}': free some of that disk, "
                "name another folder by the environment variable TMPDIR, or choose a smaller --size."
            ) from error
        self.tensor: Tensor = torch.frombuffer(self._map, dtype=dtype).view(shape)

    def leave(self) -> None:
        """Nothing of it is needed in memory for now."""
        if sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTNEED)
