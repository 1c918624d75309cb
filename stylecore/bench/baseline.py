"""The reference as anybody would write it with torch alone, so that no speed-up is measured against a slow baseline."""

from __future__ import annotations

import itertools
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecore.encoders.vgg import STYLE_LAYERS, Encoder
from stylecore.images import ImageTensor

CONTENT_LAYER = "relu4_2"


def baseline_seconds(encoder: Encoder, content: ImageTensor, style: ImageTensor, num_evaluations: int) -> list[float]:
    """Seconds of each evaluation of Gatys' recipe with `torch.optim.LBFGS`, its own step included.

    Args:
        encoder: whose convolutions are used, nothing else of it; float32, channels-last.
        content, style: (1, 3, H, W) in [0, 1], of one device.
        num_evaluations: to time, after the first.
    """

    def features(image: Tensor) -> dict[str, Tensor]:
        x, found = (image / 255 - encoder.mean) * encoder.scale, {}
        for name, conv in encoder.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = found[name.replace("conv", "relu")] = F.relu(conv(x))
        return found

    def gram(feature: Tensor) -> Tensor:
        flat = feature[0].flatten(1)
        return flat @ flat.T / flat.shape[1]

    with torch.no_grad():
        grams = {layer: gram(feature) for layer, feature in features(style * 255).items() if layer in STYLE_LAYERS}
        target = features(content * 255)[CONTENT_LAYER]
    image = nn.Parameter(content * 255)
    optimizer = torch.optim.LBFGS([image], max_iter=num_evaluations + 1, history_size=100, tolerance_change=0)
    moments: list[float] = []

    def closure() -> Tensor:
        moments.append(time.perf_counter())
        optimizer.zero_grad()
        found = features(image)
        loss = F.mse_loss(found[CONTENT_LAYER], target)
        for layer, wanted in grams.items():
            loss = loss + 1e3 / len(wanted) ** 2 * F.mse_loss(gram(found[layer]), wanted)
        loss.backward()
        return loss

    optimizer.step(closure)
    moments.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(moments[1:])]
