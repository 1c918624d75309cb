"""stylecore in ONNX: the feature extractor, timed honestly, and stylization with onnxruntime alone.

This package imports stylecore, never the other way; `runtime`, `precisions` and the command line start without torch.
The wheel installs it as `stylecore_export`, so that its modules import each other by relative names alone.
"""
