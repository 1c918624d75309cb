"""Where Hugging Face Spaces starts the demo; everywhere else, `python -m demo` does. See docs/hosting.md."""

import os

from demo.app import build_app, launch

if __name__ == "__main__":
    app = build_app()
    launch(app, host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), port=int(os.environ.get("PORT", "7860")))
    app.block_thread()
