"""int8 files on x86 without VNNI, under emulation: sums of 16 bits saturate there, for which an extractor's weights are
too small."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from stylecore_export.extractor import ExtractorOptions, export_extractor
from stylecore_export.precisions import PRECISIONS
from stylecore_export.verify import check_images, relative_error

from stylecore.encoders import load_encoder

EMULATOR = "qemu-x86_64"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"needs {EMULATOR} (Debian: apt-get install qemu-user)"),
]
HASWELL = """
import sys
import numpy as np
import onnxruntime
model, feeds, outputs = sys.argv[1:]
session = onnxruntime.InferenceSession(model)  # with no option of ours
np.savez(outputs, *session.run(None, dict(np.load(feeds))))
"""


def outputs_on_haswell(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    np.savez(folder / "feeds.npz", **feeds)
    words = [str(model), str(folder / "feeds.npz"), str(folder / "outputs.npz")]
    command = [EMULATOR, "-cpu", "Haswell", sys.executable, "-c", HASWELL, *words]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    with np.load(folder / "outputs.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def test_a_factorised_file_keeps_its_tolerance(tmp_path: Path) -> None:
    options = ExtractorOptions(encoder="vgg16-x2", precision="int8", size=128)
    model = export_extractor(options, tmp_path / "model.onnx")
    encoder, image = load_encoder(options.encoder), check_images(options)[0]
    expected, feeds = options.reference(encoder)(image), options.feeds(image)
    found = outputs_on_haswell(model, feeds, tmp_path)
    assert max(map(relative_error, found, expected)) <= PRECISIONS["int8"].tolerance_of(encoder)
