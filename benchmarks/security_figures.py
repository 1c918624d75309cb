"""The figures of docs/security.md, from the records of `make soak` and `make load`.

python -m benchmarks.security_figures     # writes docs/security/figures.md from the records beside it
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stylecore.files import write_file, write_json
from stylecore.report import Table, document

FOLDER = Path(__file__).parent.parent / "docs" / "security"
Record = Mapping[str, Any]


def write_record(record: Record, path: Path) -> None:
    """Write a record, and the page of figures beside it anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    write(path.parent)


def write(folder: Path = FOLDER) -> None:
    """figures.md, from the records in its folder."""
    write_file(folder / "figures.md", render(folder).encode())


def render(folder: Path) -> str:
    """The page. A record that is not there leaves its part out."""
    parts = [part for name in PARTS for part in _part(name, folder / f"{name}.json")]
    opening = "Made from the records beside it; `make load` and `make soak` measure anew."
    return document("# What was measured", opening, *parts)


def _part(name: str, path: Path) -> list[str | Table]:
    if not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = Table.of(["", "measured"], PARTS[name](record).items(), left=["measured"])
    return [f"## `make {name}`", f"On {_where(record)}.", rows]


def load(record: Record) -> dict[str, str]:
    """What became of the crowd."""
    visits, memory, killed, page = (record[name] for name in ("visits", "memory_mib", "killed", "page_s"))
    refused = sum(count for name, count in visits.items() if name.startswith("refused"))
    broken = sum(count for name, count in visits.items() if name.startswith("trouble"))
    return {
        "visitors, seconds": f"{record['clients']}, {record['seconds']:g}",
        "jobs finished; lost or swapped": f"{visits['finished']}; {visits.get('lost', 0) + visits.get('swapped', 0)}",
        "jobs refused, as the queue was full": f"{refused}",
        "cancelled; disconnected": f"{visits.get('cancelled', 0)}; {visits.get('disconnected', 0)}",
        "garbage sent": f"{visits.get('garbage', 0)}",
        "tracebacks sent; logged": f"{visits.get('traceback sent', 0)}; {record['tracebacks_logged']}",
        "connections that broke": f"{broken}",
        "the page, median and slowest": f"{page['median']:.2f} s, {page['slowest']:.2f} s",
        "server's memory when started; after the warm-up": f"{memory['started']}; {memory['after_warm_up']} MiB",
        "in the middle; at the end; at most": f"{memory['middle']}; {memory['end']}; {memory['most']} MiB",
        "when all had left": f"{memory['idle']} MiB",
        "killed in the middle of jobs: results shared; links that opened again": (
            f"{killed['shared']}; {killed['opened']}"
        ),
        "files stored; broken": f"{killed['stored']}; {killed['broken']}",
    }


def soak(record: Record) -> dict[str, str]:
    """What many jobs left behind."""
    memory = record["memory_mib"]
    on_gpu = "there is none" if memory["gpu_end"] is None else f"{memory['gpu_end']} MiB"
    return {
        "jobs in one process": f"{record['jobs']}",
        "memory after the warm-up; at the end; at most": (
            f"{memory['after_warm_up']}; {memory['end']}; {memory['most']} MiB"
        ),
        "of it on the GPU, at the end": on_gpu,
        "files left; files open; threads": f"{len(record['files_left'])}; {record['files_open']}; {record['threads']}",
    }


def _where(record: Record) -> str:
    found = record["environment"]
    return f"{found['device_name']}, {found['num_threads']} thread(s), torch {found['torch']}, {found['system']}"


PARTS: dict[str, Callable[[Record], dict[str, str]]] = {"load": load, "soak": soak}

if __name__ == "__main__":
    write()
