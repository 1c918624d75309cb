"""What is painted over a photo: a mask by its checksum, in the job, the address and the PNG's settings."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from PIL import Image
from torch import Tensor

import stylecore
from demo import examples
from demo.components.job_inputs import JobInputs
from demo.server.folders import new_file
from demo.server.paintings import MASK_PX, Paintings
from demo.server.settings import Settings
from demo.server.timings import Timings
from stylecore import ImageError, OptionError
from stylecore.images import save_image
from stylecore.job import SavedSettings

SIZE = (640, 480)  # as PIL has it: width, height


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "browser" not in request.keywords:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


def layer(box: tuple[int, int, int, int] | None, size: tuple[int, int] = SIZE) -> dict[str, str]:
    """A transparent upload, painted within the box."""
    image = Image.new("RGBA", size)
    if box is not None:
        image.paste((255, 45, 85, 153), box)
    path = new_file("layer_0.png")
    image.save(path)
    return {"path": str(path)}


LEFT = (0, 0, 320, 480)


@pytest.fixture
def inputs() -> JobInputs:
    with gr.Blocks():
        return JobInputs(Settings(), Timings())


@pytest.fixture
def values_of(inputs: JobInputs) -> Callable[..., dict[Any, Any]]:
    """values_of(**by name of the control) -> what the page would send."""

    def make(**named: Any) -> dict[Any, Any]:
        values = {control.component: None for control in inputs.controls.values()}
        chosen = {"size": 64, "preset": "draft", "strength": 55, "keep_colors": "none", "components": "12.5%"}
        chosen |= {"style_scale": 1, "seed": 0, "share": 1, "share2": 1, "share3": 1, "painted": "keep", "mask": ""}
        chosen |= {"photo": {"path": examples.served("chelsea")}, "style": {"path": examples.served("pointillism")}}
        return values | {inputs.controls[name].component: value for name, value in (chosen | named).items()}

    return make


def test_a_painting_is_a_mask_whatever_the_brushs_opacity() -> None:
    paintings = Paintings()
    mask = paintings.mask(paintings.add([layer(LEFT)])).image
    assert max(mask.shape) == MASK_PX
    assert float(mask[..., :250].min()) == 1
    assert float(mask[..., 262:].max()) == 0
    both = paintings.mask(paintings.add([layer(LEFT), layer((320, 0, 640, 480))])).image
    assert float(both.min()) == 1


def test_the_same_painting_has_the_same_checksum_and_another_another() -> None:
    paintings = Paintings()
    first, second, other = (paintings.add([layer(box)]) for box in (LEFT, LEFT, (0, 0, 640, 200)))
    assert first == second != other


@pytest.mark.parametrize("layers", [[], [None], [layer], "nonsense"])
def test_what_is_no_painting_is_one_sentence(layers: Any) -> None:
    made = [layer(None)] if layers == [layer] else layers
    with pytest.raises(ImageError):
        Paintings().add(made)


def test_limits_hold_for_paintings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the server's own, and none larger than a picture may be."""
    outside = tmp_path.parent / "secret.png"
    Image.new("RGBA", SIZE).save(outside)
    with pytest.raises(ImageError, match="The painting must be an uploaded file"):
        Paintings().add([{"path": str(outside)}])
    with pytest.raises(ImageError, match="Hardly anything is painted yet"):
        Paintings().add([layer((0, 0, 4, 4))])
    large = layer(LEFT)
    monkeypatch.setattr("stylecore.pixels.MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="pixels"):
        Paintings().add([large])


def test_what_is_painted_keeps_the_photo_or_gets_style_2(
    inputs: JobInputs, values_of: Callable[..., dict[Any, Any]]
) -> None:
    mask = inputs.painter.paintings.add([layer(LEFT, (451, 300))])
    (region,) = inputs.read_job(values_of(mask=mask)).regions
    assert (region.weight, region.style) == (0.0, None)
    second = {"path": examples.served("woodblock_waves")}
    job = inputs.read_job(values_of(mask=mask, painted="second", style2=second))
    assert (len(job.styles), job.config.style_weights, job.regions[0].weight) == (1, (), 1.0)
    mixed = inputs.read_job(values_of(style2=second, painted="second"))
    assert (len(mixed.styles), mixed.regions) == (2, ())
    with pytest.raises(OptionError, match="What is painted gets style 2: choose it under Mix in more styles"):
        inputs.read_job(values_of(mask=mask, painted="second"))


def test_a_painting_of_another_photo_and_one_that_is_gone_are_one_sentence(
    inputs: JobInputs, values_of: Callable[..., dict[Any, Any]]
) -> None:
    paintings = inputs.painter.paintings
    mask = paintings.add([layer(LEFT, (300, 300))])
    with pytest.raises(OptionError, match="of a photo of another shape: paint again"):
        inputs.read_job(values_of(mask=mask))
    paintings.path(mask).unlink()
    for read in (lambda: inputs.read_job(values_of(mask=mask)), lambda: inputs.controls["mask"].read(mask)):
        with pytest.raises(OptionError, match="This painting is gone"):
            read()


def test_the_settings_in_a_png_name_it_by_its_checksum(
    inputs: JobInputs, values_of: Callable[..., dict[Any, Any]], tmp_path: Path, make_image: Callable[..., Tensor]
) -> None:
    mask = inputs.painter.paintings.add([layer(LEFT, (451, 300))])
    second, third = ({"path": examples.served(name)} for name in ("woodblock_waves", "ink_marbling"))
    named = {"mask": mask, "painted": "second", "style2": second, "style3": third, "share": 0.5}
    job = inputs.read_job(values_of(**named))
    assert job.settings()["regions"][0]["mask"]["checksum"] == mask
    path = save_image(make_image(), tmp_path / "out.png", job.settings())
    texts = inputs.saved_settings(SavedSettings.read(path))
    found = {name: texts[name] for name in ("painted", "mask", "style", "style2", "style3", "share", "share3")}
    assert found == {
        "painted": "second", "mask": mask, "style": "pointillism", "style2": "woodblock_waves",
        "style3": "ink_marbling", "share": "0.5", "share3": "1",
    }  # fmt: skip
    inputs.painter.paintings.path(mask).unlink()
    assert inputs.saved_settings(SavedSettings.read(path))["mask"] == ""


def test_no_page_keeps_pictures_in_the_servers_memory(inputs: JobInputs) -> None:
    """Gradio's editor has an endpoint that takes anything from anybody, into memory; only marked functions are one."""
    assert not hasattr(inputs.painter.editor.accept_blobs, "_is_server_fn")
    assert hasattr(gr.ImageEditor.accept_blobs, "_is_server_fn"), "Gradio has changed: what marks an endpoint?"


# ---- in a browser


@pytest.fixture
def visit(browser: Any, serve_demo: Callable[..., SimpleNamespace]) -> Iterator[Callable[..., Any]]:
    """visit(query, width) -> the loaded page."""
    contexts = []
    served = serve_demo()

    def open_it(query: str, width: int) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 844}))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{served.url}/{query}")
        page.wait_for_function("location.search.includes('tab=')")
        return page

    yield open_it
    for context in contexts:
        context.close()


def setting(page: Any, name: str) -> str:
    return parse_qs(page.evaluate("location.search.slice(1)"), keep_blank_values=True).get(name, [""])[0]


@pytest.mark.browser
def test_a_face_is_painted_on_a_phone_and_keeps_the_photo(visit: Callable[..., Any], tmp_path: Path) -> None:
    query = "?size=64&num_steps=3&preset=draft&photo=chelsea"
    page = visit(query, 390)
    page.locator("#painter .label-wrap").click()
    page.get_by_role("button", name="Paint on the photo").click()
    canvas = page.locator("#canvas canvas").first
    canvas.wait_for()
    page.wait_for_timeout(2500)  # its toolbar and picture
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Use what is painted").click()
    page.get_by_text("of the photo is painted").wait_for()
    end = time.monotonic() + 20
    while not setting(page, "mask") and time.monotonic() < end:
        page.wait_for_timeout(100)
    mask = setting(page, "mask")
    assert len(mask) == 12
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Stylize", exact=True).click()
    page.get_by_text("Done after").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    download.value.save_as(tmp_path / "out.png")
    (region,) = stylecore.read_settings(tmp_path / "out.png")["regions"]
    assert (region["mask"]["checksum"], region["weight"]) == (mask, 0.0)
    visitor = visit(f"{query}&mask={mask}", 1280)
    assert setting(visitor, "mask") == mask
