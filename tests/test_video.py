"""Videos: times, sound and sizes are kept, a stopped run goes on, and what cannot be painted is said in one sentence.

All of it takes the extra `video`: make test-extras.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av", reason="needs the extra video (make test-extras)")
pytest.importorskip("cv2", reason="needs the extra video (make test-extras)")

import av

from stylecore import video
from stylecore.cli import main
from stylecore.clips import Clip, write_clip
from stylecore.encoders import Encoder
from stylecore.errors import ImageError, OutputError
from stylecore.presets import make_config
from stylecore.video import stylize_frames

QUICK = ["--size", "64", "--steps", "2", "--preset", "gatys"]
TIMES = (0.0, 0.04, 0.2, 0.24, 0.5, 0.54)  # no even rate


@pytest.fixture(autouse=True)
def tiny(
    monkeypatch: pytest.MonkeyPatch, prepare_tiny: Callable[..., Encoder], tiny_everywhere: Encoder, tmp_path: Path
) -> Encoder:
    """The tiny encoder everywhere, in a folder of its own."""
    for module in ("engine", "video", "cli.video"):
        monkeypatch.setattr(f"stylecore.{module}.prepare_encoder", prepare_tiny)
    monkeypatch.chdir(tmp_path)
    return tiny_everywhere


@pytest.fixture
def pixels(make_image: Callable[..., torch.Tensor]) -> list[np.ndarray]:
    """Frames of 49 x 65 px, which move by a pixel."""
    whole = (make_image(60, 80)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return [whole[number : number + 49, number : number + 65] for number in range(len(TIMES))]


@pytest.fixture
def silent(pixels: list[np.ndarray], tmp_path: Path) -> Path:
    """A WebM without sound."""
    path = tmp_path / "silent.webm"
    with path.open("wb") as file:
        write_clip(file, path, zip(TIMES, pixels, strict=True))
    return path


@pytest.fixture
def loud(pixels: list[np.ndarray], tmp_path: Path) -> Path:
    """The same with half a second of a tone."""
    tone, path = tmp_path / "tone.mkv", tmp_path / "loud.webm"
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        wave = (8000 * np.sin(np.arange(24000) * 2 * np.pi * 440 / 48000)).astype(np.int16)
        for start in range(0, len(wave), 960):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 960], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with path.open("wb") as file:
        write_clip(file, path, zip(TIMES, pixels, strict=True), tone)
    return path


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["video", *map(str, arguments), *QUICK]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_times_and_sound_come_through(loud: Path, style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["video", str(loud), str(style), "-o", "out.webm", *QUICK]) == 0
    assert capsys.readouterr().out == "out.webm: 6 frames, with sound.\n"
    out = Clip.scan("out.webm")
    assert out.times == pytest.approx(TIMES, abs=0.002)
    assert not Path("out.webm.frames").exists()
    before, after = sound_of(loud), sound_of(Path("out.webm"))
    assert len(after) == pytest.approx(len(before), rel=0.1)
    assert np.sqrt(np.mean(after.astype(float) ** 2)) == pytest.approx(
        np.sqrt(np.mean(before.astype(float) ** 2)), rel=0.2
    )
    assert next(out.frames()).shape == (48, 64, 3), "odd sides lose a line"


def test_a_video_may_be_silent_and_become_an_mp4_where_there_is_an_encoder(silent: Path, style: Path) -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("this FFmpeg has no x264")
    assert main(["video", str(silent), str(style), "-o", "out.mp4", *QUICK]) == 0
    assert not Clip.scan("out.mp4").has_audio
    assert Clip.scan("out.mp4").times == pytest.approx(TIMES, abs=0.002)


def test_a_stopped_run_goes_on_to_the_same_frames(
    silent: Path, style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["video", str(silent), str(style), "-o", "whole.webm", *QUICK]) == 0
    from stylecore.cli import video as command

    save, count = command.save_image, 0

    def stop(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "save_image", stop)
    assert main(["video", str(silent), str(style), "-o", "out.webm", *QUICK]) == 130
    assert "Stopped after 3 of 6 frames: the same command goes on" in capsys.readouterr().err
    count = 10
    assert "another run: delete it" in refused(capsys, silent, style, "-o", "out.webm", "--seed", 3)
    assert main(["video", str(silent), str(style), "-o", "out.webm", *QUICK]) == 0
    assert count == 13, "three frames were left"
    for one, other in zip(Clip.scan("out.webm").frames(), Clip.scan("whole.webm").frames(), strict=True):
        assert np.array_equal(one, other)


def test_frames_of_a_clip_at_rest_stay_as_they_are(make_image: Callable[..., torch.Tensor], tiny: Encoder) -> None:
    """Held to the last result, they move less than the evaluations alone would move them."""
    config = make_config("gatys", size=64, num_steps=3, encoder=tiny.name)
    frames, style = [make_image()] * 3, [make_image(seed=1)]

    def moves(weight: float) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stylecore.video.TEMPORAL_WEIGHT", weight)
            first, second, third = stylize_frames(frames, style, config, encoder=tiny)
        return float((second - first).abs().mean() + (third - second).abs().mean())

    assert moves(1e4) < 0.2 * moves(0)


def test_what_was_not_to_be_seen_before_begins_as_a_first_frame_does(
    make_image: Callable[..., torch.Tensor], tiny: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("gatys", size=64, num_steps=2, encoder=tiny.name, init="content")
    before = make_image(48, 64)
    after = before.clone()
    after[..., 16:32, 40:56] = 1 - before[..., 16:32, 40:56].round()
    starts, job_steps = [], video.job_steps
    monkeypatch.setattr(
        video, "job_steps", lambda *given, start=None, **named: (starts.append(start), job_steps(*given, **named))[1]
    )
    painted, _ = stylize_frames([before, after], [make_image(seed=1)], config, encoder=tiny)
    assert torch.equal(starts[1][..., 18:30, 42:54], after[..., 18:30, 42:54])
    elsewhere = (starts[1] - painted)[..., :24].abs().mean()
    assert elsewhere < 0.2 * (after - painted)[..., :24].abs().mean(), "the strokes that are there stay"


# ---- bad input


def test_what_is_no_video_is_refused(silent: Path, style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.webm").write_text("no video at all")
    Path("empty.webm").write_bytes(b"")
    assert "'words.webm' is no video that can be read" in refused(capsys, "words.webm", style)
    assert "'empty.webm' is no video that can be read" in refused(capsys, "empty.webm", style)
    assert "There is no file 'gone.webm'" in refused(capsys, "gone.webm", style)
    assert "one of .webm, .mp4" in refused(capsys, silent, style, "-o", "out.avi")
    assert "one of the inputs" in refused(capsys, silent, style, "-o", silent)
    assert not [*Path().glob("*.frames")]


@pytest.mark.usefixtures("loud")
def test_a_video_without_frames_or_pictures_is_refused(silent: Path) -> None:
    with pytest.raises(ImageError, match=r"'tone\.mkv' has no picture: name a video"):
        Clip.scan("tone.mkv")
    data = silent.read_bytes()
    Path("cut.webm").write_bytes(data[: data.index(bytes.fromhex("1f43b675"))])  # up to the first cluster
    with pytest.raises(ImageError, match=r"'cut\.webm' (holds no frames|is no video)"):
        Clip.scan("cut.webm")


def test_a_damaged_middle_is_told_with_its_second(silent: Path) -> None:
    with av.open(str(silent)) as container:
        third = bytes([*container.demux(video=0)][2])
    data = silent.read_bytes()
    Path("damaged.webm").write_bytes(data.replace(third, b"\xff" * len(third)))
    with pytest.raises(ImageError, match=r"'damaged\.webm' is damaged after \d\.\d s: mend it, or cut it there"):
        Clip.scan("damaged.webm")


def test_without_the_extra_or_an_encoder_one_sentence_says_so(
    silent: Path, style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("av.codecs_available", {"libvpx-vp9"})
        assert "no encoder for 'out.mp4': name the output 'out.webm'" in refused(capsys, silent, style, "-o", "out.mp4")
    with monkeypatch.context() as patch:
        patch.setattr("stylecore.flow.is_installed", lambda: False)
        assert "takes OpenCV's optical flow: pip install 'stylecore[video]'" in refused(capsys, silent, style)
    monkeypatch.setattr("stylecore.clips.is_installed", lambda: False)
    assert "pip install 'stylecore[video]'" in refused(capsys, silent, style)
    with pytest.raises(OutputError, match="pip install"):
        Clip.scan(silent)
    assert not [*Path().glob("*.frames")]
