"""The pictures that come with the package, and the photos that come with an extra."""

from pathlib import Path

import pytest

from stylecore import sample_images
from stylecore.errors import OptionError
from stylecore.sample_images import EVALUATION, FITTING, PHOTOS, STYLES, load_style, photo_path, style_path


def test_the_lists_are_the_files() -> None:
    listed = {style_path(name) for name in STYLES} | {photo_path(name) for name in EVALUATION}
    folder = Path(sample_images.__file__).parent
    assert listed == {path for path in folder.iterdir() if path.suffix in {".jpg", ".png"}}


def test_the_photos_are_scikit_images_own() -> None:
    skimage = pytest.importorskip("skimage", reason="the other photos need their extra: pip install -e '.[photos]'")
    for name in EVALUATION:
        path = photo_path(name)
        assert path.read_bytes() == (Path(skimage.__file__).parent / "data" / path.name).read_bytes()


def test_every_fitting_photo_is_a_file_of_its_package() -> None:
    pytest.importorskip("skimage", reason="the other photos need their extra: pip install -e '.[photos]'")
    pytest.importorskip("sklearn", reason="the other photos need their extra: pip install -e '.[photos]'")
    assert all(photo_path(name).is_file() for name in FITTING)


def test_a_photo_that_is_not_there_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecore.sample_images.find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r"'brick'.*pip install 'stylecore\[photos\]'"):
        photo_path("brick")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'coffee'"):
        photo_path("cofee")
    with pytest.raises(OptionError, match="did you mean 'flow_strokes'"):
        load_style("flow_stroke")
    assert "astronaut" in PHOTOS
