"""The app: its page, its endpoints, and how it is served."""

import gradio as gr

from demo import api, examples, look
from demo.serving import ONE_JOB
from demo.stylize_tab import StylizeTab

MAX_WAITING = 8  # jobs in the queue; beyond, Gradio says that it is full
MAX_UPLOAD = "32mb"
CHECK_FILES_EVERY_S, KEEP_FILES_S = 10 * 60, 60 * 60  # uploads, frames and results are deleted after an hour


def build_app() -> gr.Blocks:
    """The page and the endpoints, not yet served."""
    with gr.Blocks(title="stylecore", analytics_enabled=False, delete_cache=(CHECK_FILES_EVERY_S, KEEP_FILES_S)) as app:
        gr.Markdown(
            "# stylecore\nRepaint a photo in the manner of another picture, and watch it happen: "
            "neural style transfer by optimisation.",
            elem_id="title",
        )
        StylizeTab()
        gr.Markdown(examples.CREDITS, elem_id="credits")
        gr.api(api.stylize, api_name="stylize", **ONE_JOB)
    return app.queue(max_size=MAX_WAITING)


def launch(app: gr.Blocks, *, host: str, port: int, share: bool = False, prevent_thread_lock: bool = False) -> str:
    """Serve the app and return its local address: when it ends, or at once with `prevent_thread_lock`."""
    _, url, _ = app.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=look.THEME,
        css=look.CSS,
        max_file_size=MAX_UPLOAD,
        footer_links=["api", "gradio"],
        run_history=False,  # it would keep everybody's pictures in the browser
        prevent_thread_lock=prevent_thread_lock,
    )
    return url
