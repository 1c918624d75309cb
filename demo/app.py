"""The app: its page, its endpoints, and how it is served."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from demo import api, examples, theme
from demo.components.job_inputs import JobInputs
from demo.components.url_state import Address, choice_control
from demo.server import cleanup
from demo.server.cleanup import EVERY_S, KEEP_FILES_S
from demo.server.middleware import Door, fetch_nothing, refuse
from demo.server.models import Models
from demo.server.queue import Worker
from demo.server.quota import Meter
from demo.server.settings import Limits
from demo.server.shared_results import KeptResults
from demo.server.uploads import AT_ONCE, ONE_JOB
from demo.tabs.compare import CompareTab
from demo.tabs.edge import EdgeTab
from demo.tabs.how import HowTab
from demo.tabs.stylize import StylizeTab

MAX_WAITING = 8  # jobs in the queue; beyond, Gradio says that it is full
MAX_UPLOAD = "32mb"
MAX_SESSIONS = 64  # remembered, the last used; each call of a program is one, and holds a quarter of a megabyte
TABS = {"stylize": "Stylize", "compare": "Compare", "edge": "Edge", "how": "How it works"}
PRIVACY = (
    "Your pictures and results are seen by nobody else and deleted after an hour; a result that you share, by its link "
    "alone, after a day."
)


def build_app(kept_folder: Path | None = None, models_folder: Path | None = None) -> gr.Blocks:
    """The page and the endpoints, not yet served; the folders are for shared results and for exported models."""
    kept, models = KeptResults(kept_folder), Models(models_folder)
    with gr.Blocks(title="stylecore", analytics_enabled=False, delete_cache=(EVERY_S, KEEP_FILES_S)) as app:
        gr.Markdown(
            "# stylecore\nRepaint a photo in the manner of another picture, and watch it happen: "
            "neural style transfer by optimisation.",
            elem_id="title",
        )
        notice = gr.HTML(visible=False, elem_id="notice")
        with gr.Row():
            with gr.Column(scale=5, min_width=320, elem_id="inputs"):
                inputs = JobInputs()
            with gr.Column(scale=7, min_width=320), gr.Tabs() as tabs:
                with gr.Tab(TABS["stylize"], id="stylize") as stylize_tab:
                    stylize = StylizeTab(inputs, kept)
                with gr.Tab(TABS["compare"], id="compare") as compare_tab:
                    compare = CompareTab(inputs)
                with gr.Tab(TABS["edge"], id="edge") as edge_tab:
                    edge = EdgeTab(inputs, models)
                with gr.Tab(TABS["how"], id="how") as how_tab:
                    HowTab()
        gr.Markdown(f"{PRIVACY} {examples.CREDITS}", elem_id="credits")
        tab = _tab_name(tabs, {"stylize": stylize_tab, "compare": compare_tab, "edge": edge_tab, "how": how_tab})
        controls = inputs.controls | compare.controls | stylize.controls
        address = Address(app, controls | {"tab": choice_control(tab, "tab", [*TABS])}, inputs.complete, notice)
        stylize.link_with(address)
        edge.show_on(address.restored)
        gr.api(api.stylize, api_name="stylize", **ONE_JOB)
        gr.api(api.compare, api_name="compare", **ONE_JOB)
        gr.api(api.benchmark_with(models), api_name="benchmark", **ONE_JOB)
    fetch_nothing()
    Worker().put_on(app)
    Meter(Limits.from_environment()).put_on(app)
    cleanup.start(app, kept)
    # Else a call of /run would start a job at once, past the queue and the limits.
    return app.queue(max_size=MAX_WAITING, api_open=False)


def _tab_name(tabs: gr.Tabs, by_name: dict[str, gr.Tab]) -> gr.Textbox:
    """The open tab's name as a component that the address can read and set: Gradio's tabs have no value."""
    name = gr.Textbox("stylize", visible="hidden")
    for each, tab in by_name.items():
        tab.select(lambda each=each: each, None, name, **AT_ONCE)
    name.change(lambda each: gr.Tabs(selected=each), name, tabs, **AT_ONCE)
    return name


def launch(
    app: gr.Blocks,
    *,
    host: str,
    port: int,
    share: bool = False,
    mcp: bool = False,
    login: tuple[str, str] | None = None,
) -> tuple[str, str | None]:
    """Serve the app in the background; returns its local address, and the public one if there is one.

    Where no public link can be made, Gradio says why, and the app is served locally all the same.
    """
    _, url, public_url = app.launch(
        server_name=host,
        server_port=port,
        share=share,
        mcp_server=mcp,
        auth=login,
        theme=theme.THEME,
        css=theme.CSS,
        max_file_size=MAX_UPLOAD,
        state_session_capacity=MAX_SESSIONS,
        app_kwargs={
            "middleware": [Middleware(Door, blocks=app, limits=Limits.from_environment())],
            "exception_handlers": {RequestValidationError: refuse},
        },
        footer_links=["api", "gradio"],
        run_history=False,  # it would keep everybody's pictures in the browser
        enable_monitoring=False,  # it would log a link to who did what
        quiet=True,
        prevent_thread_lock=True,
    )
    return url, public_url
