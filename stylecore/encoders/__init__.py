"""The networks that compare images: VGG-16 and VGG-19, and cheaper ones that keep their features."""

from stylecore.encoders.vgg import (
    ARCHITECTURES,
    POOLINGS,
    STYLE_LAYERS,
    Architecture,
    Encoder,
    Layer,
    Pooling,
    check_resolution,
    make_conv,
)
from stylecore.encoders.weights import (
    ENCODERS,
    EncoderSpec,
    architecture_of,
    fetch_weights,
    find_encoder,
    load_encoder,
    weights_architecture,
)

__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "POOLINGS",
    "STYLE_LAYERS",
    "Architecture",
    "Encoder",
    "EncoderSpec",
    "Layer",
    "Pooling",
    "architecture_of",
    "check_resolution",
    "fetch_weights",
    "find_encoder",
    "load_encoder",
    "make_conv",
    "weights_architecture",
]
