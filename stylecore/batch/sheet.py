"""What a batch leaves beside its results: records, failures, and one page that shows all. Made from outcomes alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from PIL import Image

from stylecore.batch.plan import Task
from stylecore.batch.task import Outcome, load_picture
from stylecore.errors import StylecoreError
from stylecore.files import plain_name
from stylecore.images import fit_size, image_size, resize_image, to_uint8
from stylecore.report.gallery import PHOTO, gallery_html
from stylecore.report.sheets import jpeg
from stylecore.report.viewer import View
from stylecore.storage import Storage

RECORDS, FAILURES, PAGE = "records.jsonl", "failures.jsonl", "index.html"
PHOTOS = "photos"  # the folder of what the page shows beside the results
MOST_ROWS = 200  # on the page: a browser shows some thousand pictures, not a million


def write_sheet(storage: Storage, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    """records.jsonl and failures.jsonl in the tasks' order, and index.html of the first rows.

    Raises:
        OutputError: they cannot be written.
    """
    found = {outcome.task.file: outcome for outcome in outcomes}
    ordered = [found[task.file] for task in tasks if task.file in found]
    for name, failed in ((RECORDS, False), (FAILURES, True)):
        lines = (json.dumps(each.record) + "\n" for each in ordered if bool(each.error) is failed)
        storage.write(name, "".join(lines).encode())
    rows = list(dict.fromkeys(task.row for task in tasks))[:MOST_ROWS]
    columns = list(dict.fromkeys(task.column for task in tasks))
    by_place = {(task.row, task.column): task for task in tasks}
    views = []
    for row in rows:
        of_row = [by_place.get((row, column)) for column in columns]
        views.append(_photo_view(storage, next(filter(None, of_row))))
        views += [_view(row, column, task, found) for column, task in zip(columns, of_row, strict=True)]
    num_rows = len({task.row for task in tasks})
    num_failed, num_left = sum(bool(each.error) for each in ordered), len(tasks) - len(ordered)
    line = _counted(len(ordered) - num_failed, "result")
    line += f", {num_failed} failed" if num_failed else ""
    line += f", {num_left} not made yet" if num_left else ""
    line += f"; the first {MOST_ROWS} of {num_rows} photos, all are in {RECORDS}" if num_rows > MOST_ROWS else ""
    title = f"{_counted(num_rows, 'photo')} in {_counted(len(columns), 'style')}"
    storage.write(PAGE, gallery_html(title, line, rows, [PHOTO, *columns], views).encode())


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _view(row: str, column: str, task: Task | None, found: dict[str, Outcome]) -> View:
    name = f"{row}, {column}"
    if task is None:
        return View(name, trouble="not asked for")
    outcome = found.get(task.file)
    if outcome is None:
        return View(name, trouble="not made yet")
    if outcome.error:
        return View(name, trouble=outcome.error)
    height, width = outcome.record["size_px"]
    return View(name, quote(task.file), (width, height), (f"{outcome.record['seconds']:.2g} s",))


def _photo_view(storage: Storage, task: Task) -> View:
    """The photo at its results' size, as a file beside them."""
    name = f"{task.row}, the photo"
    try:
        photo = load_picture(task.photo)
    except StylecoreError as error:
        return View(name, trouble=str(error))
    height, width = fit_size(image_size(photo), task.config.size)
    file = f"{PHOTOS}/{plain_name(task.row)}.jpg"
    storage.write(file, jpeg(Image.fromarray(to_uint8(resize_image(photo, height, width)))))
    return View(name, quote(file), (width, height))
