"""What a visitor is told when something goes wrong: the one place where such sentences are made."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from stylecore.errors import OutputError, StylecoreError
from stylecore.files import reason

from .export_package import export_errors

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_IS_FULL = "The server's disk is full for now: try again later."
NOT_STORED = "The server cannot store files for now: try again later."
UNFORESEEN = "The server failed at this: try again, or with other settings."
# Absolute, in quotes or bare; no part of an address or of a fraction.
QUOTED_PATH = re.compile(r"'(?:/|~/|[A-Za-z]:[\\/])[^']*'")
BARE_PATH = re.compile(r"(?<![\w:/.'~])(?:~?/|[A-Za-z]:[\\/])[^\s'\"<>|,;:]*[^\s'\"<>|,;:.)]")

_log = logging.getLogger(__name__)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Show whatever goes wrong as one sentence: without it, Gradio would tell no more than that there was an error."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(message_of(error), print_exception=False) from error


def message_of(error: Exception) -> str:
    """One sentence for a visitor. It names no folder of the server, and what nobody foresaw goes to the log."""
    if isinstance(error, gr.Error):
        return without_folders(str(error.message))
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in FULL_DISK:
        return DISK_IS_FULL
    if isinstance(error, OutputError):
        _log.error(
            "a file could not be stored: %s", reason(cause if isinstance(cause, OSError) else error)
        )  # without its name, which is a visitor's
        return NOT_STORED
    if isinstance(error, (StylecoreError, *export_errors())):
        return without_folders(str(error))
    _log.error("a job failed", exc_info=error)
    return UNFORESEEN


def without_folders(message: str) -> str:
    """The message with no more of each absolute path than its last name."""
    message = QUOTED_PATH.sub(lambda path: f"'{_last_name(path[0][1:-1])}'", message)
    return BARE_PATH.sub(lambda path: _last_name(path[0]), message)


def _last_name(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
