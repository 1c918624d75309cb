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

from .gradio_internals import example_files
from .shared_results import SharedResults

EVERY_S = 10 * 60
MAX_AGE_S = 60 * 60  # of uploads, frames and results
FOLDER = re.compile(r"[0-9a-f]{32,64}")  # of `folders.new_file`, and of Gradio's uploads and copies
COMPARISONS = "stylecore-compare-"  # temporary folders of running ones


def start(app: gr.Blocks, shared_results: SharedResults) -> None:
    """Delete what is old now, and from now on, as long as the process lives."""

    def work() -> None:
        while True:
            shared_results.delete_old()
            delete_leftovers(app)
            time.sleep(EVERY_S)

    Thread(target=work, name="cleanup", daemon=True).start()


def delete_leftovers(app: gr.Blocks) -> None:
    """Delete old files of the upload folder. Gradio does so, but only with those that its own process has put there."""
    examples = example_files(app)
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
        return time.time() - path.lstat().st_ctime > MAX_AGE_S
    return False
