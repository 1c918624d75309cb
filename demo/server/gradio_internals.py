"""All that the demo relies on and Gradio does not promise: tests/test_demo_gradio.py fails where Gradio changes it."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import urlparse, urlunparse

import gradio as gr
import safehttpx
from gradio import networking, tunneling
from gradio.context import LocalContext
from gradio.route_utils import get_root_url
from starlette.requests import Request


def host_of(address: Any) -> str:
    """A visitor's host, from a Starlette address or ASGI's pair; "" for none."""
    return address[0] if address else ""


def current_visitor() -> str:
    """The host that the running event belongs to; "" outside of a request."""
    request = LocalContext.request.get(None)
    return host_of(request.client) if request else ""


def num_jobs(app: gr.Blocks, visitor: str) -> int:
    """A visitor's jobs in Gradio's queue, waiting and running."""
    queue = app._queue
    waiting = [event for each in queue.event_queue_per_concurrency_id.values() for event in each.queue]
    running = [event for job in queue.active_jobs for event in job or ()]
    return sum(host_of(event.request.client) == visitor for event in waiting + running)


def num_before(session: str) -> int | None:
    """How many jobs come before the one of a visitor's page that waits; None where none does."""
    app = LocalContext.blocks.get(None)
    if app is None:
        return None
    for each in app._queue.event_queue_per_concurrency_id.values():
        for place, event in enumerate(each.queue):
            if event.session_hash == session:
                return place + sum(job is not None for job in app._queue.active_jobs)
    return None


def is_admitted(request: Request) -> bool:
    """Whether a request may see what the page shows: where there is a login, Gradio's cookie says so."""
    app = request.app
    if app.auth is None and app.auth_dependency is None:
        return True
    cookies = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(request.cookies.get(name) in app.tokens for name in cookies)


def root_url(request: Request) -> str:
    """The page's own address as the visitor has it, without a slash at its end; proxies are looked through."""
    return get_root_url(request, request.url.path, request.app.root_path or request.scope.get("root_path"))


def example_files(app: gr.Blocks) -> set[str]:
    """Files in Gradio's cache that the page itself shows, and that must not be deleted."""
    return {file for block in app.blocks.values() for file in getattr(block, "keep_in_cache", ())}


def fetch_nothing() -> None:
    """Keep Gradio from fetching what a visitor names by a web address: into memory, whatever its size, or for others.

    It has no setting for that; all its fetching goes through these two functions of safehttpx.
    """

    async def refuse(*_: Any, **__: Any) -> NoReturn:
        raise gr.Error("A picture must be an uploaded file, not an address.", print_exception=False)

    safehttpx.get = safehttpx.async_validate_url = refuse


def renew_public_link(app: gr.Blocks) -> str:
    """A new tunnel to a served app in the place of a dead one; returns its address. Raises anything, as Gradio does."""
    for tunnel in tuple(tunneling.CURRENT_TUNNELS):
        tunneling.CURRENT_TUNNELS.remove(tunnel)
        tunnel.kill()
    address = networking.setup_tunnel(
        local_host=app.server_name,
        local_port=app.server_port,
        share_token=app.share_token,
        share_server_address=app.share_server_address,
        share_server_tls_certificate=app.share_server_tls_certificate,
    )
    url = urlunparse((app.share_server_protocol, *urlparse(address)[1:]))
    app.share_url = url  # type: ignore[assignment]
    return url


def close(app: gr.Blocks, grace_s: int) -> None:
    """Stop serving: answers that are under way get `grace_s` seconds. Deletes the visitors' uploads."""
    app.server.config.timeout_graceful_shutdown = grace_s
    app.close(verbose=False)
