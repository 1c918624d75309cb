"""The encoder against torchvision's VGG, what it computes and what it leaves out, and weights files of every kind."""

import dataclasses
import hashlib
import io
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import requests
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import (
    ARCHITECTURES,
    ENCODERS,
    STYLE_LAYERS,
    Architecture,
    Encoder,
    Layer,
    architecture_of,
    check_resolution,
    fetch_weights,
    load_encoder,
    weights_architecture,
)
from stylecore.encoders import weights as weights_module
from stylecore.encoders.vgg import weights_checksum
from stylecore.encoders.weights import read_weights
from stylecore.errors import OptionError, WeightsError
from stylecore.presets import make_config

VGG19_FILE = "vgg19-dcbb9e9d.pth"


def names(layers: Iterable[Layer]) -> list[str]:
    return [str(layer) for layer in layers]


class TorchvisionVGG(nn.Module):
    """Torchvision's features with random weights; the classifier, which nobody here runs, in miniature."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        letter = {"vgg16": "D", "vgg19": "E"}[architecture]
        self.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[letter])
        self.classifier = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.requires_grad_(False).eval()

    def run(self, image: Tensor) -> dict[str, Tensor]:
        """Every conv and relu up to relu5_1, named by counting pools and convolutions, as the literature does."""
        found: dict[str, Tensor] = {}
        x = (image - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
            :, None, None
        ]
        block, conv = 1, 0
        for layer in self.features:
            x = layer(x.clone())  # torchvision's ReLUs work in place
            if isinstance(layer, nn.MaxPool2d):
                block, conv = block + 1, 0
            elif isinstance(layer, nn.Conv2d):
                conv += 1
                found[f"conv{block}_{conv}"] = x
            else:
                found[f"relu{block}_{conv}"] = x
            if "relu5_1" in found:
                break
        return found


@pytest.fixture(scope="module", params=ARCHITECTURES)
def torchvision_vgg(request: pytest.FixtureRequest) -> tuple[str, TorchvisionVGG]:
    return request.param, TorchvisionVGG(request.param)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's, but gone after each test: weights are large."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def answer(monkeypatch: pytest.MonkeyPatch, data: bytes | None) -> None:
    """What every download gets; None: there is no network."""

    def send(*_: object, **__: object) -> requests.Response:
        if data is None:
            raise requests.ConnectionError("[Errno -2] Name or service not known")
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(data)
        response.headers["content-length"] = str(len(data))
        return response

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of torch's downloads, empty and with no network to fill it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    answer(monkeypatch, None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def relative_error(value: Tensor, target: Tensor) -> float:
    return float((value.float() - target).abs().max() / target.abs().max())


def count_convs(encoder: Encoder) -> list[str]:
    """A list that fills with the convolutions' names as they run."""
    ran: list[str] = []
    for name, conv in encoder.convs.items():
        conv.register_forward_hook(lambda *_, name=name: ran.append(name))
    return ran


# ---- the features ---------------------------------------------------------------------------------------------------


def save_pth(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save(tensors, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def save_old_pth(tensors: dict[str, Tensor], path: Path) -> Path:
    """The format from before torch 1.6, which torchvision's own files still have."""
    torch.save(tensors, path.with_suffix(".pth"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pth")


def save_safetensors(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize(
    ("save", "whole_model"),
    [(save_pth, False), (save_old_pth, True), (save_safetensors, True)],
    ids=["features as .pth", "model as an old .pth", "model as .safetensors"],
)
def test_a_saved_torchvision_vgg_gives_its_own_features(
    torchvision_vgg: tuple[str, TorchvisionVGG],
    save: Callable[[dict[str, Tensor], Path], Path],
    whole_model: bool,
    tmp_path: Path,
    make_image: Callable[..., Tensor],
) -> None:
    architecture, model = torchvision_vgg
    state = model.state_dict() if whole_model else model.features.state_dict()
    assert ("classifier.0.weight" in state) == whole_model
    encoder = load_encoder(architecture, weights=save(state, tmp_path / "weights"))
    image = make_image(48, 64)
    features, expected = encoder(image, STYLE_LAYERS), model.run(image)
    for layer in STYLE_LAYERS:
        assert relative_error(features[layer], expected[layer]) < 1e-5


def test_every_layer_has_its_torchvision_counterpart(
    torchvision_vgg: tuple[str, TorchvisionVGG], tmp_path: Path, make_image: Callable[..., Tensor]
) -> None:
    architecture, model = torchvision_vgg
    encoder = load_encoder(architecture, weights=save_pth(model.state_dict(), tmp_path / "weights"))
    image = make_image(32, 48)
    expected = model.run(image)
    assert names(ARCHITECTURES[architecture].layers) == list(expected)
    features = encoder(image, expected)
    for layer, values in expected.items():
        assert relative_error(features[layer], values) < 1e-5
        assert values.shape[1] == Layer.parse(layer).num_channels


def test_average_pooling_averages_two_by_two(make_image: Callable[..., Tensor]) -> None:
    """conv2_1 as the identity shows what pooling made of relu1_1."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
    second.weight.data = torch.eye(4)[:, :, None, None]
    image = make_image(18, 27)
    for pooling in ("average", "max"):
        encoder = Encoder("vgg16", {"conv1_1": first, "conv2_1": second}, pooling=pooling)
        features = encoder(image, ["relu1_1", "conv2_1"])
        blocks = features["relu1_1"][:, :, :18, :26].unflatten(3, (13, 2)).unflatten(2, (9, 2))  # B N 9 2 13 2
        pooled = blocks.mean((3, 5)) if pooling == "average" else blocks.amax((3, 5))
        torch.testing.assert_close(features["conv2_1"], pooled)


def test_conv2_2_is_the_value_before_the_relu_of_relu2_2(
    tiny_encoder: Encoder, make_image: Callable[..., Tensor]
) -> None:
    features = tiny_encoder(make_image(), ["conv2_2", "relu2_2"])
    assert features["conv2_2"].min() < 0
    assert torch.equal(features["conv2_2"].relu(), features["relu2_2"])


@pytest.mark.parametrize("deepest", ["relu1_1", "conv1_2", "conv3_3", "relu4_2", "relu5_1"])
def test_the_forward_stops_at_the_deepest_layer_asked_for(
    tiny_encoder: Encoder, make_image: Callable[..., Tensor], deepest: str
) -> None:
    ran = count_convs(tiny_encoder)
    features = tiny_encoder(make_image(), [deepest, "relu1_1"])
    convs = names(ARCHITECTURES["vgg16"].convs)
    assert ran == convs[: convs.index(deepest.replace("relu", "conv")) + 1]
    assert ran == names(tiny_encoder.convs_up_to([deepest, "relu1_1"]))
    assert set(features) == {deepest, "relu1_1"}


def test_the_order_in_which_layers_are_asked_for_does_not_matter(
    tiny_encoder: Encoder, make_image: Callable[..., Tensor]
) -> None:
    image = make_image()
    first = tiny_encoder(image, ["relu4_2", "relu1_1", "relu1_1"])
    second = tiny_encoder(image, iter(["relu1_1", "relu4_2"]))
    assert all(torch.equal(first[layer], second[layer]) for layer in ("relu1_1", "relu4_2"))
    assert tiny_encoder(image, []) == {}


@pytest.mark.parametrize(("height", "width"), [(67, 45), (64, 64), (31, 17), (16, 16)])
def test_every_block_halves_the_positions_and_drops_the_odd_one(
    tiny_encoder: Encoder, make_image: Callable[..., Tensor], height: int, width: int
) -> None:
    for layer, values in tiny_encoder(make_image(height, width), names(ARCHITECTURES["vgg16"].layers)).items():
        stride = Layer.parse(layer).stride
        assert values.shape[2:] == (height // stride, width // stride)


def test_a_batch_is_so_many_images(tiny_encoder: Encoder, make_image: Callable[..., Tensor]) -> None:
    images = [make_image(seed=seed) for seed in range(2)]
    together = tiny_encoder(torch.cat(images), ["relu5_1"])["relu5_1"]
    for index, image in enumerate(images):
        torch.testing.assert_close(together[index : index + 1], tiny_encoder(image, ["relu5_1"])["relu5_1"])


def test_gradients_reach_the_image_and_no_weight(tiny_encoder: Encoder, make_image: Callable[..., Tensor]) -> None:
    image = make_image().requires_grad_(True)
    tiny_encoder(image, ["relu5_1"])["relu5_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(not parameter.requires_grad for parameter in tiny_encoder.parameters())


IDENTITY_MEANS = {
    "caffe": ((123.68, 116.779, 103.939), 1.0, (1.0, 1.0, 1.0)),  # of RGB in 0..255
    "torchvision": ((0.485, 0.456, 0.406), 1 / 255, (0.229, 0.224, 0.225)),  # of RGB in 0..1
}


@pytest.mark.parametrize("normalization", IDENTITY_MEANS)
def test_the_encoder_sees_its_own_normalisation_of_the_image(
    normalization: str, make_image: Callable[..., Tensor]
) -> None:
    identity = nn.Conv2d(3, 3, 1, bias=False)
    identity.weight.data = torch.eye(3)[:, :, None, None]
    encoder = Encoder("vgg16", {"conv1_1": identity}, normalization=normalization)
    image = make_image()
    means, unit, deviations = IDENTITY_MEANS[normalization]
    seen = encoder(image, ["conv1_1"])["conv1_1"]
    for channel in range(3):
        expected = (image[:, channel] * 255 * unit - means[channel]) / deviations[channel]
        torch.testing.assert_close(seen[:, channel], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_colour_is_nothing_but_bias_in_either_dtype(dtype: torch.dtype) -> None:
    encoder = load_encoder("vgg16", dtype=dtype)
    assert encoder.dtype == dtype
    mean_color = torch.tensor([123.68, 116.779, 103.939]).div(255).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    features = encoder(mean_color, ["conv1_1"])["conv1_1"].float()
    bias = encoder.convs["conv1_1"].bias.float()
    torch.testing.assert_close(features, bias.view(1, -1, 1, 1).expand_as(features), atol=1e-3, rtol=0.005)


def test_bfloat16_features_are_close_to_float32(vgg16: Encoder, astronaut: Tensor) -> None:
    image = astronaut[:, :, 40:136, 170:266]
    full, half = vgg16(image, STYLE_LAYERS), load_encoder("vgg16", dtype=torch.bfloat16)(image, STYLE_LAYERS)
    for layer in STYLE_LAYERS:
        assert half[layer].dtype == torch.bfloat16
        assert (half[layer].float() - full[layer]).norm() / full[layer].norm() < 0.02


# ---- names ----------------------------------------------------------------------------------------------------------


def test_the_published_architectures() -> None:
    vgg16, vgg19 = (ARCHITECTURES[name] for name in ("vgg16", "vgg19"))
    assert names(vgg16.convs)[:5] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]
    assert (len(vgg16.convs), len(vgg19.convs)) == (11, 13)
    assert set(names(vgg19.convs)) - set(names(vgg16.convs)) == {"conv3_4", "conv4_4"}
    assert names(vgg19.layers)[-2:] == ["conv5_1", "relu5_1"]
    layers = [Layer.parse(name) for name in STYLE_LAYERS]
    assert [layer.num_channels for layer in layers] == [64, 128, 256, 512, 512]
    assert [layer.stride for layer in layers] == [1, 2, 4, 8, 16]


def test_a_layer_is_a_value() -> None:
    layer = Layer.parse("relu3_2")
    assert layer == Layer("relu", 3, 2)
    assert (str(layer), str(layer.conv), str(layer.conv.relu)) == ("relu3_2", "conv3_2", "relu3_2")
    vgg16, vgg19 = (ARCHITECTURES[name] for name in ("vgg16", "vgg19"))
    assert [str(vgg16.previous(Layer.parse(name))) for name in ("relu3_2", "conv3_1", "conv1_2")] == [
        "conv3_1", "conv2_2", "conv1_1",
    ]  # fmt: skip
    assert (str(vgg16.previous(Layer.parse("conv4_1"))), str(vgg19.previous(Layer.parse("conv4_1")))) == (
        "conv3_3", "conv3_4",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "relu", "relu3", "relu6_1", "relu0_1", "pool3_1", "relu3_2 ", "conv3-2", "3_2"])
def test_a_name_of_another_form_is_no_layer(name: str) -> None:
    with pytest.raises(OptionError, match="named like conv3_2 or relu3_2"):
        Layer.parse(name)


def test_an_encoders_architecture_is_found_by_its_name() -> None:
    assert architecture_of("vgg16-x3") is architecture_of("vgg16") is ARCHITECTURES["vgg16"]
    assert architecture_of("vgg19") is ARCHITECTURES["vgg19"]
    assert isinstance(load_encoder("vgg16-x3").architecture, Architecture)


def test_the_architecture_of_a_file_is_read_from_its_layers(
    torchvision_vgg: tuple[str, TorchvisionVGG], tmp_path: Path
) -> None:
    architecture, model = torchvision_vgg
    assert weights_architecture(save_pth(model.state_dict(), tmp_path / "whole")) == architecture
    assert weights_architecture(save_safetensors(model.features.state_dict(), tmp_path / "features")) == architecture


def test_an_encoder_with_other_convolutions_keeps_the_rest(tiny_encoder: Encoder) -> None:
    convs = {name: conv for name, conv in tiny_encoder.convs.items() if name != "conv5_1"}
    cut = tiny_encoder.with_convs(convs)
    assert list(cut.convs) == list(convs)
    assert (cut.name, cut.pooling, cut.normalization) == ("vgg16", "max", "torchvision")
    assert cut.checksum == weights_checksum(convs) != tiny_encoder.checksum
    assert tiny_encoder.with_convs(convs, "abc").checksum == "abc"


@pytest.mark.parametrize(
    ("wrong", "near"), [("relu4_7", "relu4_"), ("rellu3_1", "relu3_1"), ("Relu2_1", "relu2_1"), ("conv1_3", "conv")]
)
def test_an_unknown_layer_suggests_the_nearest(
    tiny_encoder: Encoder, make_image: Callable[..., Tensor], wrong: str, near: str
) -> None:
    for refuse in (
        lambda: ARCHITECTURES["vgg16"].check([wrong]),
        lambda: tiny_encoder.check_layers(["relu1_1", wrong]),
        lambda: tiny_encoder(make_image(), ["relu1_1", wrong]),
    ):
        with pytest.raises(OptionError, match=f"'{wrong}': did you mean '{near}"):
            refuse()


def test_vgg19_has_layers_that_vgg16_has_not() -> None:
    ARCHITECTURES["vgg19"].check(["relu3_4", "conv4_4"])
    with pytest.raises(OptionError, match="layer of vgg16 'relu3_4'"):
        ARCHITECTURES["vgg16"].check(["relu3_4"])
    with pytest.raises(OptionError, match="layer of vgg16-x3 'relu3_4'"):
        ARCHITECTURES["vgg16"].check(["relu3_4"], "vgg16-x3")


def test_an_encoder_cut_short_refuses_the_layers_it_lacks(
    one_conv_encoder: Encoder, make_image: Callable[..., Tensor]
) -> None:
    with pytest.raises(OptionError, match="relu2_1"):
        one_conv_encoder(make_image(), ["relu1_1", "relu2_1"])


@pytest.mark.parametrize("name", ["vgg61", "VGG-19", "resnet50"])
def test_an_unknown_encoder_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=rf"encoder '{name}'.*vgg1"):
        load_encoder(name)
    with pytest.raises(OptionError, match="vgg1"):
        architecture_of(name)


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'torchvision'"):
        Encoder("vgg16", {}, normalization="torchvison")


def test_a_layer_without_a_single_position_is_refused() -> None:
    check_resolution(16, 400, ["relu1_1", "relu5_1"])
    check_resolution(15, 400, ["relu4_1"])
    with pytest.raises(OptionError, match=r"400x15 px is too small for relu5_1.*16 px"):
        check_resolution(15, 400, ["relu1_1", "relu5_1"])


# ---- the bundled weights --------------------------------------------------------------------------------------------


def test_the_bundled_weights_are_the_published_ones() -> None:
    """Keras' values at kernel position (0, 0) of the first BGR channel, blue: our third, for ours are RGB."""
    tensors, metadata = read_weights(weights_module.BUNDLED / "vgg16.safetensors")
    published = torch.tensor([0.42947057, 0.11727387, 0.03401296])
    torch.testing.assert_close(tensors["conv1_1.weight"][:3, 2, 0, 0].float(), published, rtol=2**-11, atol=0)
    assert metadata["normalization"] == "caffe"
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert set(tensors) == {f"{conv}.{kind}" for conv in ARCHITECTURES["vgg16"].convs for kind in ("weight", "bias")}


@pytest.fixture
def bundled_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The bundled file in a folder of its own, where it may be damaged."""
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes((weights_module.BUNDLED / path.name).read_bytes())
    monkeypatch.setattr(weights_module, "BUNDLED", tmp_path)
    weights_module._read_bundled.cache_clear()
    yield path
    weights_module._read_bundled.cache_clear()


def test_a_damaged_bundled_file_is_refused(bundled_copy: Path) -> None:
    data = bytearray(bundled_copy.read_bytes())
    data[len(data) // 2] ^= 1
    bundled_copy.write_bytes(data)
    with pytest.raises(WeightsError, match=r"vgg16\.safetensors' are damaged: install"):
        load_encoder("vgg16")


def test_a_missing_bundled_file_is_told(bundled_copy: Path) -> None:
    bundled_copy.unlink()
    with pytest.raises(WeightsError, match=r"vgg16\.safetensors' are missing: install"):
        load_encoder("vgg16")


def test_encoders_do_not_share_the_weights_they_were_loaded_from(make_image: Callable[..., Tensor]) -> None:
    first = load_encoder("vgg16")
    before = load_encoder("vgg16")(make_image(), ["relu1_1"])["relu1_1"]
    first.convs["conv1_1"].weight.data.zero_()
    assert torch.equal(load_encoder("vgg16")(make_image(), ["relu1_1"])["relu1_1"], before)


# ---- weights files ------------------------------------------------------------------------------------------------


def test_our_own_file_keeps_the_normalisation_it_names(vgg16: Encoder, make_image: Callable[..., Tensor]) -> None:
    again = load_encoder("vgg16", weights=weights_module.BUNDLED / "vgg16.safetensors")
    assert again.normalization == "caffe"
    assert torch.equal(again(make_image(), ["relu5_1"])["relu5_1"], vgg16(make_image(), ["relu5_1"])["relu5_1"])
    assert again.checksum == vgg16.checksum


def test_the_checksum_tells_values_apart_and_not_files(tmp_path: Path, vgg16: Encoder) -> None:
    model = TorchvisionVGG("vgg16")
    files = [
        save_pth(model.state_dict(), tmp_path / "whole"),
        save_pth(model.features.state_dict(), tmp_path / "features"),
        save_safetensors(model.state_dict(), tmp_path / "safe"),
    ]
    checksums = {load_encoder("vgg16", weights=file).checksum for file in files}
    assert len(checksums) == 1
    model.features[0].bias[0] += 1
    changed = load_encoder("vgg16", weights=save_pth(model.state_dict(), tmp_path / "changed")).checksum
    assert changed not in checksums
    assert vgg16.checksum not in checksums
    assert len(changed) == 12


def refused_weights(path: Path, architecture: str = "vgg19") -> str:
    """The message with which a weights file is refused: it names the file, on one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightsError) as caught:
            load_encoder(architecture, weights=path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "no weights file" in refused_weights(tmp_path / "nowhere.pth")
    assert "no weights file" in refused_weights(tmp_path)


@pytest.mark.parametrize("save", [save_pth, save_old_pth, save_safetensors])
@pytest.mark.parametrize("fraction", [0.0, 0.0005, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(
    save: Callable[[dict[str, Tensor], Path], Path], fraction: float, tmp_path: Path
) -> None:
    path = save({f"features.{index}.weight": torch.randn(64, 64, 3, 3) for index in range(4)}, tmp_path / "cut")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    assert "download it again" in refused_weights(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ""])
@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE html><html>404</html>", b"version https://git-lfs.github.com\n", b"PK\x03\x04", b"\x80"]
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data)
    assert "download it again" in refused_weights(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_old_file_gives_a_weights_error_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """The old format is a chain of pickles: a changed byte may be any opcode."""
    path = save_old_pth({"features.0.weight": torch.zeros(4), "features.0.bias": torch.zeros(2)}, tmp_path / "old")
    data = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(seed)
    for where in torch.randint(0, len(data), (12,), generator=generator).tolist():
        data[where] = int(torch.randint(0, 256, (), generator=generator))
    path.write_bytes(data)
    refused_weights(path)


class Malice:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, plain_pickle: bool) -> None:
    victim, path = tmp_path / "pwned", tmp_path / "weights.pth"
    if plain_pickle:
        path.write_bytes(pickle.dumps(Malice(victim)))
    else:
        torch.save({"features.0.weight": Malice(victim)}, path)
    assert "more than tensors" in refused_weights(path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Malice(victim)))
    assert victim.exists(), "the pickle was harmless: this test proved nothing"


def test_a_whole_model_instead_of_its_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2), path)
    assert "state_dict()" in refused_weights(path)


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), [torch.zeros(3)], {"epoch": 3, "state_dict": {}}, {0: torch.zeros(3)}, "words", None],
    ids=["tensor", "list", "checkpoint", "numbered", "string", "nothing"],
)
def test_tensors_that_are_no_state_dict_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    assert "state dict" in refused_weights(path)


@pytest.mark.parametrize("asked", ARCHITECTURES)
def test_the_other_vgg_is_refused_with_the_way_out(
    torchvision_vgg: tuple[str, TorchvisionVGG], asked: str, tmp_path: Path
) -> None:
    architecture, model = torchvision_vgg
    path = save_pth(model.state_dict(), tmp_path / "weights")
    if asked == architecture:
        assert load_encoder(asked, weights=path).architecture.name == asked
    else:
        message = refused_weights(path, asked)
        assert f"does not hold a {asked}" in message
        assert "--encoder" in message


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_shallower_vgg_is_refused(letter: str, tmp_path: Path) -> None:
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[letter])
    path = save_pth({f"features.{key}": value for key, value in features.state_dict().items()}, tmp_path / "shallow")
    assert "does not hold a vgg16" in refused_weights(path, "vgg16")


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.bias": torch.zeros(64)},
        {"features.0.weight": torch.zeros(64, 1, 3, 3), "features.0.bias": torch.zeros(64)},
        {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(32)},
        {"features.0.weight": torch.zeros(64, 3, 3, 3)},
    ],
    ids=["empty", "a ResNet's", "grey input", "wrong bias", "no bias"],
)
def test_another_networks_tensors_are_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    message = refused_weights(save_safetensors(tensors, tmp_path / "weights"), "vgg16")
    assert "conv1_1 should have shape (64, 3, 3, 3)" in message


# ---- the download -------------------------------------------------------------------------------------------------


def test_vgg19_without_network_names_the_file_the_place_and_the_folder(
    empty_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError) as caught:
        load_encoder("vgg19")
    message = str(caught.value)
    assert f"https://download.pytorch.org/models/{VGG19_FILE}" in message
    assert f"get {VGG19_FILE} from" in message
    assert str(empty_cache) in message
    assert "--weights" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")  # a library never prints
    assert not list(empty_cache.glob("*"))


def test_a_download_with_the_wrong_hash_is_refused_and_not_kept(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, b"an impostor")
    with pytest.raises(WeightsError, match=VGG19_FILE):
        load_encoder("vgg19")
    assert not list(empty_cache.glob("*"))
    assert capfd.readouterr() == ("", "")


def test_a_sound_download_is_watched_and_kept(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        total = seen = 0

        def update(self, number: int) -> None:
            self.seen += number

        def reset(self) -> None: ...
        def close(self) -> None: ...

    data, bar = b"weights" * 1000, Bar()
    spec = dataclasses.replace(ENCODERS["vgg19"], sha256=hashlib.sha256(data).hexdigest()[:8])
    monkeypatch.setitem(weights_module.ENCODERS, "vgg19", spec)
    answer(monkeypatch, data)
    assert fetch_weights("vgg19", bar) == empty_cache / VGG19_FILE
    assert bar.seen >= bar.total == len(data)
    answer(monkeypatch, None)
    assert fetch_weights("vgg19").read_bytes() == data


@pytest.mark.usefixtures("empty_cache")
def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "a file"))
    with pytest.raises(WeightsError, match="--weights"):
        load_encoder("vgg19")


def test_vgg19_from_the_cache_needs_no_network(
    empty_cache: Path, make_image: Callable[..., Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    empty_cache.mkdir(parents=True)
    model = TorchvisionVGG("vgg19")
    torch.save(model.state_dict(), empty_cache / VGG19_FILE)
    encoder = load_encoder("vgg19")
    expected = model.run(make_image())["relu5_1"]
    assert relative_error(encoder(make_image(), ["relu5_1"])["relu5_1"], expected) < 1e-5
    assert capfd.readouterr() == ("", "")


def test_a_damaged_file_in_the_cache_is_named(empty_cache: Path) -> None:
    empty_cache.mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, empty_cache / VGG19_FILE)
    os.truncate(empty_cache / VGG19_FILE, 5000)
    with pytest.raises(WeightsError, match="delete it and download it again") as caught:
        load_encoder("vgg19")
    assert str(empty_cache / VGG19_FILE) in str(caught.value)


def test_a_malicious_file_in_the_cache_is_not_run(empty_cache: Path, tmp_path: Path) -> None:
    empty_cache.mkdir(parents=True)
    torch.save({"features.0.weight": Malice(tmp_path / "pwned")}, empty_cache / VGG19_FILE)
    with pytest.raises(WeightsError, match="more than tensors"):
        load_encoder("vgg19")
    assert not (tmp_path / "pwned").exists()


def test_an_encoder_that_is_gone_names_its_replacement() -> None:
    """PNGs of earlier versions may name it, as the config's encoder or a stage's."""
    for ask in (
        lambda: load_encoder("vgg16-r99"),
        lambda: make_config(encoder="vgg16-r99"),
        lambda: make_config(stages=("0.5:1:vgg16-r99", "1:1")),
        lambda: StylizeConfig.from_dict(make_config().to_dict() | {"encoder": "vgg16-r99"}),
    ):
        with pytest.raises(OptionError, match="choose --encoder vgg16-x2"):
            ask()


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "vgg19"])
def test_shipped_encoders_have_channels_in_multiples_of_16(name: str) -> None:
    """Other numbers are slower everywhere, and wrong in some WebGPU drivers."""
    for conv in load_encoder(name).convs.modules():
        if isinstance(conv, nn.Conv2d) and conv.in_channels != 3:
            assert conv.in_channels % 16 == 0 == conv.out_channels % 16
