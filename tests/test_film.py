"""A film of the painting: its frames, how long they stay, and what is said where it cannot be made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylecore import OutputError, read_settings
from stylecore.cli import main
from stylecore.clips import is_installed
from stylecore.film import MAX_FRAMES, Film

QUICK = ["--size", "64", "--steps", "4", "--preset", "gatys"]
needs_video = pytest.mark.skipif(not is_installed(), reason="needs the extra video (make test-extras)")


def greys(film: Film, count: int) -> None:
    """Steps that go from black to white."""
    for index in range(1, count + 1):
        film.see(torch.full((1, 3, 24, 32), (index - 1) / count))


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_its_frames_are_the_steps_and_the_result_stays(suffix: str, tmp_path: Path) -> None:
    film = Film(tmp_path / f"film{suffix}", (24, 32))
    greys(film, 5)
    path = film.write(torch.ones(1, 3, 24, 32))
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (6, (32, 24), 0)
        seen, seconds = [], []
        for number in range(image.n_frames):
            image.seek(number)
            seen.append(np.asarray(image.convert("L")).mean())
            seconds.append(image.info["duration"] / 1000)
    assert seen == pytest.approx([0, 51, 102, 153, 204, 255], abs=3)
    assert seconds == pytest.approx([2 / 6] * 5 + [2.0], abs=0.01)


def test_a_long_run_has_no_more_frames_than_can_be_watched_and_none_is_large(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.webp", (1500, 2000))
    assert film.size == (384, 512)
    greys(film, 300)
    assert MAX_FRAMES / 2 < len(film.frames) <= MAX_FRAMES
    levels = [np.asarray(frame).mean() for frame in film.frames]
    assert np.diff(levels) == pytest.approx(255 * 8 / 300, abs=1), "one of eight, from the first on"
    assert levels[0] == 0
    film.write(torch.ones(1, 3, 1500, 2000))
    with Image.open(tmp_path / "film.webp") as image:
        image.seek(1)
        image.load()
        assert image.info["duration"] == 100


@pytest.mark.usefixtures("tiny_stylize")
def test_the_command_makes_result_and_film(photo: Path, style: Path, tmp_path: Path) -> None:
    out, film = tmp_path / "out.webp", tmp_path / "film.webp"
    assert main(["stylize", str(photo), str(style), "-o", str(out), "--animation", str(film), *QUICK]) == 0
    assert read_settings(out)["config"]["num_steps"] == 4
    with Image.open(film) as image:
        assert image.n_frames == 4, "the last step's image is the result"


@pytest.mark.usefixtures("tiny_stylize")
def test_what_cannot_be_a_film_is_refused_before_the_work(
    photo: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(film: Path) -> str:
        out = str(tmp_path / "out.webp")
        assert main(["stylize", str(photo), str(style), "-o", out, "--animation", str(film), *QUICK]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not Path(out).exists()
        return said

    assert "one of .webp, .gif, .webm, .mp4" in refused(tmp_path / "film.avi")
    assert "is the result or one of the inputs" in refused(tmp_path / "out.webp")
    assert "no folder" in refused(tmp_path / "nowhere" / "film.webp")
    monkeypatch.setattr("stylecore.clips.is_installed", lambda: False)
    assert "pip install 'stylecore[video]'" in refused(tmp_path / "film.webm")


@needs_video
def test_without_an_encoder_the_sentence_says_what_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"libvpx-vp9"})
    with pytest.raises(OutputError, match=r"no encoder for '.*film\.mp4': name the output '.*film\.webm'"):
        Film(tmp_path / "film.mp4", (24, 32))
    Film(tmp_path / "film.webm", (24, 32))


@needs_video
@pytest.mark.parametrize("size", [(24, 32), (25, 33)])
def test_a_webm_has_the_same_frames(size: tuple[int, int], tmp_path: Path) -> None:
    import av

    film = Film(tmp_path / "film.webm", size)
    greys(film, 5)
    path = film.write(torch.ones(1, 3, *size))
    with av.open(path) as container:
        (stream,) = container.streams
        frames = [*container.decode(stream)]
        assert stream.codec_context.name == "vp9"
    assert [frame.time for frame in frames] == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 11 / 3], abs=0.01)
    means = [frame.to_ndarray(format="gray").mean() for frame in frames]
    assert means == pytest.approx([0, 51, 102, 153, 204, 255, 255], abs=6)
    assert (frames[0].height, frames[0].width) == (24, 32), "odd sides lose a line"
