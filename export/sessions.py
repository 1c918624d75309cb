"""onnxruntime sessions: opened with clear errors, and proof of where they run. Needs no torch."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .runtime import ModelError, Values, open_session, session_config

METADATA_PREFIX = "stylecore."  # before every key of ours in a file's metadata

# What onnxruntime can run on: as typed on the command line -> its own name.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}


def check_provider(provider: str) -> str:
    """onnxruntime's name of a provider. Raises a ModelError if it is unknown."""
    if provider not in PROVIDERS:
        near = get_close_matches(provider, PROVIDERS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(PROVIDERS)}."
        raise ModelError(f"Unknown provider '{provider}': {hint}")
    return PROVIDERS[provider]


def is_built_in(provider: str) -> bool:
    """Whether this onnxruntime was built with the provider: necessary for running on it, and no proof of it."""
    return check_provider(provider) in ort.get_available_providers()


def session_environment() -> dict[str, Any]:
    """What a figure of onnxruntime's speed depends on besides the machine."""
    return {"onnxruntime": ort.__version__, "numpy": np.__version__, "session_config": session_config()}


def session_on(
    path: Path, provider: str = "cpu", num_threads: int = 1, options: Mapping[str, str] | None = None
) -> ort.InferenceSession:
    """A session that was asked to run on `provider`. It may have fallen back to the CPU, see `profile_providers`."""
    return open_session(path, num_threads, _providers(provider, options or {}))


def _providers(provider: str, options: Mapping[str, str]) -> list[Any]:
    """The provider, if it is there, and the CPU for what it cannot run."""
    asked = [(check_provider(provider), dict(options))] if is_built_in(provider) else []
    return asked if provider == "cpu" else [*asked, (PROVIDERS["cpu"], {})]


def read_metadata(session: ort.InferenceSession) -> dict[str, str]:
    """What this project wrote into the file's metadata; empty for any other file. Raises a ModelError for bytes that
    are no text."""
    try:
        pairs = session.get_modelmeta().custom_metadata_map.items()
    except UnicodeDecodeError as error:
        raise ModelError("The file's metadata is no text: it is damaged, so export it again.") from error
    return {key.removeprefix(METADATA_PREFIX): value for key, value in pairs if key.startswith(METADATA_PREFIX)}


def profile_providers(path: Path, provider: str, feeds: Values) -> dict[str, int]:
    """Microseconds of kernels by the provider that really executed them, as onnxruntime's profiler saw one run.

    `get_available_providers` lists what was compiled in, and `get_providers` what a session tried: only the profile of
    a run proves where its nodes ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path, 1, _providers(provider, {}), str(Path(folder) / "profile"))
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _sum_by_provider(events)


def _sum_by_provider(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    microseconds: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and "provider" in event.get("args", {}):
            microseconds[event["args"]["provider"]] += max(1, event["dur"])
    return dict(microseconds)


def busiest_provider(microseconds: Mapping[str, int]) -> str:
    """The provider that did most of the work, as typed on the command line."""
    names = {name: provider for provider, name in PROVIDERS.items()}
    name = max(microseconds, key=lambda key: microseconds[key])
    return names.get(name, name)
