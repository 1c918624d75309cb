"""What is deleted when: nothing of a visitor outlives its time, even where a server was killed."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import gradio as gr
from gradio.utils import get_upload_folder

from demo.server.shared_results import KeptResults

EVERY_S = 10 * 60
KEEP_FILES_S = 60 * 60  # uploads, frames and results
FOLDER = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")  # of `serving.new_file`, and of Gradio's uploads and copies
COMPARISONS = "stylecore-compare-"  # temporary folders of running ones


def start(app: gr.Blocks, kept: KeptResults) -> None:
    """Delete what is old now, and from now on, as long as the process lives."""

    def work() -> None:
        while True:
            kept.delete_old()
            delete_leftovers(app)
            time.sleep(EVERY_S)

    Thread(target=work, name="housekeeping", daemon=True).start()


def delete_leftovers(app: gr.Blocks) -> None:
    """Delete old files of the upload folder. Gradio does so, but only with those that its own process has put there."""
    examples = {file for block in app.blocks.values() for file in getattr(block, "keep_in_cache", ())}
    for folder in Path(get_upload_folder()).glob("*/"):
        if FOLDER.fullmatch(folder.name):
            for path in folder.iterdir():
                if _is_old(path) and str(path) not in examples:
                    path.unlink(missing_ok=True)
            if _is_old(folder):
                with suppress(OSError):  # it is not empty
                    folder.rmdir()
    for folder in Path(tempfile.gettempdir()).glob(f"{COMPARISONS}*/"):
        if _is_old(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_old(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_ctime > KEEP_FILES_S
    return False
