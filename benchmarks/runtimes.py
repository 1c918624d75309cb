"""Exported files against other people's runtimes: which run them, how exactly, how fast beside onnxruntime.

python -m benchmarks.runtimes [-o docs/benchmarks/export]     # minutes; a runtime that is missing is said to be

Writes runtimes.json, the record, and runtimes.md, a view of it.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from stylecore_export.bundle import bundle_config, export_bundle
from stylecore_export.extractor import ExtractorOptions, export_extractor
from stylecore_export.mobile import check_mobile
from stylecore_export.record import Latency
from stylecore_export.runtime import Array, Bundle, ModelError, Values, open_session
from stylecore_export.runtimes import RUNTIMES, MissingRuntimeError, Ran, run_on
from stylecore_export.verify import relative_error

from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.images import resize_image
from stylecore.report import Table, document
from stylecore.sample_images import load_photo, load_style

FOLDER = Path("docs/benchmarks/export")
SIDE_PX = 64  # the reference evaluator takes many minutes for 256 px
REPEATS = {"reference": 0}  # its speed says nothing
MORE_REPEATS = 20
NETWORKS = {
    "vgg16-fp32": ExtractorOptions(size=SIDE_PX),
    "vgg16-fp16": ExtractorOptions(size=SIDE_PX, precision="fp16"),
    "vgg16-int8": ExtractorOptions(size=SIDE_PX, precision="int8"),
    "vgg16-x2-fp32": ExtractorOptions(size=SIDE_PX, encoder="vgg16-x2"),
    "vgg16-x2-int8": ExtractorOptions(size=SIDE_PX, encoder="vgg16-x2", precision="int8"),
}
MOBILE_COLUMNS = {
    "provider": "provider",
    "partitions": "partitions",
    "nodes it takes": "supported",
    "of": "nodes",
    "worth trying": "verdict",
    "operators in its way": "preventing",
}


def files(folder: Path) -> Iterator[tuple[str, Path, list[Values]]]:
    """Name, file and feeds of everything that is exported: extractors, and the two graphs of a bundle."""
    image = resize_image(load_photo("astronaut"), SIDE_PX, SIDE_PX)
    for name, options in NETWORKS.items():
        path = folder / f"{name}.onnx"
        yield name, path if path.exists() else export_extractor(options, path), [options.feeds(image)]
    bundle_folder = export_bundle(bundle_config(), folder / "bundle")
    step_inputs: list[Values] = []

    class Watched(Bundle):
        def _step(self, inputs: Values) -> Values:
            step_inputs.append(inputs)
            return super()._step(inputs)

    style = resize_image(load_style("flow_strokes"), SIDE_PX, SIDE_PX)
    list(Watched(bundle_folder).stylize_steps(image.numpy(), style.numpy(), size=SIDE_PX, num_steps=4))
    yield "targets", bundle_folder / "targets.onnx", [{"image": image.numpy()}]
    yield "step", bundle_folder / "step.onnx", step_inputs[-1:]


def try_runtimes(path: Path, feeds: list[Values]) -> Iterator[dict[str, Any]]:
    """Each runtime on a file, beside onnxruntime."""
    expected = run_on("onnxruntime", path, feeds, MORE_REPEATS)
    for name in RUNTIMES:
        try:
            ran = run_on(name, path, feeds, REPEATS.get(name, MORE_REPEATS))
        except MissingRuntimeError as error:
            yield {"runtime": name, "missing": str(error)}
        except ModelError as error:
            yield {"runtime": name, "refused": str(error).replace(str(path), path.name)}
        else:
            yield {
                "runtime": name,
                "version": ran.version,
                "error": largest_error(ran, expected),
                "milliseconds": ran.milliseconds,
                "onnxruntime_milliseconds": expected.milliseconds,
            }


def largest_error(ran: Ran, expected: Ran) -> float:
    """Over all outputs; infinite where one is missing."""
    pairs = zip(ran.outputs, expected.outputs, strict=True)
    errors = [_error(value, same) for found, wanted in pairs for value, same in zip(found, wanted, strict=True)]
    return max(errors)


def _error(value: Array, reference: Array) -> float:
    """Relative, of what has a size: a state of zeros is compared as it is."""
    return relative_error(value, reference) if np.any(reference) else float(np.abs(value).max())


def sides_of(path: Path, feed: Values) -> dict[str, int]:
    """px of the file's dynamic sides, by name, as that feed has them."""
    nodes = open_session(path).get_inputs()
    return {
        name: side
        for node in nodes
        for name, side in zip(node.shape, feed[node.name].shape, strict=True)
        if isinstance(name, str)
    }


def to_markdown(record: dict[str, Any]) -> str:
    """The record as tables."""
    where = record["environment"]
    headings = ["file", *(runtime.title for runtime in RUNTIMES.values())]
    rows = [[file["name"], *map(_cell, file["runtimes"])] for file in record["files"]]
    versions = {
        row["runtime"]: row["version"] for file in record["files"] for row in file["runtimes"] if "version" in row
    }
    refused = [
        f"- {file['name']}: {row.get('refused') or row['missing']}"
        for file in record["files"]
        for row in file["runtimes"]
        if "version" not in row
    ]
    mobile = [
        (
            file["name"],
            *((found | {"preventing": ", ".join(found["preventing"])})[key] for key in MOBILE_COLUMNS.values()),
        )
        for file in record["files"]
        for found in file["mobile"]
    ]
    return document(
        "# Exported files and other people's runtimes",
        f"Made by `python -m benchmarks.runtimes`. {where['cpu']}, {where['system']}, one thread; "
        f"{', '.join(f'{RUNTIMES[name].title} {version}' for name, version in versions.items())}. Files for "
        f"{SIDE_PX} px. The largest relative error of an output against onnxruntime's, and its median time over "
        "onnxruntime's.",
        Table.of(headings, rows),
        *(["\n".join(dict.fromkeys(refused))] if refused else []),
        "## Mobile accelerators",
        "By onnxruntime's usability checker, without a phone, of files with fixed sizes. Each partition costs two "
        "copies; one is best.",
        Table.of(["file", *MOBILE_COLUMNS], mobile, left=["provider", "worth trying", "operators in its way"]),
    )


def _cell(row: dict[str, Any]) -> str:
    if "version" not in row:
        return "missing" if "missing" in row else "refused"
    if not row["milliseconds"]:
        return f"{row['error']:.1e}"
    ratio = Latency(row["milliseconds"]).median / Latency(row["onnxruntime_milliseconds"]).median
    return f"{row['error']:.1e}, {ratio:.2f} times"


def measure(folder: Path) -> dict[str, Any]:
    """The record, ready for JSON."""
    found = [
        {
            "name": name,
            "runtimes": list(try_runtimes(path, feeds)),
            "mobile": [asdict(verdict) for verdict in check_mobile(path, sides_of(path, feeds[0]))],
        }
        for name, path, feeds in files(folder)
    ]
    return {"kind": "runtimes", "environment": environment(torch.device("cpu")), "files": found}


def main(
    models: Annotated[
        Path | None, typer.Option(help="A folder that keeps the files: those that are there stay.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of both files.")] = FOLDER,
) -> None:
    """Try them, write the record and its view, and print the view."""
    with tempfile.TemporaryDirectory() as temporary:
        record = measure(models or Path(temporary))
    view = to_markdown(record)
    write_json(output / "runtimes.json", record, indent=None)
    write_file(output / "runtimes.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
