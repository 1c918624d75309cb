"""What a machine may do to a run: memory that ends, disks that are full, signals, two runs on one file."""

import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from paths import ROOT
from torch import Tensor

from stylecore.encoders import Encoder
from stylecore.engine import Step, stylize, stylize_steps
from stylecore.errors import NotEnoughMemoryError, OutputError
from stylecore.images import load_image, save_image

MakeImage = Callable[..., Tensor]
SIZE_PX = 128


# ---- memory


def take_an_exabyte() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def refuse_as_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def refuse_as_python() -> None:
    raise MemoryError


def fail_otherwise() -> None:
    raise RuntimeError("The size of tensor a must match the size of tensor b")


def fail_in_evaluation(encoder: Encoder, number: int, fail: Callable[[], None]) -> None:
    """Let the encoder's last convolution fail, but not before it has run `number` times."""
    conv = list(encoder.convs.values())[-1]
    runs = iter(range(number))
    conv.register_forward_hook(lambda *_: None if next(runs, None) is not None else fail())


def steps_of(encoder: Encoder, make_image: MakeImage) -> Iterator[Step]:
    return stylize_steps(make_image(), make_image(seed=1), encoder=encoder, preset="gatys", size=SIZE_PX)


@pytest.mark.parametrize("full", [take_an_exabyte, refuse_as_a_gpu, refuse_as_python])
@pytest.mark.parametrize("evaluations", [0, 1, 5])
def test_memory_that_ends_in_the_middle_is_answered_with_a_size_that_fits(
    tiny_encoder: Encoder, make_image: MakeImage, full: Callable[[], None], evaluations: int
) -> None:
    fail_in_evaluation(tiny_encoder, evaluations, full)
    with pytest.raises(NotEnoughMemoryError, match=f"ran out at {SIZE_PX}x96 px: choose --size 80") as error:
        list(steps_of(tiny_encoder, make_image))
    assert "\n" not in str(error.value)
    assert error.value.__context__ is None, "its traceback would hold the memory of the evaluation that failed"


def test_the_smallest_size_asks_for_memory_instead(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    fail_in_evaluation(tiny_encoder, 0, refuse_as_python)
    with pytest.raises(NotEnoughMemoryError, match="free some memory"):
        stylize(make_image(), make_image(seed=1), encoder=tiny_encoder, size=64)


def test_other_errors_are_not_taken_for_full_memory(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    fail_in_evaluation(tiny_encoder, 1, fail_otherwise)
    with pytest.raises(RuntimeError, match="size of tensor"):
        list(steps_of(tiny_encoder, make_image))


REAL_SHORTAGE = """
import psutil, resource
from pathlib import Path
from stylecore import NotEnoughMemoryError, load_encoder, stylize
from stylecore.sample_images import load_photo

photo, encoder = load_photo("astronaut"), load_encoder("vgg16")
options = {"encoder": encoder, "preset": "gatys", "num_steps": 1}
stylize(photo, photo, size=64, **options)
# What the check asks the system for is still there: it is this process that may not have it.
limit = psutil.Process().memory_info().vms + 150 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    stylize(photo, photo, size=512, **options)
except NotEnoughMemoryError as error:
    print(error)
print(stylize(photo, photo, size=64, **options).num_steps, "evaluation afterwards")
"""


def test_a_process_whose_memory_really_ended_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REAL_SHORTAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "The memory ran out at 512x512 px: choose --size 352.",
        "1 evaluation afterwards",
    ], done.stderr


# ---- disks


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file may grow beyond `free` bytes: the system refuses the write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("free", [0, 1, 1000])
@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_keeps_the_old_picture_and_leaves_nothing_half_written(
    make_image: MakeImage, tmp_path: Path, free: int, exists: bool
) -> None:
    path = tmp_path / "out.png"
    if exists:
        save_image(make_image(), path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with full_disk(free), pytest.raises(OutputError, match="could not be written: File too large"):
        save_image(torch.rand(1, 3, 256, 256), path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("save", ["a frame", "a result", "a copy", "a shared result"])
def test_a_visitor_is_told_of_a_full_disk_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: str
) -> None:
    gradio = pytest.importorskip("gradio", reason="the page needs its extra: pip install -e '.[demo]'")
    from demo.server import uploads as serving
    from demo.server.messages import friendly_errors
    from demo.server.settings import Settings
    from demo.server.shared_results import SharedRecord, SharedResults

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    image, folder = torch.rand(1, 3, 256, 256), tmp_path / "kept"
    shared = SharedResults(Settings.read(shared_results=folder, models=tmp_path / "models"))
    result = save_image(image, tmp_path / "result.png", {"config": {}})
    saves = {
        "a frame": lambda: serving.save_frame(image),
        "a result": lambda: serving.save_png(image, "result.png"),
        "a copy": lambda: serving.publish(result),
        "a shared result": lambda: shared.add(SharedRecord("r", "", ""), {"result.png": result.read_bytes()}),
    }
    with full_disk(1000), pytest.raises(gradio.Error) as error, friendly_errors():
        saves[save]()
    assert str(error.value.message) == "The server's disk is full for now: try again later."
    assert not list(folder.iterdir())


# ---- signals


SAVES_FOR_EVER = """
import os, sys
import torch
from stylecore.images import save_image

black, white = torch.zeros(1, 3, 96, 96), torch.rand(1, 3, 400, 400)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        while True:
            save_image(black, sys.argv[1])
            save_image(white, sys.argv[1])
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_process_killed_at_any_time_leaves_a_whole_picture(
    make_image: MakeImage, tmp_path: Path, number: signal.Signals
) -> None:
    path = save_image(make_image(), tmp_path / "out.png")
    rng = random.Random(0)
    command = [sys.executable, "-c", SAVES_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(40):
            print("again", file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            os.kill(child, number)
            assert process.stdout.readline() == "dead\n"
            load_image(path)
        process.stdin.close()


def test_sigterm_ends_a_run_with_the_old_picture_or_a_new_one(make_image: MakeImage, tmp_path: Path) -> None:
    photo, style = save_image(make_image(), tmp_path / "a.png"), save_image(make_image(seed=1), tmp_path / "b.png")
    output = save_image(make_image(seed=2), tmp_path / "out.png")
    arguments = ["stylize", photo, style, "-o", output, "--size", "64", "--set", "num_steps=100000"]
    process = subprocess.Popen([sys.executable, "-m", "stylecore", *map(str, arguments)], cwd=ROOT)
    time.sleep(6)
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) != 0
    assert load_image(output).shape == (1, 3, 48, 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "out.png"]


# ---- two runs


def test_two_runs_on_one_output_leave_one_of_their_pictures_at_every_moment(tmp_path: Path) -> None:
    os.umask(umask := os.umask(0o022))
    path = tmp_path / "out.png"
    pictures = [torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 32, 200)]
    save_image(pictures[0], path)

    def save_often(image: Tensor) -> None:
        for _ in range(100):
            save_image(image, path)

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(save_often, picture) for picture in pictures]
        while not all(run.done() for run in runs):
            seen = load_image(path)
            assert any(seen.shape == picture.shape and bool((seen == picture).all()) for picture in pictures)
        for run in runs:
            run.result()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert os.umask(umask) == umask, "the runs changed it for each other"
    assert [each.name for each in tmp_path.iterdir()] == ["out.png"]
