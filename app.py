"""Where Hugging Face Spaces starts the demo; everywhere else, `stylecore demo` does. See docs/hosting.md."""

import os

from stylecore.program import starting

with starting("stylecore demo"):
    from demo.app import build_app, launch
    from demo.server.settings import Settings

if __name__ == "__main__":
    settings = Settings.read()
    app = build_app(settings)
    host, port = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), int(os.environ.get("PORT", "7860"))
    launch(app, settings, host=host, port=port)
    app.block_thread()
