"""What this machine can compute on, in what, and how much memory it has for it."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from pathlib import Path

import psutil
import torch
from torch import Tensor

from stylecore.allocator import return_freed_memory
from stylecore.errors import OptionError, unknown
from stylecore.images import LEVELS, ImageTensor
from stylecore.reuse import per_picture
from stylecore.version import VERSION

DEVICE_KINDS = ("auto", "cpu", "cuda", "mps")
# What decides how fast a CPU multiplies, by torch's names; clouds give CPUs that differ in them the same name.
INSTRUCTIONS = (
    *("avx2", "avx512_f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("neon", "sve", "sve2", "dot", "i8mm", "bf16"),
)


def find_device(name: str = "auto") -> torch.device:
    """`auto` -> CUDA, then MPS, then CPU; any other name is checked to be there.

    Raises:
        OptionError: no such device, or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICE_KINDS:
        raise unknown("device", name, DEVICE_KINDS)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"There is no device '{name}' on this machine: choose --device auto or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("There is no device 'mps' on this machine: choose --device auto or cpu.")
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` -> bfloat16 where the device multiplies it faster than float32, else float32."""
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tensor cores (compute capability 8 and up), or AMX or AVX512-BF16 on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked of it; nothing to do on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def exact_dtype(device: torch.device) -> torch.dtype:
    """The most exact that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def send(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, which nobody waits for: it is copied when the device comes to it."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


@per_picture
def send_image(image: ImageTensor, device: torch.device) -> ImageTensor:
    """A picture of the CPU on the device, to the bit: it travels as the 8 bits that all but floats have."""
    if device.type == "cpu":
        return image
    pixels = image.mul(LEVELS).round().to(torch.uint8)
    if not torch.equal(pixels.to(image.dtype) / LEVELS, image):
        return send(image, device)
    return send(pixels, device).to(image.dtype) / LEVELS


class Fetched:
    """A tensor of a device on its way to the CPU. Neither waits for the other: later work goes on meanwhile."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._copied = values, None
        if values.device.type == "cuda":
            stream = _copying_stream(values.device)
            stream.wait_stream(torch.cuda.current_stream(values.device))
            with torch.cuda.stream(stream):
                self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
                self._values.copy_(values, non_blocking=True)
                values.record_stream(stream)  # its memory is not given to others before
                self._copied = stream.record_event()

    @property
    def is_here(self) -> bool:
        """Whether `values` would come without a wait."""
        return self._copied is None or self._copied.query()

    @property
    def values(self) -> Tensor:
        """The tensor on the CPU."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._values.cpu()


@lru_cache(maxsize=8)
def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    """What is copied off a device takes turns there, beside what it computes."""
    return torch.cuda.Stream(device)


def available_memory_mib(device: torch.device) -> float:
    """Memory that a job could take now: the GPU's free memory, or the machine's within its container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    return_freed_memory()  # what this process holds for its next job is there for it too
    free = psutil.virtual_memory().available / 2**20
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, (int(text) - int(used.read_text())) / 2**20)
    return max(0.0, free)


def resident_memory_mib(pid: int | None = None) -> float:
    """What a process holds of the main memory now; None: this one. Raises a psutil.Error where there is none."""
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def peak_memory_mib(device: torch.device) -> float:
    """The most this process has held so far: on the GPU, or resident in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would say as much as the process held that started this one, if that was more
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_instructions() -> str:
    """Those of `INSTRUCTIONS` that the processor has, `avx2 avx512_f avx512_vnni`."""
    capabilities = torch.cpu.get_capabilities()
    return " ".join(name for name in INSTRUCTIONS if capabilities.get(name))


def device_name(device: torch.device) -> str:
    """What the system calls the device: the GPU's or the processor's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def device_in_words(device: torch.device) -> str:
    """`the CPU`, or the GPU's name: where something ran, for a sentence."""
    return device_name(device) if device.type == "cuda" else f"the {device.type.upper()}"


def environment(device: torch.device) -> dict[str, str | int]:
    """What a figure of speed was measured on and with: versions, system, processor, threads, device."""
    return {
        "stylecore": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "instructions": cpu_instructions(),
        "num_threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": device_name(device),
    }


def describe_devices() -> list[dict[str, object]]:
    """One record a device: device, name, dtype chosen by `auto`, memory free (MiB), and on a CPU its threads."""
    found = [torch.device("cpu")]
    if torch.backends.mps.is_available():
        found.insert(0, torch.device("mps"))
    found = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] + found
    return [
        {
            "device": str(device),
            "name": device_name(device),
            "dtype": str(find_dtype("auto", device)).removeprefix("torch."),
            "memory_free_mib": round(available_memory_mib(device)),
            "num_threads": torch.get_num_threads() if device.type == "cpu" else None,
        }
        for device in found
    ]
