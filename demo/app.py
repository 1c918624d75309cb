"""The app: its page, its endpoints, and how it is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from . import examples, front, theme
from .api import Endpoints
from .components.job_inputs import JobInputs
from .components.url_state import UrlState, choice_control
from .server import cleanup, gradio_internals, shared_pages
from .server.middleware import Compression, PageHead, RequestLimits, SecurityHeaders, refuse_invalid
from .server.queue import AT_ONCE
from .server.services import Services
from .server.settings import Settings
from .tabs import TABS, Tab

MAX_WAITING = 8  # jobs in the queue; beyond, Gradio says that it is full
MAX_UPLOAD = "32mb"
MAX_SESSIONS = 64  # remembered, the last used; each call of a program is one, and holds a quarter of a megabyte
LICENCE = "[MIT licence](https://opensource.org/license/mit)"
TITLE = (
    "# stylecore\nRepaint a photo in the manner of another picture, and watch it grow: a sketch in seconds, finer for "
    "as long as you like."
)
PRIVACY = (
    "Your pictures and results are seen by nobody else and deleted after an hour. What you share is seen by those who "
    "have its link, for {:g} days or until you take it back; your own pictures are in it only if you say so."
)


class Page(gr.Blocks):
    """The page, and what its parts share."""

    services: Services


def build_app(settings: Settings) -> Page:
    """The page and the endpoints, not yet served. Raises an OptionError for a folder that cannot be written."""
    services = Services(settings)
    with Page(title="stylecore", analytics_enabled=False, delete_cache=(cleanup.EVERY_S, cleanup.MAX_AGE_S)) as app:
        app.services = services
        gr.Markdown(TITLE, elem_id="title")
        notice = gr.HTML(visible=False, elem_id="notice")
        with gr.Row(elem_id="workspace"):
            with gr.Column(scale=5, min_width=320, elem_id="inputs"):
                inputs = JobInputs(settings, services.timings)
            with gr.Column(scale=7, min_width=320), gr.Tabs() as bar:
                tabs = [tab(inputs, services) for tab in TABS]
        gr.Markdown(f"{PRIVACY.format(settings.shared_days)} {examples.CREDITS} {links(settings)}", elem_id="credits")
        controls = dict(inputs.controls)
        for tab in tabs:
            controls |= tab.controls
        controls["tab"] = choice_control(_open_tab(bar, tabs), "tab", [tab.name for tab in tabs])
        url_state = UrlState(app, controls, notice)
        inputs.check_when_chosen(notice)
        for tab in tabs:
            tab.connect(url_state)
        Endpoints(services)
    gradio_internals.fetch_nothing()
    cleanup.start(app, services.shared_results)
    # Else a call of /run would start a job at once, past the queue and the limits.
    app.queue(max_size=MAX_WAITING, api_open=False)
    return app


def links(settings: Settings) -> str:
    """The licence, and where the source is known, that; a Space can be duplicated."""
    space = os.environ.get("SPACE_ID")
    at_home = f"https://huggingface.co/spaces/{space}"
    source = settings.source or (f"{at_home}/tree/main" if space else "")
    links = [f"[Source]({source})"] * bool(source) + [LICENCE]
    return " · ".join(links + [f"[Duplicate this Space]({at_home}?duplicate=true)"] * bool(space))


def _open_tab(bar: gr.Tabs, tabs: Sequence[Tab]) -> gr.Textbox:
    """The open tab's name as a component that the address can read and set: Gradio's tabs have no value."""
    name = gr.Textbox(tabs[0].name, visible="hidden")
    for tab in tabs:
        tab.container.select(lambda name=tab.name: name, None, name, **AT_ONCE)
    name.change(lambda name: gr.Tabs(selected=name), name, bar, **AT_ONCE)
    return name


def launch(
    app: Page,
    settings: Settings,
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
        head=theme.HEAD + theme.DROP + theme.FOCUS,
        max_file_size=MAX_UPLOAD,
        state_session_capacity=MAX_SESSIONS,
        app_kwargs={
            "middleware": [
                Middleware(SecurityHeaders),
                Middleware(Compression, minimum_size=1024),
                Middleware(RequestLimits, settings=settings, num_jobs=partial(gradio_internals.num_jobs, app)),
                Middleware(PageHead, head=front.head),
            ],
            "routes": [front.ROUTE, *shared_pages.routes(app.services.shared_results, app.services.votes)],
            "exception_handlers": {RequestValidationError: refuse_invalid},
        },
        footer_links=["api", "gradio"],
        run_history=False,  # it would keep everybody's pictures in the browser
        enable_monitoring=False,  # it would log a link to who did what
        quiet=True,
        prevent_thread_lock=True,
    )
    return url, public_url


def close(app: Page, grace_s: int) -> None:
    """Stop serving, within the current step of the job at work, and delete what visitors sent and got."""
    gradio_internals.close(app, grace_s)
    app.services.close()
