"""The Gradio demo: a page on top of `stylecore`. Start it with `python -m demo`."""

import os
import tempfile
from pathlib import Path

# Gradio and the Hugging Face client read these when first imported: the page calls no other host unless asked to share.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# For a monitoring page that is never served, Gradio would evaluate the last 10,000 jobs after each.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
# Not the folder that all Gradio apps of a machine share: the demo deletes what is old in it.
os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "stylecore-demo"))
