"""What the page makes of a comparison: variants with pictures of their own, those that fail, no visitor's names."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from torch import Tensor

from demo import comparing, examples
from demo.server.settings import Settings
from demo.variants import Asked, Change, make_grid, make_variants
from stylecore import StylizeConfig
from stylecore.compare import Comparison
from stylecore.encoders import Encoder
from stylecore.errors import NotEnoughMemoryError
from stylecore.images import load_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun

OPTIONS: dict[str, Any] = {"preset": "gatys", "size": 64, "num_steps": 2, "dtype": "float32"}
AXES = {"style": ["flow_strokes", "own"], "strength": ["40", "90"]}


@pytest.fixture
def asked(make_image: Callable[..., Tensor]) -> Asked:
    """Two styles by two strengths of a visitor's own photo; one of the styles is a visitor's too."""
    photo, own = make_image(), make_image(seed=1)

    def job_of(change: Change, config: StylizeConfig) -> Job:
        if change["style"] == "own":
            return Job(photo, (own,), config, ("IMG 2034.jpg", "my daughter.png"))
        path = examples.STYLES[change["style"]]
        return Job(photo, (load_image(path),), config, ("IMG 2034.jpg", path.name))

    return make_variants(Settings(), OPTIONS, make_grid(AXES), job_of)


@pytest.fixture
def comparison(asked: Asked, tmp_path: Path, tiny_everywhere: Encoder) -> Comparison:
    job = asked.variants[0].job
    assert job is not None
    return Comparison(job, asked.variants, tmp_path, encoder=tiny_everywhere, goes_on=True)


def run(comparison: Comparison) -> Comparison:
    for _ in comparison.run():
        pass
    return comparison


def test_every_variant_has_its_own_pictures_and_is_measured_against_them(comparison: Comparison) -> None:
    records = run(comparison).records
    assert [record.name for record in records] == [
        "Flowing strokes strength 40", "own strength 40", "Flowing strokes strength 90", "own strength 90",
    ]  # fmt: skip
    assert records[0].inputs != records[1].inputs
    for record, variant in zip(records, comparison.variants, strict=True):
        alone = MeasuredRun(comparison.job_of(variant), encoder=comparison._given_encoder).to_end()
        assert record.style_distance == pytest.approx(alone.distances.style, rel=1e-3)
    again = Comparison(
        comparison.job, comparison.variants, comparison.folder, encoder=comparison._given_encoder, goes_on=True
    )
    assert [event.step for event in again.run()] == [None] * 4, "what is there already is not run again"


def test_the_page_holds_own_pictures_only_if_that_was_agreed_to(comparison: Comparison, asked: Asked) -> None:
    grid = asked.grid(AXES)
    run(comparison)
    assert comparing.has_own_pictures(comparison)
    assert comparing.title(comparison) == "A photo in the manner of 2 pictures"
    for with_own, expected in ((False, ["Style"]), (True, ["Photo", "Style", "Style 2"])):
        text = comparing.page_of(comparison, grid, with_own=with_own)
        shown = re.findall(r'<img data-picture alt="([^"]+)"', text)
        assert shown == [*expected, *asked.names]
        for name in ("IMG", "2034", "daughter"):
            assert name not in text
    assert re.findall(r'<th scope="(?:col|row)"><small>(\w+)</small>([^<]+)', text) == [
        ("Style", "Flowing strokes"), ("Style", "own"), ("Strength", "40"), ("Strength", "90"),
    ]  # fmt: skip


def test_a_variant_that_fails_is_shown_with_its_sentence(
    comparison: Comparison, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_variant = Comparison._run_variant

    def fails(self: Comparison, variant: Any) -> Any:
        if variant.name == "own strength 40":
            raise NotEnoughMemoryError("This needs 9 GiB: choose <64> px.")
        yield from run_variant(self, variant)

    monkeypatch.setattr(Comparison, "_run_variant", fails)
    events = [event for event in comparison.run() if event.step is None]
    assert [event.record is not None for event in events] == [True, False, True, True]
    text = comparing.page_of(comparison, asked.grid(AXES), with_own=False)
    assert text.count("This needs 9 GiB: choose &lt;64&gt; px.") == 1
    assert len(re.findall("<img data-picture", text)) == 1 + 3
    comparison.goes_on, comparison.troubles = False, {}
    with pytest.raises(NotEnoughMemoryError):
        run(comparison)


def test_what_was_not_run_says_why(comparison: Comparison, asked: Asked) -> None:
    for event in comparison.run():
        if event.record is not None:
            break
    pictures = {event.variant.name: "/a picture.png"}
    grid = asked.grid(AXES)
    assert comparing.filling_in(comparison, pictures, grid, event).count(comparing.WAITS) == 3
    sheet = comparing.finished(comparison, pictures, grid, "You have used your time.")
    assert sheet.count("You have used your time.") == 3
    assert "gradio_api/file=/a%20picture.png" in sheet
    text = comparing.page_of(comparison, grid, with_own=False, trouble="You have used your time.")
    assert text.count("You have used your time.") == 3
