"""Bases and trained weights on disk: they come back as they were, and only to the encoder they were made for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylecore import Job, Result, make_config, stylize_steps
from stylecore.cli.fitted import options_of_files
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, run_to_end
from stylecore.errors import OptionError, WeightsError
from stylecore.fitted import load_fitted, save_fitted
from stylecore.losses import STYLE_LOSSES
from stylecore.objective import Fitted

MakeImage = Callable[..., Tensor]
ONE_LAYER = {"style_layers": ("relu1_1",), "content_layers": ("relu1_1",), "size": 64, "num_steps": 12}


@pytest.fixture
def encoder() -> Encoder:
    """conv1_1 with its real 64 channels, random."""
    torch.manual_seed(0)
    return Encoder("vgg16", {"conv1_1": nn.Conv2d(3, 64, 3, padding=1)}, checksum="abc")


def run(encoder: Encoder, make_image: MakeImage, fitted: Fitted | None = None, **options: object) -> Result:
    config = make_config(**ONE_LAYER | {"encoder": "vgg16"} | options)
    job = Job(make_image(), (make_image(seed=1),), config)
    return run_to_end(job, job_steps(job, encoder=encoder, fitted=fitted))


@pytest.mark.parametrize("loss", ["pca", "pca-covariance", "weighted", "weighted-element"])
def test_what_a_job_fitted_makes_the_same_from_a_file(
    loss: str, encoder: Encoder, make_image: MakeImage, tmp_path: Path
) -> None:
    first = run(encoder, make_image, loss=loss)
    fitted = first.ending.fitted
    save_fitted(tmp_path / "fitted.safetensors", fitted, encoder)
    loaded = load_fitted(tmp_path / "fitted.safetensors", encoder)
    assert {layer: set(kinds) for layer, kinds in loaded.items()} == {
        layer: set(kinds) for layer, kinds in fitted.items()
    }
    for kind, tensor in loaded["relu1_1"].items():
        assert torch.equal(tensor, fitted["relu1_1"][kind])
    again = run(encoder, make_image, loaded, loss=loss)
    is_same = torch.equal(first.image, again.image)
    assert is_same == (loss in ("pca", "pca-covariance"))  # the weights were still changing before


def test_a_given_basis_wins_over_the_styles_own(encoder: Encoder, make_image: MakeImage) -> None:
    other = run(encoder, make_image, loss="pca", components="2", num_steps=1).ending.fitted
    given = {"relu1_1": {"components": other["relu1_1"]["components"].flip(0)}}
    used = run(encoder, make_image, given, loss="pca", components="100%").ending.fitted
    assert torch.equal(used["relu1_1"]["components"], given["relu1_1"]["components"])


def test_a_file_for_another_encoder_is_refused(encoder: Encoder, make_image: MakeImage, tmp_path: Path) -> None:
    save_fitted(tmp_path / "basis.safetensors", run(encoder, make_image, loss="pca").ending.fitted, encoder)
    encoder.checksum = "def"
    with pytest.raises(WeightsError, match=r"fitted for the encoder vgg16 \(abc\), not for vgg16 \(def\)"):
        load_fitted(tmp_path / "basis.safetensors", encoder)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", None])
def test_damaged_and_missing_files_are_refused(content: bytes | None, encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"basis\.safetensors"):
        load_fitted(path, encoder)


def test_a_loss_that_fits_nothing_has_nothing_to_save(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="fits nothing"):
        save_fitted(tmp_path / "basis.safetensors", {}, encoder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loss", STYLE_LOSSES)
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_loss_mixes_with_optimisers_dtypes_and_several_styles(
    loss: str, optimizer: str, dtype: torch.dtype, tiny_encoder: Encoder, make_image: MakeImage
) -> None:
    styles = [make_image(40, 80, 1), make_image(seed=2)]
    options = {
        "loss": loss,
        "optimizer": optimizer,
        "size": 64,
        "num_steps": 14,
        "components": "50%",
        "refresh_every": 5,
    }
    steps = list(stylize_steps(make_image(), styles, encoder=tiny_encoder.to(dtype), **options))
    assert bool(steps[-1].image.isfinite().all())
    assert float(steps[-1].losses.style) < float(steps[0].losses.style)
    assert steps[0].losses.style.dtype == torch.float32


def test_only_the_file_that_was_fitted_is_named_in_the_note(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr("stylecore.cli.fitted.print_note", notes.append)
    path = tmp_path / "basis.safetensors"
    save_fitted(path, {"relu1_1": {"components": torch.ones(64, 1)}}, encoder, {"components": "12.5%"})
    paths = {"basis": path, "gram_weights": None}
    assert options_of_files(paths, {"components": "64"}) == {"components": "12.5%"}
    assert notes == [f"'{path}' was fitted with components 12.5%, which is used, not 64."]
