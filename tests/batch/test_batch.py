"""Many results: which there shall be, that each is made once, and that nothing but a failed one is lost."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stubs import die_always, die_once, write_line
from torch import Tensor

from stylecore.batch import (
    Task,
    find_pictures,
    make_result,
    plan_pairs,
    plan_products,
    read_pairs,
    run_here,
    run_processes,
    write_sheet,
)
from stylecore.cli import main
from stylecore.cli.batch import _repeated
from stylecore.compare import make_variants
from stylecore.engine import prepare_encoder
from stylecore.errors import ImageError, OptionError, OutputError
from stylecore.images import load_image, read_settings, save_image
from stylecore.job import SavedSettings
from stylecore.storage import Storage, list_pictures, read_picture

SMALL: dict[str, Any] = {"size": 64, "num_steps": 3, "device": "cpu", "dtype": "float32"}
VARIANTS = make_variants({"preset": "draft", **SMALL})
OPTIONS = ["--preset", "draft", "--size", "64", "--steps", "3", "--set", "dtype=float32"]


@pytest.fixture
def pictures(make_image: Callable[..., Tensor], tmp_path: Path) -> tuple[Path, Path]:
    """Folders of two photos and two styles."""
    folders = tmp_path / "photos", tmp_path / "styles"
    for number, folder in enumerate(folders):
        folder.mkdir()
        for name in "ab":
            save_image(make_image(seed=2 * number + (name == "b")), folder / f"{name}{number}.png")
    return folders


@pytest.fixture
def tasks(pictures: tuple[Path, Path]) -> list[Task]:
    found = (find_pictures([str(folder)], "photo") for folder in pictures)
    return plan_products(*found, VARIANTS)


def stub_tasks(*rows: str) -> list[Task]:
    return [Task(row, "s", VARIANTS[0].config, f"{row}.png", row, "s") for row in rows]


# Which results


def test_files_folders_and_patterns_name_pictures(pictures: tuple[Path, Path]) -> None:
    photos = pictures[0]
    (photos / "notes.txt").touch()
    (photos / ".hidden.png").touch()
    both = [str(photos / "a0.png"), str(photos / "b0.png")]
    assert find_pictures([str(photos)], "photo") == both
    assert find_pictures([str(photos / "*.png")], "photo") == both
    assert find_pictures([both[1], str(photos)], "photo") == both[::-1]


@pytest.mark.parametrize("name", ["empty", "no*.jpg", "gone.png"])
def test_a_name_of_no_picture_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="name pictures, folders or patterns"):
        find_pictures([str(tmp_path / name)], "photo")


def test_every_photo_comes_in_every_style_and_variant() -> None:
    variants = make_variants({"preset": "draft", **SMALL}, ["gram", "pca"])
    planned = plan_products(["x/one.jpg", "two.jpg"], ["s.jpg"], variants)
    assert [task.file for task in planned] == [
        "one__s__gram.png", "one__s__pca.png", "two__s__gram.png", "two__s__pca.png",
    ]  # fmt: skip
    assert [(task.row, task.column) for task in planned][:2] == [("one", "s, gram"), ("one", "s, pca")]


def test_names_that_differ_by_an_underscore_have_rows_of_their_own() -> None:
    planned = plan_products(["a_b.jpg", "a b.jpg"], ["s.jpg"], VARIANTS)
    assert len({task.row for task in planned}) == len({task.file for task in planned}) == 2


def test_photos_of_one_name_are_told_by_their_folders() -> None:
    files = {task.file for task in plan_products(["x/p.jpg", "y/P.png", "q.png"], ["s.jpg"], VARIANTS)}
    assert files == {"x-p__s.png", "y-P__s.png", "q__s.png"}
    with pytest.raises(OptionError, match=r"'x/p.jpg' and 'x/p.png' would have one name"):
        plan_products(["x/p.jpg", "x/p.png"], ["s.jpg"], VARIANTS)


def test_pairs_are_read_beside_their_table(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("style,photo,note\ns.jpg,a.jpg,x\n/t.jpg,b.jpg,\n")
    pairs = read_pairs(table)
    assert pairs == [(str(tmp_path / "a.jpg"), str(tmp_path / "s.jpg")), (str(tmp_path / "b.jpg"), "/t.jpg")]
    assert [task.file for task in plan_pairs(pairs, VARIANTS)] == ["a__s.png", "b__t.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("foto,style\na,b\n", "no column 'photo'"), ("photo,style\n", "has no pairs"), ("photo,style\na,\n", "Line 2"),
     ("photo,style\na\n", "Line 2"), ("", "has no pairs"), ("photo,style\n\xff\x00", "name a CSV file")],
)  # fmt: skip
def test_a_table_without_pairs_is_refused(text: str, words: str, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_bytes(text.encode("latin-1"))
    with pytest.raises(OptionError, match=words):
        read_pairs(table)


def test_styles_take_all_names_up_to_the_next_option() -> None:
    given = ["p", "--styles", "a", "b", "--size", "64", "q", "--styles", "c"]
    expected = ["p", "--styles", "a", "--styles", "b", "--size", "64", "q", "--styles", "c"]
    assert list(_repeated(given, "--styles")) == expected


# One result


def test_a_result_is_made_once_and_says_what_made_it(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path)
    monkeypatch.chdir(tmp_path)
    named = {"photo": "photos/a0.png", "style": "styles/a1.png"}
    tasks = [Task(**{**vars(tasks[0]), **named})]
    first, second = (make_result(tasks[0], place) for _ in range(2))
    assert (first.made, second.made) == (True, False)
    assert first.record == second.record
    assert first.record["num_steps"] == 3
    saved = SavedSettings.read(tmp_path / tasks[0].file)
    assert saved.config == tasks[0].config.to_dict()
    assert [path.name for path in saved.find_pictures()] == ["a0.png", "a1.png"]


def test_other_pictures_settings_weights_or_damage_make_it_anew(
    tasks: list[Task], make_image: Callable[..., Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, place = tasks[0], str(tmp_path)
    target = tmp_path / task.file
    make_result(task, place)
    longer = Task(**{**vars(task), "config": task.config.replace(num_steps=4)})
    assert make_result(longer, place).made
    assert make_result(task, place).made
    target.write_bytes(target.read_bytes()[:-200])
    assert make_result(task, place).made
    save_image(load_image(target), target)  # without settings
    assert make_result(task, place).made
    save_image(make_image(seed=7), task.photo)
    os.utime(task.photo, ns=(1, 1))
    assert make_result(task, place).made
    encoder = prepare_encoder(task.config)
    monkeypatch.setattr(encoder, "checksum", "another")
    assert make_result(task, place).made


def test_a_picture_that_moved_is_the_same_picture(tasks: list[Task], tmp_path: Path) -> None:
    make_result(tasks[0], str(tmp_path))
    moved = Path(tasks[0].photo).rename(tmp_path / "elsewhere.png")
    assert not make_result(Task(**{**vars(tasks[0]), "photo": str(moved)}), str(tmp_path)).made


def test_what_a_user_can_mend_fails_alone(tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(tasks[0].photo).write_text("no picture")
    outcomes = list(run_here(tasks, str(tmp_path)))
    assert [bool(outcome.error) for outcome in outcomes] == [True, True, False, False]
    assert "convert it" in outcomes[0].error

    def full(*_: object) -> None:
        raise OutputError("'x' could not be written: No space left on device.")

    monkeypatch.setattr(Storage, "write", full)
    (tmp_path / tasks[2].file).unlink()
    assert "No space left" in make_result(tasks[2], str(tmp_path)).error
    assert not (tmp_path / tasks[2].file).exists()


# Where they lie


@pytest.mark.parametrize("kind", ["folder", "memory", "file"])
def test_a_place_keeps_files_by_name(kind: str, tmp_path: Path) -> None:
    place = {"folder": str(tmp_path / "new"), "memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}"}[kind]
    storage = Storage(place)
    storage.prepare()
    assert storage.read("x.png") is None
    storage.write("x.png", b"one")
    storage.write("x.png", b"two")
    storage.write("photos/y.png", b"three")
    assert (storage.read("x.png"), storage.read("photos/y.png")) == (b"two", b"three")


def test_pictures_and_results_may_lie_where_fsspec_reaches(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    photo = Storage(f"memory://in-{tmp_path.name}")
    photo.write("one.png", (pictures[0] / "a0.png").read_bytes())
    photo.write("notes.txt", b"")
    found = find_pictures([photo.place], "photo")
    assert [each.rpartition("/")[2] for each in found] == ["one.png"]
    assert list_pictures(found[0]) is None
    place = f"memory://out-{tmp_path.name}"
    (task,) = plan_products(found, [str(pictures[1] / "a1.png")], VARIANTS)
    assert make_result(task, place).made
    assert not make_result(task, place).made
    data = Storage(place).read(task.file)
    assert data is not None
    assert read_settings(data)["record"]["num_steps"] == 3
    with pytest.raises(ImageError, match="There is no image"):
        read_picture(f"{photo.place}/gone.png")


@pytest.mark.parametrize("place", ["zz://x/y", "s3://x/y"])
def test_an_unknown_place_is_refused(place: str) -> None:
    with pytest.raises(OutputError, match=r"another package|no address"):
        Storage(place)


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "no/where", "file/below"):
        with pytest.raises(OutputError, match=r"folder|cannot be"):
            Storage(str(tmp_path / place)).prepare()


# Side by side


def test_processes_make_what_one_makes(tasks: list[Task], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    expected = {outcome.task.file for outcome in run_here(tasks, str(here))}
    found = {outcome.task.file for outcome in run_processes(tasks, str(there), 2) if outcome.made}
    assert found == expected
    for name in expected:
        assert float((load_image(here / name) - load_image(there / name)).abs().mean()) < 0.01  # threads differ


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    planned = stub_tasks("a", "b", "deadly", "c", "d", "e")
    outcomes = list(run_processes(planned, str(tmp_path), 2, make=die_once))
    assert sorted(outcome.task.row for outcome in outcomes) == sorted(task.row for task in planned)
    assert not any(outcome.error for outcome in outcomes)
    assert (tmp_path / "deadly.png.made").read_text().count("\n") == 1


@pytest.mark.slow
def test_a_task_that_kills_its_workers_fails_alone(tmp_path: Path) -> None:
    outcomes = list(run_processes(stub_tasks("a", "deadly", "b", "c"), str(tmp_path), 1, make=die_always))
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [outcome.task.row for outcome in failed] == ["deadly"]
    assert "3 times" in failed[0].error
    assert {outcome.task.row for outcome in outcomes} == {"a", "b", "c", "deadly"}


def test_a_runner_can_be_abandoned(tmp_path: Path) -> None:
    outcomes = run_processes(stub_tasks(*map(str, range(20))), str(tmp_path), 1, make=write_line)
    next(outcomes)
    outcomes.close()
    assert len(list(tmp_path.glob("*.png"))) < 20


# The sheet and the command


def test_the_sheet_shows_every_result_and_why_there_is_none(tasks: list[Task], tmp_path: Path) -> None:
    Path(tasks[0].photo).write_text("no picture")
    storage = Storage(str(tmp_path / "out"))
    storage.prepare()
    write_sheet(storage, tasks, list(run_here(tasks[:-1], storage.place)))
    page = (tmp_path / "out" / "index.html").read_text()
    assert 'src="b0__a1.png"' in page
    assert 'src="photos/b0.jpg"' in page
    assert "is not an image we can read" in page
    assert "1 result, 2 failed, 1 not made yet" in page
    lines = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == ["b0__a1.png"]
    assert (tmp_path / "out" / "failures.jsonl").read_text().count("\n") == 2


def test_the_command_goes_on_where_it_was(
    pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, styles = map(str, pictures)
    (tmp_path / "photos" / "c0.png").write_text("no picture")
    command = ["batch", photos, "--styles", styles, "-o", str(tmp_path / "out"), "--json", *OPTIONS]
    summaries = []
    for _ in range(2):
        assert main(command) == 1
        summaries.append(json.loads(capsys.readouterr().out))
    assert [(each["results"], each["made"], each["failed"]) for each in summaries] == [(4, 4, 2), (4, 0, 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["x.png"], "--styles"), ([], "Name photos"), (["--styles", "x"], "Name photos"),
     (["x.png", "--styles", "x", "--pairs", "p.csv"], "leave out"), (["--pairs", "gone.csv"], "name a CSV file")],
)  # fmt: skip
def test_what_is_missing_is_said(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
