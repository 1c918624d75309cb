"""Make `stylecore/weights/photo_grams.safetensors`: how Grams vary from photo to photo, for the Fisher weights.

Mean and variance of every Gram entry at relu1_1 .. relu5_1 over the fitting photos, bfloat16 (entries pass fp16's
range, and a weight needs two digits).

    python -m tools.build_photo_statistics
"""

import torch
from safetensors.torch import save_file

from stylecore.encoders import STYLE_LAYERS, load_encoder
from stylecore.images import fit_image
from stylecore.losses.statistics import gram_matrix
from stylecore.losses.weighted import PHOTO_STATISTICS
from stylecore.sample_images import FITTING, load_photo

SIZE_PX = 256


def main() -> None:
    encoder = load_encoder("vgg16")
    grams: dict[str, list[torch.Tensor]] = {layer: [] for layer in STYLE_LAYERS}
    for name in FITTING:
        photo = load_photo(name)
        features = encoder(fit_image(photo, SIZE_PX), STYLE_LAYERS)
        for layer in STYLE_LAYERS:
            grams[layer].append(gram_matrix(features[layer])[0].double())
    tensors = {}
    for layer, found in grams.items():
        stacked = torch.stack(found)
        tensors[f"{layer}.mean"] = stacked.mean(0).bfloat16()
        tensors[f"{layer}.variance"] = stacked.var(0, correction=0).bfloat16()
    metadata = {"architecture": encoder.architecture.name, "checksum": encoder.checksum, "photos": ",".join(FITTING)}
    save_file(tensors, PHOTO_STATISTICS, metadata=metadata)
    print(f"{PHOTO_STATISTICS.name}: {PHOTO_STATISTICS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
