"""The torch-free runtime as a program: it reads pictures as the library does, and says early what it cannot do."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image, ImageCms
from stylecore_export import runtime
from stylecore_export.runtime import ModelError
from stylecore_export.sessions import session_environment
from test_hostile_images import corpus, mutated
from test_images import encode, photo, png_bomb, ramp, swapped_profile
from torch import Tensor

from stylecore.errors import ImageError
from stylecore.images import fit_image, load_image

MakeImage = Callable[..., Tensor]
RunRuntime = Callable[..., subprocess.CompletedProcess[str]]


# ---- pictures


def grey_profile() -> bytes:
    """A profile of greys whose curve is a straight line: what applies it makes middle greys brighter."""
    curve = b"curv" + struct.pack(">III", 0, 1, 0x0100)
    white = b"XYZ " + struct.pack(">Iiii", 0, 0xF6D6, 0x10000, 0xD32D)
    tags = {b"wtpt": white, b"kTRC": curve + bytes(-len(curve) % 4)}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


def modes() -> Iterable[tuple[str, bytes]]:
    """A file for each of Pillow's modes that a file can have, with and without a colour profile."""
    values = (ramp() * 65535).round()
    grey_16 = Image.fromarray(values.astype(np.uint16))
    alpha = Image.fromarray((ramp() * 255).round().astype(np.uint8))
    clear, clear_grey = photo().convert("RGBA"), photo().convert("LA")
    clear.putalpha(alpha)
    clear_grey.putalpha(alpha)
    yield "1", encode(photo().convert("1"), "PNG")
    yield "L", encode(photo().convert("L"), "PNG")
    yield "L with a profile", encode(photo().convert("L"), "TIFF", icc_profile=grey_profile())
    yield "LA", encode(clear_grey, "PNG")
    yield "LA with a profile", encode(clear_grey, "TIFF", icc_profile=grey_profile())
    yield "P with alphas", encode(photo().quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    yield "P with a profile", encode(photo().quantize(16), "PNG", icc_profile=swapped_profile())
    yield "PA", encode(photo().convert("P").convert("PA"), "TIFF")
    yield "RGB with a profile", encode(photo(), "PNG", icc_profile=swapped_profile())
    yield "RGB with a damaged profile", encode(photo(), "PNG", icc_profile=swapped_profile()[:200])
    yield "RGBA with a profile", encode(clear, "PNG", icc_profile=swapped_profile())
    extra_samples = struct.pack("<HHI", 338, 3, 1)  # 2: alpha, 1: alpha that the colours are multiplied with
    yield "RGBa", encode(clear, "TIFF").replace(extra_samples + b"\2", extra_samples + b"\1")
    yield "CMYK", encode(photo().convert("CMYK"), "JPEG", quality=95)
    yield "CMYK with a profile of another space", encode(photo().convert("CMYK"), "TIFF", icc_profile=swapped_profile())
    yield "LAB", encode(ImageCms.profileToProfile(photo(), *lab_profiles(), outputMode="LAB"), "TIFF")
    yield "I;16", encode(grey_16, "PNG")
    yield "I;16 dark", encode(Image.fromarray((values / 300).astype(np.uint16)), "TIFF")
    yield "I;16B", encode(Image.frombytes("I;16B", grey_16.size, values.astype(">u2").tobytes()), "TIFF")
    yield "I", encode(Image.fromarray(values.astype(np.int32)), "TIFF")
    for white in (1, 255, 65535, 2e6, 0):
        yield f"F up to {white:g}", encode(Image.fromarray((ramp() * white).astype(np.float32)), "TIFF")


def lab_profiles() -> tuple[ImageCms.core.CmsProfile, ImageCms.core.CmsProfile]:
    return ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


def turned(orientation: int, tags: dict[int, object]) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for tag, value in tags.items():
        exif[tag] = value
    return encode(photo(), "JPEG", exif=exif, quality=95)


def unwritable_exif() -> bytes:
    """Orientation 6, and an XResolution of -72/1 with a type of its own sign, which Pillow reads and cannot write."""
    data = turned(6, {0x011A: 72.0})
    at = data.index(struct.pack("<HH", 0x011A, 5) if b"II*\0" in data[:40] else struct.pack(">HH", 0x011A, 5))
    order = "<" if b"II*\0" in data[:40] else ">"
    place = struct.unpack(f"{order}I", data[at + 8 : at + 12])[0] + data.index(b"Exif\0\0") + 6
    signed = data[: at + 2] + struct.pack(f"{order}H", 10) + data[at + 4 :]
    return signed[:place] + struct.pack(f"{order}ii", -72, 1) + signed[place + 8 :]


def phone_photos() -> Iterable[tuple[str, bytes]]:
    yield from ((f"turned {orientation}", turned(orientation, {})) for orientation in range(1, 10))
    yield "turned, with EXIF that cannot be written", unwritable_exif()
    yield "with a video behind its end", encode(photo(), "JPEG") + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0Exif\0\0" * 500
    if "AVIF" in Image.SAVE:
        yield "AVIF", encode(photo(), "AVIF", quality=90)


FILES = corpus() | dict(modes()) | dict(phone_photos())


@pytest.mark.filterwarnings("ignore::stylecore.images.ImageNote")
@pytest.mark.parametrize("name", FILES)
def test_it_reads_what_the_library_reads_and_sees_the_same(name: str, tmp_path: Path) -> None:
    """One table of modes for both: a grey of 16 bits is no white, a float TIFF is not black."""
    path = tmp_path / "picture"
    path.write_bytes(FILES[name])
    np.testing.assert_allclose(runtime.load_image(path), load_image(path).numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["I;16", "I;16B", "I", "F up to 1", "F up to 2e+06"])
def test_greys_of_many_bits_keep_their_ramp(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    path.write_bytes(FILES[kind])
    np.testing.assert_allclose(runtime.load_image(path)[0, 1], ramp(), atol=0.51 / 255)


@pytest.mark.filterwarnings("ignore::stylecore.images.ImageNote")
def test_of_damaged_files_it_accepts_what_the_library_accepts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What decoders make of a damaged body differs from run to run. And nothing is seen of what C libraries print."""
    rng = random.Random(0)
    path = tmp_path / "picture"
    for data in list(FILES.values()) * 4:
        path.write_bytes(mutated(data, rng, data))
        try:
            expected = load_image(path).shape
        except ImageError:
            expected = None
        capfd.readouterr()
        if expected is None:
            with pytest.raises(ModelError, match=r"^[^\n]*\.$"):
                runtime.load_image(path)
        else:
            assert runtime.load_image(path).shape == expected
        assert capfd.readouterr().err == ""


def test_what_is_no_picture_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    for name, data in {"text.png": b"Dear sir", "empty.png": b"", "cut.png": FILES["png"][:200]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match="save it as PNG or JPEG"):
            runtime.load_image(tmp_path / name)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    for path, reason in {
        tmp_path / "photo.heic": "save it as JPEG first",
        tmp_path: "is a folder",
        tmp_path / "none.png": "There is no file",
        "https://example.org/a.png": "download the picture first",
        "x" * 300: "There is no file",
    }.items():
        with pytest.raises(ModelError, match=reason):
            runtime.load_image(path)


@pytest.mark.parametrize(("width", "height"), [(400, 15), (1201, 100), (20_000, 6_000)])
def test_a_picture_of_a_size_that_is_not_accepted_is_refused_by_its_header(
    width: int, height: int, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png_bomb(width, height))
    with pytest.raises(ModelError, match=f"{width}x{height} px"):
        runtime.load_image(path)


# ---- thin pictures


THIN = [((100, 500), 64), ((100, 900), 139), ((32, 384), 160)]  # (height, width), size


@pytest.mark.parametrize(("shape", "size"), THIN)
@pytest.mark.parametrize("role", ["content", "style"])
def test_a_picture_too_thin_for_the_deepest_layer_is_refused_at_once(
    role: str, shape: tuple[int, int], size: int, make_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(*_: object) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr(runtime, "run_session", compute)
    pictures = {"content": np.zeros((1, 3, 64, 64), np.float32), "style": np.zeros((1, 3, 64, 64), np.float32)}
    pictures[role] = np.zeros((1, 3, *shape), np.float32)
    with pytest.raises(ModelError, match=f"{role} .*too thin at --size {size}") as error:
        next(runtime.Bundle(make_bundle("gram")).stylize_steps(**pictures, size=size))
    enough = int(str(error.value).partition("choose --size ")[2].split()[0])
    with pytest.raises(AssertionError, match="computed"):
        next(runtime.Bundle(make_bundle("gram")).stylize_steps(**pictures, size=enough))


def test_a_thin_style_is_fitted_to_the_deepest_layer_in_a_stage_that_is_smaller(make_image: MakeImage) -> None:
    """As the library fits it: the half stage would leave it 14 px."""
    style = make_image(100, 900)
    ours = runtime.fit(style.numpy(), 128, runtime.MIN_SIDE_PX)
    assert ours.shape == (1, 3, 16, 144)
    np.testing.assert_allclose(ours, fit_image(style, 128, runtime.MIN_SIDE_PX).numpy(), atol=1e-6)


# ---- the program


@pytest.fixture
def folder(make_bundle: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder with a bundle and two pictures in it."""
    shutil.copytree(make_bundle("gram"), tmp_path / "bundle")
    photo(48, 64).save(tmp_path / "photo.png")
    photo(64, 48).save(tmp_path / "style.png")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> RunRuntime:
    """run(*arguments, **environment): the bundle's runtime.py, of a few steps, in that folder."""

    def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "bundle/runtime.py", *arguments, "--steps", "2"]
        env = os.environ | environment
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)

    return start


@pytest.fixture
def refusal(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refusal(*arguments) -> the one line of a runtime that must refuse before it opens a model."""

    def main(*arguments: object) -> str:
        assert runtime.main(["--models", "bundle", *map(str, arguments)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("stylize: ")
        assert output.err.count("\n") == 1
        return output.err

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(runtime, "open_session", opened)
    return main


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("bundle", "is a folder"),
        ("", "is a folder"),
        ("out.jpg", "out.png"),
        ("none/out.png", "There is no folder"),
        ("photo.png/out.png", "There is no folder"),
        ("x" * 300 + ".png", "cannot be written"),
        ("/proc/out.png", "cannot be written"),
        ("photo.png", "add --overwrite"),
        ("bundle/../style.png", "add --overwrite"),
        ("link.png", "add --overwrite"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    output: str, reason: str, folder: Path, refusal: Callable[..., str]
) -> None:
    (folder / "link.png").symlink_to("photo.png")
    before = sorted(folder.iterdir()), (folder / "photo.png").read_bytes()
    assert reason in refusal("photo.png", "style.png", "-o", output)
    assert before == (sorted(folder.iterdir()), (folder / "photo.png").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--size", "63"], "--size must be between 64 and 4096"),
        (["--size", "4097"], "--size"),
        (["--steps", "0"], "--steps"),
        (["--steps", "1000000"], "--steps"),
        (["--style-weight", "-1"], "--style-weight"),
        (["--style-weight", "nan"], "--style-weight"),
        (["--style-weight", "1e13"], "--style-weight"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**63)], "--seed"),
        (["--threads", "-1"], "--threads"),
        (["--threads", "100000"], "--threads"),
        (["--size", "big"], "--size"),
        (["--colour", "red"], "--colour"),
        (["third.png"], "third.png"),
    ],
)
def test_options_out_of_range_are_one_line(arguments: list[str], reason: str, refusal: Callable[..., str]) -> None:
    assert reason in refusal("photo.png", "style.png", *arguments)


def test_the_photo_is_painted_over_only_when_asked_and_links_are_written_through(folder: Path, run: RunRuntime) -> None:
    (folder / "link.png").symlink_to("photo.png")
    done = run("photo.png", "style.png", "-o", "link.png", "--overwrite", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == "link.png"
    assert (folder / "link.png").is_symlink()
    assert runtime.load_image(folder / "photo.png").shape == (1, 3, 48, 64)
    (folder / "nothing.png").symlink_to("later.png")
    assert run("photo.png", "style.png", "-o", "nothing.png").returncode == 0
    assert runtime.load_image(folder / "later.png").shape == (1, 3, 48, 64)
    assert not list(folder.glob(".*"))


def test_a_terminal_that_lacks_a_letter_shows_it_escaped(folder: Path, run: RunRuntime) -> None:
    (folder / "Größe").mkdir()
    done = run("photo.png", "style.png", "-o", "Größe/☃.png", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "2 steps" in done.stdout
    assert done.stdout.isascii()
    assert (folder / "Größe" / "☃.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
@pytest.mark.parametrize("module", ["numpy", "onnxruntime", "PIL"])
def test_ctrl_c_is_one_line_also_while_modules_load(module: str, folder: Path, run: RunRuntime) -> None:
    stub = folder / "slow" / module
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(
        f"import os, signal, time; os.kill(os.getpid(), {int(signal.SIGINT)}); time.sleep(9)"
    )
    done = run("photo.png", "style.png", PYTHONPATH=str(stub.parent))
    assert (done.returncode, done.stderr) == (130, "stylize: Stopped before anything was begun.\n")


def test_ctrl_c_at_work_is_the_same_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "run_job", interrupt)
    assert runtime.main(["a.png", "b.png"]) == 130
    assert capsys.readouterr().err == "stylize: Stopped: nothing was written.\n"


# ---- sessions


def test_every_session_has_our_options_and_the_bench_says_so(make_bundle: Callable[[str], Path]) -> None:
    options = runtime.open_session(make_bundle("gram") / "step.onnx").get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session_environment()["session_config"] == runtime.session_config()


@pytest.mark.parametrize(
    ("flags", "lacks"), [("avx2 fma", True), ("avx2 avx512_vnni", False), ("avx2 avx_vnni", False), ("neon", False)]
)
def test_which_cpus_lack_vnni(flags: str, lacks: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
    assert runtime.lacks_vnni(tmp_path / "cpuinfo") == lacks
    assert not runtime.lacks_vnni(tmp_path / "none")


def test_what_onnxruntime_cannot_compute_is_one_sentence(make_bundle: Callable[[str], Path]) -> None:
    bundle = runtime.Bundle(make_bundle("gram"))
    with pytest.raises(ModelError, match="could not be computed"):
        runtime.run_session(bundle.targets, ["gram_relu1_1"], {"image": np.zeros((1, 3, 4), np.float32)})


@pytest.mark.parametrize("message", ["Failed to allocate memory for requested buffer", "std::bad_alloc"])
def test_too_little_memory_is_called_so(message: str) -> None:
    assert "memory" in runtime._reason(message)


def foreign_model(path: Path, op: str = "Relu", domain: str = "", opset: int = 20, ir_version: int = 10) -> Path:
    """A model of one node, of which a runtime may lack something."""
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["y"], domain=domain)], "g", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("some.vendor", 1)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({"op": "Frobnicate"}, "lacks its operator Frobnicate"),
        ({"op": "Relu", "domain": "some.vendor"}, "lacks its operator some.vendor:Relu"),
        ({"opset": 999}, "its opset is not supported"),
        ({"ir_version": 99}, "its form is not supported"),
    ],
)
def test_a_model_that_asks_for_more_than_this_onnxruntime_has_says_what(
    lacking: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said) as error:
        runtime.open_session(foreign_model(tmp_path / "model.onnx", **lacking))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="paths are joined by another letter there")
@pytest.mark.parametrize("module", ["numpy", "onnxruntime", "PIL"])
def test_a_package_that_is_missing_or_another_is_one_line(module: str, folder: Path, run: RunRuntime) -> None:
    """Also where an empty folder of its name is found instead, such as a clone of onnxruntime."""
    stub = folder / "stub" / module
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    done = run("photo.png", "style.png", PYTHONPATH=str(stub.parent))
    assert done.returncode == 2
    assert done.stderr.startswith("stylize: ")
    assert done.stderr.endswith(": pip install numpy pillow onnxruntime.\n")
    assert done.stderr.count("\n") == 1


def run_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line, sys.executable], check=False, capture_output=True, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_full_disk_behind_stdout_ends_in_one_line() -> None:
    script = (
        "import sys; from stylecore_export import runtime; runtime.run_job = lambda job: {}; "
        "sys.exit(runtime.main(['a', 'b', '--json']))"
    )
    done = run_shell(f'exec "$0" -c "{script}" >/dev/full')
    assert (done.returncode, done.stderr) == (
        1,
        "stylize: The result could not be printed: No space left on device.\n",
    )


def test_a_closed_stdout_hides_no_message() -> None:
    done = run_shell('exec "$0" -m stylecore_export.runtime a.png b.png -o /no/folder/c.png >&-')
    assert (done.returncode, done.stderr) == (2, "stylize: There is no folder '/no/folder' to write 'c.png' to.\n")
