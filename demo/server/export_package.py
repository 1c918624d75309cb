"""The package that exports networks, whose modules are imported where they are used: the page needs no onnxruntime.

It stands beside this one: `export` beside `demo` in a checkout, `stylecore_export` beside `stylecore_demo` once
installed. No relative import can name it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from stylecore.errors import OptionError

NAME = __name__.partition(".")[0].replace("demo", "export")


def import_export(module: str) -> Any:
    """A module of the package. Raises an OptionError where what it needs is not installed."""
    try:
        return import_module(f"{NAME}.{module}")
    except ModuleNotFoundError as error:
        raise OptionError(
            f"This server cannot export models for want of {error.name}: it needs pip install 'stylecore[export]'."
        ) from error


def export_errors() -> tuple[type[Exception], ...]:
    """The package's own errors, which can only have been raised if it was imported."""
    runtime: Any = sys.modules.get(f"{NAME}.runtime")
    return (runtime.ModelError,) if runtime else ()
