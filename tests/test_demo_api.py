"""The demo as programs meet it: a real server and the client library."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from paths import ROOT

import stylecore
from demo.server.settings import Settings
from stylecore.images import load_image
from tools import write_api_docs

QUICK = {"size": 64, "num_steps": 3}


def test_api_returns_a_png_that_holds_its_settings(client: Client, photo: Path, style: Path) -> None:
    path, record = client.predict(
        handle_file(photo), [handle_file(style)], preset="gatys", style_weight=3.0, **QUICK, api_name="/stylize"
    )
    assert Path(path).name == "photo_style.png"
    assert load_image(path).shape == (1, 3, 48, 64)
    settings = stylecore.read_settings(path)
    assert settings["config"] == stylecore.make_config("gatys", style_weight=3.0, **QUICK).to_dict()
    assert [each["name"] for each in settings["inputs"]] == ["photo.png", "style.png"]
    assert record["config"] == settings["config"]
    assert record["num_steps"] == 3
    assert record["seconds"] > 0
    assert record["style_distance"] > 0


def test_api_mixes_styles(client: Client, photo: Path, style: Path) -> None:
    path, _ = client.predict(handle_file(photo), [handle_file(style)] * 2, **QUICK, api_name="/stylize")
    assert len(stylecore.read_settings(path)["inputs"]) == 3


def test_api_compares_variants_in_one_page(client: Client, photo: Path, style: Path) -> None:
    variants = [{"loss": loss, "num_steps": 2} for loss in ("gram", "bn")]
    page, records = client.predict(handle_file(photo), handle_file(style), variants, size=64, api_name="/compare")
    assert [record["loss"] for record in records] == ["gram", "bn"]
    assert records[0]["config"]["init"] == records[1]["config"]["init"]
    html = Path(page).read_text(encoding="utf-8")
    assert "gram" in html
    assert not re.search(r'src="(?!data:)\S', html)  # nothing is fetched from anywhere


@pytest.mark.usefixtures("quick_export")
def test_examples_in_the_documents_run(
    url: str, photo: Path, style: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As they stand there, but for the address, the pictures' names and the size."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) >= 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets:
        code = (
            snippet.replace("http://127.0.0.1:7860", url)
            .replace("size=256", "size=64")
            .replace("100", "2")
            .replace("runs=8", "runs=1")
        )
        exec(code.replace("photo.jpg", str(photo)).replace("style.jpg", str(style)), names)


def test_every_public_endpoint_is_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(endpoints) == set(re.findall(r"^## `(/\w+)", text, re.MULTILINE))
    for name, endpoint in endpoints.items():
        for parameter in endpoint["parameters"]:
            assert f"`{parameter['parameter_name']}`" in text, f"{name}: {parameter['parameter_name']}"


def test_the_documented_fields_are_the_configs() -> None:
    text = write_api_docs.DOCUMENT.read_text(encoding="utf-8")
    assert text == write_api_docs.replaced(text), "python -m tools.write_api_docs"
    for field, words in (("size", "{:g} to {:g}"), ("num_steps", "at most {1:g}")):
        (row,) = re.findall(rf"^\| `{field}` \| (.*) \|$", text.split("## `/compare`")[0], re.MULTILINE)
        assert words.format(*Settings().range(field)) in row


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "gatsy"}, "Unknown preset 'gatsy': did you mean 'gatys'?"),
        ({"loss": "grm"}, "did you mean 'gram'?"),
        ({"size": 2000}, "size must be between 64 and 1024 on this page, not 2000."),
    ],
)
def test_api_says_what_is_wrong(
    client: Client, photo: Path, style: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(handle_file(photo), [handle_file(style)], **options, api_name="/stylize")
    assert message in str(error.value)


def test_api_refuses_a_broken_image_without_a_traceback(
    client: Client, photo: Path, broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AppError, match=r"The style cannot be used\. The image is not an image we can read"):
        client.predict(handle_file(photo), [handle_file(broken)], api_name="/stylize")
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"content": "photo.png"}, "The photo must be an uploaded file"),
        ({"content": None}, "Choose a photo first"),
        ({"styles": []}, "Choose a style first"),
        ({"styles": [{"path": "/etc/passwd"}]}, "The style must be an uploaded file"),
        ({"size": "large"}, "size cannot be 'large'"),
        ({"styles": None}, "Choose a style first"),
        ({"styles": "style.png"}, "The styles must be a list of uploaded files"),
        ({"preset": ["gatys"]}, "Unknown preset"),
        ({"preset": None}, "Unknown preset"),
        ({"loss": {"name": "pca"}}, "Unknown loss"),
        ({"seed": 2**53}, "seed must be between 0 and 9007199254740991"),
        ({"num_steps": True}, "num_steps cannot be 'True'"),
    ],
)
def test_api_refuses_wrong_types_kindly(
    client: Client, photo: Path, style: Path, arguments: dict[str, Any], message: str
) -> None:
    sound = {"content": handle_file(photo), "styles": [handle_file(style)]}
    with pytest.raises(AppError) as error:
        client.predict(**(sound | arguments), api_name="/stylize")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("model", "runs", "message"),
    [
        ("vgg16-fp32", 0, "runs must be a whole number between 1 and 64, not 0."),
        ("vgg16-fp32", 65, "runs must be a whole number between 1 and 64, not 65."),
        ("vgg16-fp32", 2.5, "runs must be a whole number between 1 and 64, not 2.5."),
        ("vgg16-fp32", "many", "runs must be a whole number between 1 and 64, not many."),
        ("vgg16-fp32", None, "runs must be a whole number between 1 and 64, not None."),
        ("vgg16-fp31", 1, "did you mean 'vgg16-fp32'?"),
        ("vgg19-fp32", 1, "Unknown model 'vgg19-fp32'"),
        (["vgg16-fp32"], 1, "Unknown model"),
        (None, 1, "Unknown model"),
    ],
)
def test_a_benchmark_is_checked_before_a_model_is_made(
    client: Client, monkeypatch: pytest.MonkeyPatch, model: Any, runs: Any, message: str
) -> None:
    made: list[str] = []
    monkeypatch.setattr("demo.server.models.Models.make", lambda _, name: made.append(name))
    with pytest.raises(AppError) as error:
        client.predict(model, runs=runs, api_name="/benchmark")
    assert message in str(error.value)
    assert made == []


def test_a_comparison_downloads_nothing(
    client: Client, photo: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr("stylecore.engine.fetch_weights", lambda name, *_: fetched.append(name))
    for field, value in {"encoder": "vgg19", "stages": "1:1:vgg19"}.items():
        variants = [{"loss": "gram"}, {"loss": "gram", field: value}]
        with pytest.raises(AppError, match=f"A variant cannot name its {field} on this server"):
            client.predict(handle_file(photo), handle_file(style), variants, size=64, api_name="/compare")
    assert fetched == []


def test_names_of_any_length_make_a_result(client: Client, photo: Path, style: Path) -> None:
    """As image generators write them: both together are longer than a file's name may be."""
    files = [photo.rename(photo.with_name("a" * 150 + ".png")), style.rename(style.with_name("ö" * 90 + ".png"))]
    path, _ = client.predict(handle_file(files[0]), [handle_file(files[1])], **QUICK, api_name="/stylize")
    assert Path(path).name.startswith("aaaa")
    assert Path(path).suffix == ".png"
    assert stylecore.read_settings(path)["inputs"][0]["name"] == files[0].name


def test_a_job_beyond_its_time_ends_with_its_last_picture(
    client: Client, photo: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.server.quota.Quota.allowance", lambda *_: 0.5)
    path, record = client.predict(
        handle_file(photo), [handle_file(style)], preset="gatys", size=64, num_steps=1000, api_name="/stylize"
    )
    assert load_image(path).shape == (1, 3, 48, 64)
    assert 0 < record["num_steps"] < 1000
    assert record["trouble"].startswith("This job takes longer than the server allows")


def test_what_nobody_foresaw_is_a_sentence_too(
    client: Client, photo: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Given input size: (512x1x8)")

    monkeypatch.setattr("stylecore.measured_run.job_steps", fail)
    with pytest.raises(AppError, match="The server failed at this: try again, or with other settings"):
        client.predict(handle_file(photo), [handle_file(style)], **QUICK, api_name="/stylize")


def test_too_large_an_upload_is_refused_before_it_is_read(url: str) -> None:
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("big.png", b"0" * (33 * 2**20))})
    assert answer.status_code == 413


def test_clients_at_the_same_time_get_each_their_own(client: Client, photo: Path, style: Path) -> None:
    jobs = [
        client.submit(handle_file(photo), [handle_file(style)], size=size, num_steps=2, api_name="/stylize")
        for size in (64, 80, 96)
    ]
    assert [load_image(job.result()[0]).shape[3] for job in jobs] == [64, 80, 96]


def test_cancelled_job_leaves_the_machine_to_the_next(client: Client, photo: Path, style: Path) -> None:
    files = handle_file(photo), [handle_file(style)]
    endless = client.submit(*files, size=64, num_steps=1000, api_name="/stylize")
    wait_until(lambda: len(endless.outputs()) > 1, "a first record")
    endless.cancel()
    started = time.monotonic()
    client.predict(*files, **QUICK, api_name="/stylize")
    assert time.monotonic() - started < 5


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.05)
