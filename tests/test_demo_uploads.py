"""What visitors send: pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from PIL import Image
from torch import Tensor

from demo.server.folders import MAX_NAME_BYTES, new_file
from demo.server.uploads import read_job, read_picture
from stylecore import StylizeConfig
from stylecore.errors import ImageError
from stylecore.images import save_image


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(), tmp_path / "photo.png")


def test_notes_and_errors_say_which_picture_and_no_folder(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "moving.gif", save_all=True, append_images=pages[1:])
    image, notes = read_picture(tmp_path / "moving.gif", "style")
    assert image.shape == (1, 3, 32, 32)
    assert notes == ["About the style: The image is animated: only its first frame is used."]
    (tmp_path / "broken.png").write_text("no picture at all")
    for name, message in (("broken.png", "cannot be used"), ("deleted.png", "not on the server any more")):
        with pytest.raises(ImageError, match=f"The photo .*{message}") as error:
            read_picture(tmp_path / name, "photo")
        assert str(tmp_path) not in str(error.value)


def test_uploads_cannot_name_files_of_the_server(photo: Path) -> None:
    for upload in ({"path": str(photo)}, {"path": f"{photo.parent}/../{photo.parent.name}/photo.png"}, "photo.png"):
        with pytest.raises(ImageError, match="The photo must be an uploaded file"):
            read_job(upload, [None], StylizeConfig())
    with pytest.raises(ImageError, match="Choose a photo first"):
        read_job(None, [None], StylizeConfig())


@pytest.mark.parametrize("upload", [5, {}, {"path": None}, {"path": "\0"}, {"path": "x" * 5000}, [], "photo.png"])
def test_what_is_no_upload_is_refused_kindly(upload: Any) -> None:
    with pytest.raises(ImageError, match="The photo must be an uploaded file"):
        read_job(upload, [None], StylizeConfig())


@pytest.mark.parametrize("letter", ["a", "ä", "画", "👩‍🎨"])
def test_names_of_files_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, letter: str) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path = new_file(f"{letter * 300}_flow_strokes.png")
    path.write_bytes(b"")
    assert path.suffix == ".png"
    assert path.name.startswith(letter)
    assert 100 < len(path.name.encode()) <= MAX_NAME_BYTES
    assert new_file("photo_style.png").name == "photo_style.png"
