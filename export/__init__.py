"""stylecore in ONNX: the feature extractor, timed honestly, and stylization with onnxruntime alone.

This package imports stylecore, never the other way; `runtime` and the command line start without torch.
"""
