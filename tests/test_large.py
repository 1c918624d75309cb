"""Pictures too large for the memory: computed in tiles with a rounded history, planned and said before the start."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.large import unlike
from stylecore import NotEnoughMemoryError, OptionError, OutputError, Yardstick, make_config, stylize, stylize_steps
from stylecore.cli import main
from stylecore.config import MAX_SIZE_PX
from stylecore.detail import add_detail
from stylecore.encoders import Encoder
from stylecore.engine import plan_job
from stylecore.images import load_image, save_image
from stylecore.job import Job
from stylecore.optimizers import LBFGS, ProjectedLBFGS, RingHistory
from stylecore.sample_images import load_photo, load_style
from stylecore.scratch import Scratch

MakeImage = Callable[..., Tensor]
LITTLE_MIB = 900.0  # 512 px do not fit into it in one piece


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecore.memory.available_memory_mib", lambda _: LITTLE_MIB)


@pytest.mark.slow
def test_a_run_in_tiles_paints_the_same_picture(
    tiny_encoder: Encoder, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a level after a few evaluations, for all that it rounds is its memory of them."""
    pictures = make_image(400, 512), make_image(300, 500, seed=1)
    options: dict[str, Any] = {"preset": "standard", "size": 512, "num_steps": 6, "encoder": tiny_encoder}
    options["stages"] = ({"scale": 0.5, "share": 1}, {"scale": 1.0, "share": 1})
    whole = stylize(*pictures, **options).image
    monkeypatch.setattr("stylecore.memory.available_memory_mib", lambda _: 640.0)
    tiled = stylize(*pictures, **options).image
    assert not torch.equal(tiled, whole)
    assert float((tiled - whole).abs().mean()) < 1 / 255


@pytest.mark.usefixtures("little_memory")
def test_only_stages_that_do_not_fit_are_tiled(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    config = make_config("standard", encoder="vgg16", size=512, num_steps=20)
    first, *_, last = plan_job(Job(make_image(64, 64), (make_image(),), config), tiny_encoder)
    assert (first.memory.tile_px, first.memory.history_dtype) == (0, torch.float32)
    assert last.memory.tile_px >= 256
    assert last.memory.history_dtype == torch.bfloat16
    assert last.memory.mib < LITTLE_MIB


@pytest.mark.usefixtures("little_memory")
def test_what_does_not_fit_in_tiles_either_is_refused(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    with pytest.raises(NotEnoughMemoryError, match=r"8192x8192 px needs about .* GiB, and 0.9 GiB are free: choose"):
        stylize_steps(make_image(64, 64), make_image(), encoder=tiny_encoder, size=MAX_SIZE_PX)
    with pytest.raises(NotEnoughMemoryError, match=r"1024x1024 px needs about .*: choose --size \d+\."):
        stylize_steps(make_image(64, 64), make_image(), encoder=tiny_encoder, size=1024, loss="mmd-poly")


def test_a_rounded_history_is_as_good_as_an_exact_one() -> None:
    """On a badly scaled quadratic: as near to its minimum after as many steps, within a factor of two."""
    scales = torch.logspace(-2, 0, 3 * 24 * 24).view(1, 3, 24, 24)

    def error(optimizer: LBFGS) -> float:
        x = torch.full((1, 3, 24, 24), 100.0)
        for _ in range(60):
            x = optimizer.step(x, scales * (x - 128))
        return float((scales * (x - 128).square()).sum())

    exact, rounded = (error(LBFGS(history_size=20, history_dtype=dtype)) for dtype in (None, torch.bfloat16))
    begin = float((scales * 28**2).sum())
    assert exact < 1e-3 * begin
    assert rounded < 1e-3 * begin


def test_a_rounded_history_takes_half_the_memory_and_gives_nearly_the_same_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stylecore.optimizers.CONVERTED_LENGTH", 1000)  # several blocks, the last one padded
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.randn(1, 3, 20, 30, generator=generator) for _ in range(2))
    histories = [RingHistory(4, x, g, dtype) for dtype in (None, torch.bfloat16)]
    for _ in range(6):
        s = torch.randn(1, 3, 20, 30, generator=generator)
        x, g = x + s, g + 2 * s + 0.1 * s.flip(3)
        for history in histories:
            s_here, y_here = history.advance(x, g)
            history.remember(s_here, y_here, y_here)
    exact, rounded = (history.product(g, lambda v: v, lambda _, h=history: h.scale) for history in histories)
    assert float((rounded - exact).norm() / exact.norm()) < 0.01
    assert histories[1].s.element_size() * 2 == histories[0].s.element_size()


@pytest.mark.usefixtures("tiny_everywhere")
def test_the_yardstick_measures_in_tiles_what_it_measures_whole(
    make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = make_image(150, 203), [make_image(140, 203, seed=1)]
    image = make_image(150, 203, seed=2)
    whole = Yardstick(*pictures, (150, 203)).measure(image)
    monkeypatch.setattr("stylecore.tiles.WHOLE_UP_TO_PX", 1)
    monkeypatch.setattr("stylecore.tiles.TILE_PX", 64)
    tiled = Yardstick(*pictures, (150, 203)).measure(image)
    for name in ("style", "content", "witness"):
        assert getattr(tiled, name) == pytest.approx(getattr(whole, name), rel=1e-4)


def test_detail_is_painted_in_bands_as_it_is_at_once(
    tiny_encoder: Encoder, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = make_image(40, 60), [make_image(seed=1)], [1.0], tiny_encoder, (80, 120)
    whole = add_detail(*arguments)
    monkeypatch.setattr("stylecore.detail.MAX_FOLDED", 40)  # two or three rows at a time
    torch.testing.assert_close(add_detail(*arguments), whole)


@pytest.mark.usefixtures("little_memory")
def test_a_plan_is_said_before_a_large_job_starts(
    make_image: MakeImage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    prepare_tiny: Callable[..., Encoder],
    tiny_everywhere: Encoder,  # noqa: ARG001 - a quick yardstick
) -> None:
    monkeypatch.setattr("stylecore.cli.stylize.prepare_encoder", prepare_tiny)
    photo, style = (str(save_image(make_image(seed=seed), tmp_path / f"{seed}.png")) for seed in (0, 1))
    typed = ["stylize", photo, style, "-o", str(tmp_path / "out.png"), "--steps", "1", "--encoder", "vgg16"]
    assert main([*typed, "--size", "640", "--set", "stages=1:1"]) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert re.search(
        r"Plan: 1 evaluations at 640x480 px in \d+ tiles \(margins add \d+%\); about 0\.\d GiB with up to 1 pairs of "
        r"L-BFGS, which take 0\.\d GiB of the disk, about \d+ min\.",
        said,
    )
    assert main([*typed, "--size", "64"]) == 0
    assert "Plan" not in capsys.readouterr().err


def test_the_size_may_be_the_photos_own(
    make_image: MakeImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare_tiny: Callable[..., Encoder],
    tiny_everywhere: Encoder,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("stylecore.cli.stylize.prepare_encoder", prepare_tiny)
    photo, style = (str(save_image(make_image(70, 100, seed=seed), tmp_path / f"{seed}.png")) for seed in (0, 1))
    out = tmp_path / "out.png"
    assert main(["stylize", photo, style, "-o", str(out), "--size", "original", "--steps", "1"]) == 0
    assert load_image(out).shape == (1, 3, 70, 100)
    assert main(["stylize", photo, style, "-o", str(out), "--size", "huge", "--steps", "1"]) == 2
    assert "--size takes a whole number of pixels, or original, not 'huge'" in capsys.readouterr().err


def test_a_history_on_the_disk_is_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, and its files have no names that anything could leave behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("stylecore.optimizers.CONVERTED_LENGTH", 1000)
    scales = torch.logspace(-1, 0, 3 * 24 * 24).view(1, 3, 24, 24)

    def run(on_disk: bool) -> Tensor:
        optimizer = ProjectedLBFGS(history_size=4, history_dtype=torch.bfloat16, history_on_disk=on_disk)
        x = torch.full((1, 3, 24, 24), 100.0)
        for _ in range(8):
            x = optimizer.step(x, scales * (x - 128))
            assert list(tmp_path.iterdir()) == []
        return x

    assert torch.equal(run(True), run(False))


def test_what_is_left_of_the_memory_comes_back_as_it_was() -> None:
    scratch = Scratch((3, 5), torch.bfloat16)
    assert float(scratch.tensor.abs().max()) == 0
    scratch.tensor.fill_(2.0)
    scratch.leave()
    assert float(scratch.tensor.min()) == 2.0


def test_a_disk_without_room_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OutputError, match=r"could not be written to .*: free some of that disk, name another"):
        Scratch((1 << 20,), torch.bfloat16)


def test_the_history_goes_to_the_disk_before_it_is_cut_short(
    tiny_encoder: Encoder, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4096 px in 8 GiB, with all pairs, where the disk has room; else with fewer pairs and small tiles."""
    monkeypatch.setattr("stylecore.memory.available_memory_mib", lambda _: 8 * 1024)
    job = Job(make_image(64, 64), (make_image(),), make_config("preview", size=4096, encoder="vgg16"))
    (*_, last) = plan_job(job, tiny_encoder)
    assert (last.memory.tile_px, last.memory.history_on_disk) == (768, True)
    assert last.memory.mib < 8 * 1024
    assert last.memory.disk_mib(last.planned.size) == pytest.approx(4096**2 * 12 * last.memory.num_pairs / 2**20)
    monkeypatch.setattr("stylecore.memory.free_disk_mib", lambda: 0.0)
    (*_, last) = plan_job(job, tiny_encoder)
    assert not last.memory.history_on_disk
    assert last.memory.num_pairs <= 10


def test_a_projected_history_may_be_rounded_too() -> None:
    optimizer = ProjectedLBFGS(history_size=3, history_dtype=torch.bfloat16)
    x = torch.full((1, 3, 8, 8), 100.0)
    for _ in range(5):
        x = optimizer.step(x, x - 128)
    assert float((x - 128).abs().max()) < 28


@pytest.mark.slow
def test_a_small_picture_predicts_a_large_one() -> None:
    """Shrunk, it is much nearer to that of the default size than one whose stages are not begun as small."""
    options: dict[str, Any] = {"preset": "draft", "device": "cpu", "seed": 0}
    pictures = load_photo("astronaut"), load_style("flow_strokes")
    small = stylize(*pictures, **options).image
    large = stylize(*pictures, **options, size=1024).image
    begun_large = stylize(*pictures, **options, size=1024, stages=make_config("draft").stages).image
    assert unlike(large, small) < 0.75 * unlike(begun_large, small)


def test_sizes_beyond_the_limit_are_refused() -> None:
    with pytest.raises(OptionError, match="size must be between 64 and 8192"):
        make_config(size=MAX_SIZE_PX + 1)
