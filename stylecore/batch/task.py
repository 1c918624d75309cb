"""One result of many: what each worker does, wherever it runs.

A result is its PNG: the settings inside say what made it, and its record. So nothing is there by half, and whoever
comes later needs no table to know what is done.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecore.batch.plan import Task
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, prepare_encoder, run_to_end
from stylecore.errors import ImageError, StylecoreError
from stylecore.files import changed_ns
from stylecore.images import ImageTensor, encode_png, load_image, read_settings
from stylecore.job import RECORD_KEY, Job
from stylecore.reuse import reusing
from stylecore.storage import REMOTE, Storage, read_picture

KEPT_MIB = 1024  # of decoded pictures, in a process: the next task has the same photo, a later one the same style
LEAST_KEPT_MIB = 16  # that each counts for: what is known of it lies beside it


@dataclass(frozen=True)
class Outcome:
    """What came of a task."""

    task: Task
    record: dict[str, Any]  # JSON-ready; of a failed one the sentence is its `error`
    made: bool = True  # False: it was there already, or failed

    @property
    def error(self) -> str:
        """Why there is no result; empty if there is one."""
        return str(self.record.get("error", ""))

    @classmethod
    def failed(cls, task: Task, error: str) -> Outcome:
        """Of a task without a result, and the sentence that says why."""
        return cls(task, task.named | {"error": error}, made=False)


def make_result(task: Task, place: str) -> Outcome:
    """Make a task's result at `place`, unless one of the same settings, pictures and weights is there.

    Whatever of a picture does not depend on the other, such as a style's moments at a size, is computed for the first
    task that has it. What a user can mend fails this task alone, in a sentence; nothing is raised for it.
    """
    try:
        with reusing():
            return _make_result(task, Storage(place))
    except StylecoreError as error:
        return Outcome.failed(task, str(error))


def _make_result(task: Task, storage: Storage) -> Outcome:
    encoder = prepare_encoder(task.config, task.weights)
    job = Job(load_picture(task.photo), (load_picture(task.style),), task.config, (task.photo, task.style))
    record = _record_there(storage.read(task.file), job, encoder)
    if record is not None:
        return Outcome(task, task.named | record, made=False)
    result = run_to_end(job, job_steps(job, encoder=encoder))
    record = {
        "seconds": round(result.seconds, 4),
        "num_steps": result.num_steps,
        "size_px": list(job.size),
        "encoder_checksum": encoder.checksum,
    }
    storage.write(task.file, encode_png(result.image, job.settings() | {RECORD_KEY: record}, job.result_alpha()))
    return Outcome(task, task.named | record)


def _record_there(data: bytes | None, job: Job, encoder: Encoder) -> dict[str, Any] | None:
    """The record inside a PNG; None if there is no such PNG, or it was made from something else, whatever that is
    called now."""
    if data is None:
        return None
    try:
        settings = read_settings(data)
    except ImageError:
        return None
    record = settings.get(RECORD_KEY)
    if not isinstance(record, dict) or record.get("encoder_checksum") != encoder.checksum:
        return None
    return record if _what_decides(settings) == _what_decides(json.loads(json.dumps(job.settings()))) else None


def _what_decides(settings: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The config and the pictures' checksums."""
    return settings.get("config"), [source.get("checksum") for source in settings.get("inputs", [])]


_pictures: OrderedDict[tuple[str, int], ImageTensor] = OrderedDict()  # the last used at the end


def load_picture(place: str) -> ImageTensor:
    """A photo or style; the last `KEPT_MIB` of them are kept, one in any case."""
    key = (place, 0 if REMOTE in place else changed_ns(Path(place)))
    if key not in _pictures:
        _pictures[key] = load_image(read_picture(place))
    _pictures.move_to_end(key)
    while len(_pictures) > 1 and sum(map(_counted_mib, _pictures.values())) > KEPT_MIB:
        _pictures.popitem(last=False)
    return _pictures[key]


def _counted_mib(picture: ImageTensor) -> float:
    return max(LEAST_KEPT_MIB, picture.nbytes / 2**20)
