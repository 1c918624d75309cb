"""A job: what it is called, what it says of itself inside the PNG, and that the PNG finds its pictures again."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from paths import ROOT
from PIL import Image
from torch import Tensor

import stylecore
from stylecore.cli import main
from stylecore.errors import ImageError, OptionError
from stylecore.images import load_image, save_image
from stylecore.job import Job, SavedSettings, Source, portable
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]
CONFIG = make_config("draft", size=64, num_steps=2)
# The README's, and the one that it had before: pictures as tensors, whose names a job cannot know.
BY_PATHS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
BY_TENSORS = """
import stylecore
content, style = stylecore.load_image("content.jpg"), stylecore.load_image("style.jpg")
result = stylecore.stylize(content, style, preset="preview", size=512)
result.save("out.png")
"""


@pytest.fixture
def folder(tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with content.jpg and style.jpg, where everything runs."""
    for seed, name in enumerate(("content", "style")):
        save_image(make_image(seed=seed), tmp_path / f"{name}.png").rename(tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_job_remembers_where_its_pictures_are(folder: Path) -> None:
    job = Job.load("content.jpg", folder / "style.jpg", CONFIG)
    assert [source.name for source in job.sources] == ["content.jpg", "style.jpg"], "no folder of this machine"
    assert all(re.fullmatch("[0-9a-f]{12}", source.checksum) for source in job.sources)
    assert len({source.checksum for source in job.sources}) == 2
    assert job.name == "content_style"
    assert job.size == (48, 64)
    assert job.inputs() == [{"name": source.name, "checksum": source.checksum} for source in job.sources]


@pytest.mark.usefixtures("folder")
def test_a_job_of_tensors_knows_their_checksums_alone() -> None:
    content, style = load_image("content.jpg"), load_image("style.jpg")
    job = Job(content, (style,), CONFIG)
    assert [source.name for source in job.sources] == ["", ""]
    assert [s.checksum for s in job.sources] == [
        s.checksum for s in Job.load("content.jpg", "style.jpg", CONFIG).sources
    ]
    assert job.name == "stylized"
    assert Job.load(content, [style, "style.jpg"], CONFIG).name == "style"


@pytest.mark.usefixtures("folder")
def test_the_checksum_is_of_the_pixels_and_of_no_file() -> None:
    image = load_image("content.jpg")
    Image.open("content.jpg").save("other.bmp")
    assert Source.of(image) == Source.of(load_image("other.bmp"))
    assert Source.of(image) != Source.of(image.flip(3))


def test_pictures_and_config_have_to_fit(make_image: MakeImage) -> None:
    with pytest.raises(OptionError, match="2 style weights were given for 1"):
        Job(make_image(), (make_image(),), CONFIG.replace(style_weights=(1.0, 2.0)))
    with pytest.raises(OptionError, match="At least one style"):
        Job(make_image(), (), CONFIG)
    job = Job(make_image(), (make_image(),), CONFIG)
    with pytest.raises(OptionError, match="2 style weights"):
        job.with_config(CONFIG.replace(style_weights=(1.0, 2.0)))
    assert job.with_config(CONFIG.replace(size=80)).size == (60, 80)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("photo.jpg", "photo.jpg"), ("photos/a.jpg", "photos/a.jpg"), ("/home/me/a.jpg", "a.jpg"), ("../a.jpg", "a.jpg")
    ],
)  # fmt: skip
def test_paths_tell_nothing_of_a_machine(typed: str, told: str) -> None:
    assert portable(typed) == told


@pytest.mark.parametrize("snippet", [BY_PATHS, BY_TENSORS], ids=["paths", "tensors"])
def test_a_picture_made_in_python_can_be_made_again(
    snippet: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(snippet.replace("size=512", "size=64, num_steps=2"), {})
    saved = SavedSettings.read(folder / "out.png")
    assert len(saved.sources) == 2
    assert all(source.checksum for source in saved.sources)
    assert [source.name for source in saved.sources] == (
        ["content.jpg", "style.jpg"] if snippet == BY_PATHS else ["", ""]
    )
    assert main(["stylize", "--from", "out.png", "-o", "again.png"]) == 0, capsys.readouterr().err
    assert torch.equal(load_image("again.png"), load_image("out.png"))
    assert stylecore.read_settings("again.png")["config"] == stylecore.read_settings("out.png")["config"]


@pytest.mark.parametrize("names", [("content.jpg", "style.jpg"), ()])
def test_pictures_are_found_beside_the_png_too(
    names: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(load_image("content.jpg"), (load_image("style.jpg"),), CONFIG, names)
    out = save_image(job.content, folder / "out.png", job.settings())
    (folder / "elsewhere").mkdir()
    Image.new("RGB", (32, 32)).save(
        folder / "a.gif", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")]
    )  # animated: nobody asked for it, so nothing is said of it
    (folder / "b.png").write_bytes(b"no picture")
    monkeypatch.chdir(folder / "elsewhere")
    assert SavedSettings.read(out).find_pictures()[1] == folder / "style.jpg"


@pytest.mark.parametrize(("names", "told"), [(("content.jpg", "style.jpg"), "'style.jpg' is"), ((), "A picture that")])
def test_a_picture_that_has_changed_is_not_taken_for_the_old_one(
    names: tuple[str, ...], told: str, folder: Path, make_image: MakeImage
) -> None:
    job = Job(load_image("content.jpg"), (load_image("style.jpg"),), CONFIG, names)
    out = save_image(torch.zeros(1, 3, 48, 64), folder / "out.png", job.settings())
    save_image(make_image(seed=7), folder / "new.png").rename(folder / "style.jpg")
    with pytest.raises(ImageError, match=rf"{told}.* has changed: name CONTENT and STYLE again"):
        SavedSettings.read(out).find_pictures()


def test_what_a_png_says_is_read_back(folder: Path) -> None:
    job = Job.load("content.jpg", "style.jpg", CONFIG, files={"basis": "mine.safetensors"})
    saved = SavedSettings.read(save_image(job.content, folder / "out.png", job.settings()))
    assert job.settings()["version"] == stylecore.__version__
    assert saved.config == CONFIG.to_dict()
    assert saved.sources == job.sources
    assert saved.files == {"basis": "mine.safetensors"}


@pytest.mark.parametrize("inputs", ["none", [{"name": "a.png"}], [3], {"name": "a.png"}])
def test_settings_of_another_form_are_refused(inputs: object, folder: Path, make_image: MakeImage) -> None:
    out = save_image(make_image(), folder / "out.png", {"config": {}, "inputs": inputs})
    with pytest.raises(ImageError, match=r"settings in '.*out\.png' are of another form"):
        SavedSettings.read(out)
