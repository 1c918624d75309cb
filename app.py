"""Where Hugging Face Spaces starts the demo; everywhere else, `stylecore demo` does. See docs/hosting.md."""

import os

from demo.__main__ import app

if __name__ == "__main__":
    app(["--host", os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), "--port", os.environ.get("PORT", "7860")])
