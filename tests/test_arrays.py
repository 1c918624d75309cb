"""What people have in their programs, given for a picture: the unmistakable becomes an image, the rest one sentence."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecore import images
from stylecore.compare import Comparison, make_variants
from stylecore.encoders import Encoder
from stylecore.engine import stylize, stylize_steps
from stylecore.errors import ImageError, OptionError, StylecoreError
from stylecore.images import load_image, load_images, read_settings, save_image, to_uint8
from stylecore.job import Job
from stylecore.metrics import Yardstick, content_distance, style_distance
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]
pytestmark = pytest.mark.usefixtures("unchecked")  # the type checker would refuse what the library is to refuse
HEIGHT, WIDTH = 24, 36
QUICK = {"preset": "gatys", "size": 64, "num_steps": 1}


@pytest.fixture
def pixels() -> np.ndarray:
    """(H, W, 3), uint8."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def image(pixels: np.ndarray) -> Tensor:
    """The same as an image tensor."""
    return load_image(Image.fromarray(pixels))


def forms(pixels: np.ndarray) -> dict[str, object]:
    """One picture in every form that can mean nothing else."""
    tensor = torch.from_numpy(pixels)
    floats = pixels.astype(np.float64) / 255
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return {
        "HWC uint8": pixels,
        "CHW uint8": np.moveaxis(pixels, 2, 0),
        "1HWC uint8": pixels[None],
        "float64": floats,
        "float32": floats.astype(np.float32),
        "uint16": pixels.astype(np.uint16) * 257,
        "big-endian uint16": (pixels.astype(np.uint16) * 257).astype(">u2"),
        "mirrored twice": pixels[::-1][::-1],
        "RGBA, opaque": np.concatenate([pixels, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=2),
        "tensor HWC uint8": tensor,
        "tensor CHW uint8": tensor.permute(2, 0, 1),
        "tensor 1CHW uint8": tensor.permute(2, 0, 1)[None],
        "tensor 1HWC float, as ComfyUI has it": (tensor / 255)[None],
        "tensor 1CHW double": (tensor.double() / 255).permute(2, 0, 1)[None],
        "tensor with a gradient": (tensor / 255).permute(2, 0, 1)[None].requires_grad_(True),
        "PIL": Image.fromarray(pixels),
        "bytes": encoded.getvalue(),
        "bytearray": bytearray(encoded.getvalue()),
        "memoryview": memoryview(encoded.getvalue()),
    }


FORMS = list(forms(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_is_that_picture(form: str, pixels: np.ndarray, image: Tensor) -> None:
    loaded = load_image(forms(pixels)[form])  # type: ignore[arg-type]
    torch.testing.assert_close(loaded, image, atol=1e-6, rtol=0)
    assert loaded.is_contiguous()
    assert not loaded.requires_grad


def test_an_image_tensor_is_returned_as_it_is(image: Tensor) -> None:
    assert load_image(image).data_ptr() == image.data_ptr()
    assert load_image(image.double()).dtype == torch.float32


def test_an_array_that_may_not_be_written_is_copied(pixels: np.ndarray, recwarn: pytest.WarningsRecorder) -> None:
    expected = load_image(pixels.copy())
    pixels.flags.writeable = False
    loaded = load_image(pixels)
    assert torch.equal(loaded, expected)
    assert not recwarn.list


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (1, HEIGHT, WIDTH), (HEIGHT, WIDTH, 1), (1, 1, HEIGHT, WIDTH)])
def test_greys_have_three_equal_channels(shape: tuple[int, ...]) -> None:
    grey = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_image(grey.reshape(shape)), grey.expand(1, 3, HEIGHT, WIDTH))
    assert torch.equal(load_image(grey.reshape(shape).numpy()), grey.expand(1, 3, HEIGHT, WIDTH))


def test_alpha_is_composited_on_white(pixels: np.ndarray) -> None:
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH, 1)
    rgba = np.concatenate([pixels, alpha], axis=2)
    torch.testing.assert_close(load_image(rgba), load_image(Image.fromarray(rgba)), atol=1.01 / 255, rtol=0)


def test_what_rounding_leaves_outside_is_clamped(image: Tensor) -> None:
    assert torch.equal(load_image(image * 1.001).amax(), torch.tensor(1.0))
    assert load_image(image - 0.001).amin() == 0


REFUSED = {
    "a batch of two": (torch.rand(2, 3, 32, 32), "batch of 2 images.*batch\\[0\\]"),
    "a batch of two, channels last": (torch.rand(2, 32, 32, 3), "batch of 2 images"),
    "a batch of none": (torch.rand(0, 3, 32, 32), "batch of 0 images"),
    "two channels": (torch.rand(1, 2, 32, 32), r"\(H, W, 3\).*\(1, 2, 32, 32\)"),
    "a video": (torch.rand(1, 5, 3, 32, 32), r"\(H, W, 3\)"),
    "a row": (torch.rand(32), r"\(H, W, 3\)"),
    "whole numbers": (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "uint8 or of floats"),
    "booleans": (torch.zeros(1, 3, 32, 32, dtype=torch.bool), "uint8 or of floats"),
    "complex numbers": (torch.zeros(1, 3, 32, 32, dtype=torch.complex64), "uint8 or of floats"),
    "a tensor without values": (torch.zeros(1, 3, 32, 32, device="meta"), "without values"),
    "a sparse tensor": (torch.zeros(1, 3, 32, 32).to_sparse(), "sparse"),
    "objects": (np.full((32, 32, 3), None), "uint8 or of floats"),
    "names": (np.full((32, 32, 3), "red"), "uint8 or of floats"),
    "8-bit values as floats": (torch.rand(1, 3, 32, 32) * 255, "divide 8-bit values by 255"),
    "8-bit values as doubles": (np.random.default_rng(0).uniform(0, 255, (32, 32, 3)), "divide 8-bit values by 255"),
    "-1 to 1": (torch.rand(1, 3, 32, 32) * 2 - 1, "normalis"),
    "as ImageNet's": ((torch.rand(1, 3, 32, 32) - 0.45) / 0.225, "normalis"),
    "as ImageNet's, a bright one": (torch.rand(1, 3, 32, 32) + 1.5, "normalis"),
    "NaN": (torch.full((1, 3, 32, 32), torch.nan), "NaN"),
    "one NaN": (torch.rand(1, 3, 32, 32).index_fill_(3, torch.tensor([5]), torch.nan), "NaN"),
    "infinity": (np.full((32, 32, 3), np.inf), "infinity"),
    "too small": (torch.rand(1, 3, 8, 32), "at least"),
    "too long": (torch.rand(1, 3, 20, 400), "longer side"),
    "a file opened as text": (io.StringIO("P3"), "'rb'"),
    "nothing": (None, "path, the bytes of a file, a PIL image, a NumPy array or a tensor, not None"),
    "a list": ([1, 2, 3], "not a list"),
    "a number": (3, "not a int"),
    "an address": ("https://example.org/photo.jpg", "is an address: download the picture first"),
    "an address as a path": (Path("https://example.org/photo.jpg"), "is an address"),
    "a data address": ("data:image/png;base64,AAAA", "is an address"),
    "a name with a zero": ("a\0b.png", "no file|cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_mean_anything_is_refused_in_one_sentence(kind: str) -> None:
    source, words = REFUSED[kind]
    with pytest.raises(ImageError, match=words) as caught:
        load_image(source)  # type: ignore[arg-type]
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", ["written just now", "from disk", "as a style", "a path in bytes", "every second byte"]
)
def test_open_files_and_odd_buffers_are_one_picture_each(tmp_path: Path, kind: str) -> None:
    path, memory = tmp_path / "grey.png", io.BytesIO()
    Image.new("RGB", (32, 32), (51, 51, 51)).save(path)
    Image.open(path).save(memory, "PNG")

    class BytesPath:
        def __fspath__(self) -> bytes:
            return os.fsencode(path)

    with path.open("rb") as file:
        every_second = memoryview(bytes(byte for each in memory.getvalue() for byte in (each, 0)))[::2]
        sources = {"from disk": file, "a path in bytes": BytesPath(), "every second byte": every_second}
        (image,) = load_images(sources.get(kind, memory))
    assert float(image.mean()) == pytest.approx(0.2)


def test_a_closed_file_is_refused_in_one_sentence() -> None:
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(ImageError, match="cannot be read: I/O operation on closed file"):
        load_image(file)


# ---- every function that takes pictures


def functions(folder: Path) -> dict[str, Callable[[object], object]]:
    """Each public way in, as a function of one picture, with all others sound."""
    other = torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    config = make_config(**QUICK)

    def compare(source: object) -> object:
        job = Job.load(other, source, config)  # type: ignore[arg-type]
        return Comparison(job, make_variants({"size": 64}, ["gram"]), folder)

    return {
        "stylize content": lambda source: stylize(source, other, **QUICK),  # type: ignore[arg-type]
        "stylize style": lambda source: stylize(other, source, **QUICK),  # type: ignore[arg-type]
        "stylize styles": lambda source: stylize(other, [other, source], **QUICK),  # type: ignore[list-item]
        "stylize_steps": lambda source: stylize_steps(source, other, **QUICK),  # type: ignore[arg-type]
        "stylize_steps start": lambda source: stylize_steps(other, other, start=source, **QUICK),  # type: ignore[arg-type]
        "Job": lambda source: Job(source, (other,), config),  # type: ignore[arg-type]
        "Job style": lambda source: Job(other, (source,), config),  # type: ignore[arg-type]
        "Job.load": lambda source: Job.load(source, other, config),  # type: ignore[arg-type]
        "compare": compare,
        "Yardstick": lambda source: Yardstick(source, [other], (43, 64)),  # type: ignore[arg-type]
        "Yardstick style": lambda source: Yardstick(other, [source], (43, 64)),  # type: ignore[list-item]
        "measure": lambda source: Yardstick(other, other, (HEIGHT, WIDTH)).measure(source),  # type: ignore[arg-type]
        "style_distance": lambda source: style_distance(source, other),  # type: ignore[arg-type]
        "style_distance style": lambda source: style_distance(other, source),  # type: ignore[arg-type]
        "content_distance": lambda source: content_distance(source, other),  # type: ignore[arg-type]
        "content_distance content": lambda source: content_distance(other, source),  # type: ignore[arg-type]
        "save_image": lambda source: save_image(source, folder / "out.png"),  # type: ignore[arg-type]
    }


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, prepare_tiny: Callable[..., Encoder]) -> None:
    """The tiny encoder everywhere."""
    monkeypatch.setattr("stylecore.engine.prepare_encoder", prepare_tiny)
    monkeypatch.setattr("stylecore.compare.prepare_encoder", prepare_tiny)


@pytest.mark.usefixtures("tiny", "tiny_everywhere")
@pytest.mark.parametrize("name", functions(Path()))
def test_every_function_refuses_what_is_no_picture(name: str, tmp_path: Path) -> None:
    for kind, (source, _) in REFUSED.items():
        if kind == "nothing" and name == "stylize_steps start":  # which is the default
            continue
        with pytest.raises(StylecoreError) as caught:
            functions(tmp_path)[name](source)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny", "tiny_everywhere")
@pytest.mark.parametrize("name", functions(Path()))
def test_every_function_takes_what_people_have(name: str, pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.bmp"
    Image.fromarray(pixels).save(path)
    for source in (*forms(pixels).values(), path, str(path)):
        functions(tmp_path)[name](source)


def test_a_generator_of_styles_is_read_once_and_keeps_its_order(make_image: MakeImage, tmp_path: Path) -> None:
    files = [save_image(make_image(seed=seed), tmp_path / f"{seed}.png") for seed in range(3)]
    config = make_config(**QUICK)
    from_list = Job.load(make_image(), files, config)
    for styles in (map(load_image, files), (path for path in files), iter(files), dict.fromkeys(files)):
        job = Job.load(make_image(), styles, config)
        assert [source.checksum for source in job.sources] == [source.checksum for source in from_list.sources]
    assert [source.name for source in from_list.sources] == ["", "0.png", "1.png", "2.png"]
    assert len(load_images(files[0])) == len(load_images(str(files[0]))) == 1


def test_no_style_at_all_is_said_at_once(make_image: MakeImage) -> None:
    for styles in ([], (), iter(())):
        with pytest.raises(OptionError, match="At least one style image is needed"):
            stylize(make_image(), styles)
    with pytest.raises(ImageError, match="not None"):
        stylize(make_image(), None)  # type: ignore[arg-type]


def test_what_is_no_config_encoder_preset_or_variant_is_refused(make_image: MakeImage, tmp_path: Path) -> None:
    content, style = make_image(), make_image(seed=1)
    job = Job(content, (style,), make_config(**QUICK))
    misuses: dict[str, Callable[[], object]] = {
        "make one with make_config": lambda: stylize(content, style, "gatys"),  # type: ignore[arg-type]
        "a StylizeConfig": lambda: stylize(content, style, {"size": 64}),  # type: ignore[arg-type]
        "config is a": lambda: Job(content, (style,), {}),  # type: ignore[arg-type]
        "load_encoder": lambda: stylize(content, style, encoder="vgg19", **QUICK),  # type: ignore[arg-type]
        "Unknown preset": lambda: make_config(["gatys"]),  # type: ignore[arg-type]
        "Unknown setting": lambda: stylize(content, style, colour="red"),
        "size cannot be": lambda: stylize(content, style, size=[64]),
        "Unknown loss": lambda: stylize(content, style, loss=["gram"]),
        "list of Variants": lambda: Comparison(job, "gram,pca", tmp_path),  # type: ignore[arg-type]
        "make_variants": lambda: Comparison(job, [], tmp_path),
        "made with make": lambda: Comparison(job, [{"loss": "gram"}], tmp_path),  # type: ignore[list-item]
    }
    for words, misuse in misuses.items():
        with pytest.raises(OptionError, match="make it with" if words == "made with make" else words):
            misuse()
    assert [variant.config.loss for variant in make_variants({}, "pca")] == ["pca"]


def test_settings_are_read_from_paths_bytes_and_pil_images(image: Tensor, tmp_path: Path) -> None:
    path = save_image(image, tmp_path / "out.png", {"config": {}})
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert read_settings(source) == {"config": {}}  # type: ignore[arg-type]
    for source in (to_uint8(image), image, None):
        with pytest.raises(ImageError):
            read_settings(source)  # type: ignore[arg-type]


def test_the_names_of_before_are_where_they_were() -> None:
    assert all(hasattr(images, name) for name in images.__all__)
