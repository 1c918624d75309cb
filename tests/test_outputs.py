"""Where results go: tried before the work, through links, and never over a picture that they are made from."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from stylecore.cli import main
from stylecore.encoders import Encoder
from stylecore.errors import OutputError
from stylecore.files import check_writable, is_address, is_one_of, write_file
from stylecore.images import read_settings, save_image

QUICK = ["--size", "64", "--steps", "1", "--preset", "gatys"]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def tiny(
    monkeypatch: pytest.MonkeyPatch, prepare_tiny: Callable[..., Encoder], tiny_everywhere: Encoder, tmp_path: Path
) -> None:
    """The tiny encoder everywhere, in a folder of its own."""
    for module in ("engine", "compare", "cli.stylize"):
        monkeypatch.setattr(f"stylecore.{module}.prepare_encoder", prepare_tiny)
    monkeypatch.setattr("stylecore.metrics.yardstick_encoder", lambda _: tiny_everywhere)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """The one line with which a command is refused, before it computes anything."""

    def refuse(*arguments: object) -> str:
        def compute(*_: object, **__: object) -> None:
            raise AssertionError("it was computed")

        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr("stylecore.engine.optimize", compute)
            assert main(list(map(str, arguments))) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    return refuse


# ---- tried before


NOWHERE = ["/proc/x{}", "/sys/x{}", "nowhere/x{}", "x" * 256 + "{}"]


@pytest.mark.parametrize("place", NOWHERE)
def test_a_place_that_takes_nothing_is_refused_before_the_work(
    place: str, photo: Path, style: Path, refused: Refused
) -> None:
    if os.name != "posix":
        pytest.skip("these places are Linux's")
    png, basis = place.format(".png"), place.format(".safetensors")
    refused("stylize", photo, style, "-o", png, *QUICK)
    refused("texture", style, "-o", png, *QUICK)
    refused("stylize", photo, style, *QUICK, "--loss", "pca", "--basis", basis)
    refused("stylize", photo, style, *QUICK, "--loss", "weighted", "--gram-weights", basis)
    refused("compare", photo, style, "-o", f"{place.format('')}/y", *QUICK)
    refused("sweep-components", photo, style, "-o", f"{place.format('')}/y", *QUICK)
    refused("bench", "--json", place.format(".json"))
    refused("reduce-encoder", "-o", basis)


def test_inputs_of_impossible_names_are_refused_too(photo: Path, style: Path, refused: Refused) -> None:
    for name in ("x" * 300, "a\0b"):
        for command in (
            ["stylize", name, style],
            ["stylize", photo, style, "--weights", f"{name}.pth"],
            ["stylize", photo, style, "--encoder", f"{name}.safetensors"],
            ["stylize", "--from", name],
            ["compare", photo, name, "-o", "into"],
            ["bench", "--pairs", f"{name}:flow_strokes"],
            ["bench", "--report", name],
            ["reduce-encoder", "-o", "a.safetensors", "--images", name],
            ["show", name],
        ):
            refused(*command)


def test_every_file_of_a_folder_is_tried(photo: Path, style: Path, refused: Refused, tmp_path: Path) -> None:
    compare = ["compare", photo, style, "-o", "into", "--losses", "gram,pca", *QUICK]
    for name in ("results.json", "gram.png", "pca.png", "comparison.png", "curves.png", "index.html"):
        (tmp_path / "into" / name).mkdir(parents=True)
        assert f"{name}' is a folder" in refused(*compare)
        (tmp_path / "into" / name).rmdir()
    (tmp_path / "into" / "sweep.png").mkdir()
    assert "sweep.png' is a folder" in refused("sweep-components", photo, style, "-o", "into", *QUICK)
    (tmp_path / "bench.md").mkdir()
    assert "bench.md' is a folder" in refused("bench")
    assert "b.safetensors" in refused("stylize", photo, style, *QUICK, "--loss", "pca", "--basis", "b.npz")


# ---- over an input


def test_the_photo_or_a_style_is_replaced_only_when_asked(photo: Path, style: Path, refused: Refused) -> None:
    before = photo.read_bytes()
    for output in (photo, photo.parent / "." / photo.name, style):
        assert "one of the inputs" in refused("stylize", photo, style, "-o", output, *QUICK)
        assert "--overwrite" in refused("stylize", photo, style, "-o", output, *QUICK)
    assert "one of the inputs" in refused("texture", style, "-o", style, *QUICK)
    assert photo.read_bytes() == before
    assert main(["stylize", str(photo), str(style), "-o", str(photo), "--overwrite", *QUICK]) == 0
    assert read_settings(photo)["config"]["size"] == 64


def test_other_names_of_an_input_are_that_input(photo: Path, style: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "hard.png").hardlink_to(photo)
    for name in ("link.png", "hard.png"):
        assert "one of the inputs" in refused("stylize", photo, style, "-o", name, *QUICK)
        assert "one of the inputs" in refused("stylize", name, style, "-o", photo, *QUICK)


def test_the_png_that_settings_come_from_is_an_input(photo: Path, style: Path, refused: Refused) -> None:
    assert main(["stylize", str(photo), str(style), "-o", "out.png", *QUICK]) == 0
    assert main(["stylize", str(photo), str(style), "-o", "out.png", *QUICK]) == 0, "a result may be replaced"
    assert "one of the inputs" in refused("stylize", "--from", "out.png", "-o", "out.png")
    assert main(["stylize", "--from", "out.png", "-o", "out.png", "--overwrite"]) == 0


def test_a_comparison_replaces_none_of_its_pictures(photo: Path, style: Path, refused: Refused, tmp_path: Path) -> None:
    photo.rename(tmp_path / "gram.png")
    compare = ["compare", "gram.png", style, "-o", ".", *QUICK]
    assert "name another folder" in refused(*compare, "--losses", "gram,pca")
    (tmp_path / "gram.png").rename(tmp_path / "curves.png")
    assert "name another folder" in refused("compare", "curves.png", style, "-o", ".", "--losses", "gram,pca", *QUICK)
    pair = f"{tmp_path / 'distance_against_time.png'}:{style}"
    (tmp_path / "curves.png").rename(tmp_path / "distance_against_time.png")
    assert "in another folder" in refused("bench", "--pairs", pair)


# ---- through links


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(photo: Path, style: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    targets = {"out.png": "elsewhere/real.png", "basis.safetensors": "elsewhere/basis.safetensors"}
    for link, target in targets.items():
        (tmp_path / link).symlink_to(target)
    stylize = ["stylize", str(photo), str(style), "-o", "out.png", "--loss", "pca", *QUICK]
    assert main([*stylize, "--basis", "basis.safetensors"]) == 0  # the links lead nowhere yet
    assert main(stylize) == 0
    for link, target in targets.items():
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / target).is_file()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["basis.safetensors", "real.png"]
    (tmp_path / "into").symlink_to("elsewhere")
    compare = ["compare", str(photo), str(style), "-o", "into", "--losses", "gram,pca", *QUICK]
    (tmp_path / "elsewhere" / "results.json").symlink_to("records.json")
    assert main(compare) == 0
    assert (tmp_path / "into").is_symlink()
    assert json.loads((tmp_path / "elsewhere" / "records.json").read_text())["records"]


def test_every_writer_goes_through_links(make_image: Callable[..., Tensor], tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("c.png")
    save_image(make_image(), tmp_path / "a.png")
    assert write_file(tmp_path / "a.png", (tmp_path / "c.png").read_bytes()) == tmp_path / "a.png"
    assert [(tmp_path / name).is_symlink() for name in ("a.png", "b.png", "c.png")] == [True, True, False]


@pytest.mark.parametrize("target", ["loop.png", "nowhere/real.png", "folder"])
def test_a_link_that_leads_to_no_place_for_a_file_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.png").symlink_to(target)
    with pytest.raises(OutputError):
        check_writable(tmp_path / "loop.png", ".png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "loop.png"]


# ---- what is a name of what


def test_files_are_compared_not_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    assert is_one_of(tmp_path / "a", [None, b"1", tmp_path / "b", str(tmp_path / "." / "a")])
    assert not is_one_of(tmp_path / "a", [None, tmp_path / "b", tmp_path / "c"])
    assert not is_one_of(tmp_path / "c", [tmp_path / "c"])


def test_addresses_are_told_from_paths(refused: Refused, style: Path) -> None:
    for address in (
        "https://a.org/b.jpg",
        "http:/a.org",
        "s3://b/k",
        "file:///a.png",
        "data:image/png;base64,A",
    ):
        assert is_address(address)
    for path in ("a.png", "/a/b.png", "C:/a.png", r"C:\a.png", "a:b.png", "database.png", "./https/a"):
        assert not is_address(path)
    for command in (["stylize"], ["compare", "-o", "into"]):
        said = refused(*command, "https://example.org/photo.jpg", style, *QUICK)
        assert "is an address: download the picture first" in said
        assert "download the picture" in refused(*command, style, "https://example.org/photo.jpg", *QUICK)
    assert "download the picture" in refused("stylize", "--from", "https://example.org/a.png")
    assert "download the picture" in refused("bench", "--pairs", f"https://example.org/a.png:{style}")
    assert "download the file" in refused("stylize", style, style, "--weights", "https://example.org/vgg19.pth")
