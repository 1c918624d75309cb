"""What is drawn from a comparison: all of it is there, and the page asks nobody for anything."""

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from stylecore.compare import Comparison, Record, make_variants
from stylecore.encoders import Encoder
from stylecore.job import Job
from stylecore.report import (
    Column,
    Picture,
    Table,
    chart,
    contact_sheet,
    curves_png,
    document,
    new_figure,
    results_table,
    seconds_text,
    speed_up,
    sweep_png,
    sweep_results_table,
    write_report,
    write_sweep_figure,
)
from stylecore.report.curves import curves_html
from stylecore.report.page import heading, inputs, results, sheet_png
from stylecore.sweep import sweep_table, sweep_variants

SMALL: dict[str, Any] = {"size": 64, "num_steps": 2, "encoder": "vgg16", "dtype": "float32", "device": "cpu"}
NAMES = ("photos/photo & co.png", "<style>.png")


@pytest.fixture
def build(make_image: Callable[..., Tensor], tmp_path: Path, tiny_everywhere: Encoder) -> Callable[..., Comparison]:
    """build(variants) -> a finished comparison of 64x48 images, with the tiny encoder everywhere."""

    def build(variants: list[Any], num_styles: int = 1, names: bool = True, **options: Any) -> Comparison:
        styles = tuple(make_image(40, 40, seed=seed) for seed in range(1, 1 + num_styles))
        job = Job(make_image(), styles, variants[0].config, (NAMES + NAMES[1:] * (num_styles - 1)) * names)
        comparison = Comparison(job, variants, tmp_path, encoder=tiny_everywhere, **options)
        for _ in comparison.run():
            pass
        return comparison

    return build


class _Page(HTMLParser):
    """Tags with their attributes, and the text outside script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_report_is_three_files(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram", "bn"]))
    assert [path.name for path in write_report(comparison)] == ["comparison.png", "curves.png", "index.html"]
    results = {variant.file_name for variant in comparison.variants}
    assert {path.name for path in comparison.folder.iterdir()} == {
        "comparison.png", "curves.png", "index.html", "results.json", *results,
    }  # fmt: skip


def test_the_page_holds_every_image_and_fetches_nothing(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram", "bn", "pca"], components=["20%", "50%"]), num_styles=2)
    write_report(comparison)
    text = (comparison.folder / "index.html").read_text(encoding="utf-8")
    outside = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert "://" not in outside
    assert not re.search(r"url\(|@import|<link|<iframe|fetch\(|src=\"?/", outside)
    page = _Page(text)
    images = [image for image in page.all("img") if image.get("src")]
    assert [image["alt"] for image in images] == [
        "content", "style 1", "style 2", "gram", "bn", "pca 20%", "pca 50%",
    ]  # fmt: skip
    assert len(re.findall("<path [^>]*d='M [0-9]", text)) == 2 * len(comparison.records), "a curve and its key each"
    for image, record in zip(images[3:], comparison.records, strict=True):
        shown = np.asarray(decoded(image["src"]), float)
        saved = np.asarray(Image.open(comparison.folder / record.image), float)
        assert shown.shape == saved.shape
        assert np.abs(shown - saved).mean() < 4


def test_the_page_says_what_was_measured(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram", "bn"]))
    write_report(comparison)
    words = " ".join(_Page((comparison.folder / "index.html").read_text(encoding="utf-8")).words)
    for record in comparison.records:
        for number in (record.style_distance, record.content_distance, record.witness_distance):
            assert f"{number:.3f}" in words
    assert "photo & co" in words
    assert "<style>" in words, "names are escaped, and read as they are"


def test_the_page_says_nothing_of_this_machines_folders(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram"]))
    write_report(comparison)
    for name in ("index.html", "results.json"):
        text = (comparison.folder / name).read_text(encoding="utf-8")
        assert str(comparison.folder) not in text
        assert str(Path.home()) + "/" not in text


def test_the_slider_is_a_labelled_range(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram"]))
    write_report(comparison)
    page = _Page((comparison.folder / "index.html").read_text(encoding="utf-8"))
    (slider,) = page.all("input")
    assert slider["type"] == "range"
    assert slider["aria-label"]
    assert [select["class"] for select in page.all("select")] == ["for-left", "for-right"]
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_the_sheet_holds_every_picture(build: Callable[..., Comparison]) -> None:
    """Each picture's own pixels are found on it, at the size that small pictures are brought to."""
    comparison = build(make_variants(SMALL | {"size": 240, "num_steps": 1}, ["gram", "bn"]))
    shown = [*inputs(comparison), *results(comparison)]
    assert [picture.title for picture in shown] == ["content", "style", "gram", "bn"]
    sheet = np.asarray(Image.open(io.BytesIO(sheet_png(shown, heading(comparison)))).convert("RGB"))
    for picture in shown:
        pixels = np.asarray(picture.image)
        rows, columns = np.nonzero((sheet == pixels[0, 0]).all(2))
        height, width = pixels.shape[:2]
        assert any(
            np.array_equal(sheet[y : y + height, x : x + width], pixels) for y, x in zip(rows, columns, strict=True)
        ), picture.title


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 23])
def test_a_sheet_of_any_number_of_pictures_is_no_strip(build: Callable[..., Comparison], count: int) -> None:
    picture = inputs(build(make_variants(SMALL, ["gram"])))[0]
    sheet = Image.open(io.BytesIO(sheet_png([picture] * count, ("A title " * 40, "and a line"))))
    assert 1 / 4 < sheet.width / sheet.height < 4


def test_headings_tell_what_and_where(build: Callable[..., Comparison]) -> None:
    comparison = build(make_variants(SMALL, ["gram"], ["gatys", "paper"]))
    title, line = heading(comparison)
    assert title == "Photo & co in the manner of <style>"
    assert line.startswith("64 px, 2 evaluations, preset gatys, paper, ")
    comparison = build(comparison.variants, names=False)
    assert heading(comparison)[0] == "One photo, several variants"
    assert [picture.lines[0] for picture in [*inputs(comparison), *results(comparison)][:2]] == ["content", "style"]


def test_speed_up_is_against_the_full_gram_or_else_the_slowest(build: Callable[..., Comparison]) -> None:
    (record,) = build(make_variants(SMALL, ["gram"])).records
    gram, slow, fast = (
        dataclasses.replace(record, name=name, loss=loss, seconds=seconds)
        for name, loss, seconds in (("gram", "gram", 4.0), ("slow", "bn", 8.0), ("fast", "bn", 2.0))
    )
    assert [speed_up(r, [fast, slow, gram]) for r in (gram, slow, fast)] == [1, 0.5, 2]
    assert [speed_up(r, [fast, slow]) for r in (slow, fast)] == [1, 4]


def test_seconds_have_the_digits_that_one_run_can_tell() -> None:
    seconds = (0.0456, 0.456, 0.996, 2.0, 9.96, 12.34, 151.4)
    assert [seconds_text(s) for s in seconds] == ["0.05 s", "0.46 s", "1.0 s", "2.0 s", "10 s", "12 s", "150 s"]


def test_curves_can_be_drawn_of_anything(build: Callable[..., Comparison]) -> None:
    (record,) = build(make_variants(SMALL, ["gram"])).records
    flat = dataclasses.replace(record, name="flat", curve=[[1.0, 0.2]])
    none = dataclasses.replace(record, name="none", curve=[])
    many: list[Record] = [dataclasses.replace(record, name=f"variant {index}") for index in range(14)]
    for records in ([record], [flat, none], many):
        assert Image.open(io.BytesIO(curves_png(records))).width > 1000
        assert curves_html(records).count("<li>") == sum(bool(each.curve) for each in records)
    assert curves_html([none]) == ""


def test_a_sweep_is_drawn_with_a_panel_for_each_option(build: Callable[..., Comparison]) -> None:
    comparison = build(sweep_variants(SMALL, ["0", "50%"], ["energy:0.9", "mean:0.5"]), results_name="sweep.json")
    rows = sweep_table(comparison)
    assert write_sweep_figure(comparison, rows).name == "sweep.png"
    assert len(sweep_results_table(rows).cells) == len(rows) == 5
    with Image.open(comparison.folder / "sweep.png") as picture:
        both = picture.width
    one = Image.open(io.BytesIO(sweep_png([row for row in rows if row["loss"] != "svd"]))).width
    assert one < both


# The parts, whatever they show

SMALL_TABLE = Table.of(
    {"what": "`{}`", "ms": "{:.1f}", "note": "{}"}, [("a|b", 1.26, None), ("c", None, "[red]")], ["note"]
)


def test_a_table_reads_the_same_everywhere() -> None:
    assert SMALL_TABLE.columns[1] == Column("ms", "{:.1f}", "right")
    assert SMALL_TABLE.markdown().splitlines() == [
        "| what | ms | note |", "| --- | ---: | --- |", r"| `a\|b` | 1.3 |  |", "| `c` |  | [red] |",
    ]  # fmt: skip
    assert SMALL_TABLE.csv() == "what,ms,note\na|b,1.26,\nc,,[red]\n", "full precision"
    view = SMALL_TABLE.rich()
    assert [column.justify for column in view.columns] == ["left", "right", "left"]
    assert [str(cell) for cell in view.columns[2].cells] == ["", "[red]"], "brackets are no markup"


def test_a_row_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Table.of(["a", "b"], [("only one",)]).markdown()


def test_a_document_wraps_its_sentences_and_nothing_else() -> None:
    long = "word " * 40
    text = document(f"# {long}", f"{long} 12 %", f"- {long}\n- short", Table.of([long], [(long,)]), f"![{long}](x.png)")
    heading_, paragraph, items, table, picture = text.strip().split("\n\n")
    assert len(heading_) > 120 < len(picture)
    assert max(map(len, paragraph.splitlines())) <= 120
    assert [line[:2] for line in items.splitlines()] == ["- ", "  ", "- "]
    assert len(table.splitlines()) == 3
    for width in range(100, 121):  # wherever the line ends
        assert "\n%" not in document("x" * width + " 1 % of it " + long)


def test_a_chart_leaves_matplotlibs_settings_alone() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)

    @chart
    def one_line(number: int) -> Any:
        figure, ((axes,),) = new_figure(2, 1)
        axes.plot(range(number))
        return figure

    image = Image.open(io.BytesIO(one_line(3)))
    assert image.size == (320, 160)
    assert dict(mpl.rcParams) == before


def test_a_sheet_without_captions_is_pictures_and_gaps_alone() -> None:
    picture = Picture(Image.new("RGB", (30, 20), "red"))
    sheet = contact_sheet([[picture, picture], [picture]], 30, margin_px=0, gap_px=6)
    assert sheet.size == (66, 46)
    assert sheet.getpixel((65, 19)) == (255, 0, 0)
    assert sheet.getpixel((65, 30)) != (255, 0, 0)


def test_rows_of_a_sheet_are_as_high_as_their_own_pictures() -> None:
    tall, flat = (Picture(Image.new("RGB", size, "red"), "t", ("line",)) for size in ((10, 40), (40, 10)))
    both = contact_sheet([[tall], [flat]], 40).height
    assert contact_sheet([[tall], [tall]], 40).height - both == both - contact_sheet([[flat], [flat]], 40).height == 30


def test_the_results_table_marks_what_diverged(build: Callable[..., Comparison]) -> None:
    (record,) = build(make_variants(SMALL, ["gram"])).records
    table = results_table([record, dataclasses.replace(record, name="pca", diverged=True, detail=None)])
    assert [cells[0] for cells in table.cells] == ["gram", "pca (diverged)"]
    assert [cells[-1] for cells in table.cells] == ["1.00", ""]
