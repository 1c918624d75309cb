"""The Gradio demo: a page on top of `stylecore`. Start it with `python -m demo`."""

import os

# Gradio and the Hugging Face client read these when first imported: the page calls no other host unless asked to share.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
