"""`stylecore demo`: serve the page. Importing this starts nothing and needs no extra."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from stylecore.errors import StylecoreError

GRACE_S = 1  # for answers that are under way: an open page would hold its connection for ever
USAGE_ERROR = 2


def demo_command(
    host: Annotated[str, typer.Option(help="0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: int = 7860,
    share: Annotated[bool, typer.Option(help="Ask Gradio for a public link.")] = False,
    login: Annotated[str, typer.Option(metavar="NAME:PASSWORD", help="Ask visitors for these.")] = "",
    mcp: Annotated[bool, typer.Option(help="Offer the endpoints as tools to language models too.")] = False,
    shared_results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where shared results are stored; several servers may share it.")
    ] = None,
    kept: Annotated[Path | None, typer.Option(metavar="DIR", hidden=True)] = None,  # the option's name before 0.2
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where exported models are stored.")] = None,
) -> None:
    """Serve the stylecore demo."""
    signal.signal(signal.SIGTERM, _stop)
    name, colon, password = login.partition(":")
    if login and not (name and colon and password):
        raise typer.BadParameter("give a name and a password, such as --login ada:secret")
    from .app import build_app, launch
    from .server.gradio_internals import close
    from .server.settings import Settings

    try:
        settings = Settings.read(shared_results=shared_results or kept, models=models)
        app = build_app(settings)
        url, public_url = launch(
            app, settings, host=host, port=port, share=share, mcp=mcp, login=(name, password) if login else None
        )
    except StylecoreError as error:
        raise _failure(str(error)) from error
    except OSError as error:
        raise _failure(f"cannot serve on {host}:{port}: choose a free --port, or another --host.") from error
    typer.echo(f"stylecore demo: {url}")
    if share:
        typer.echo(
            f"Public link: {public_url}" if public_url else "There is no public link: the page is served here alone."
        )
    try:
        app.block_thread()
    finally:
        logging.disable(logging.ERROR)  # that connections are cut now is no news
        close(app, GRACE_S)


def _failure(message: str) -> typer.Exit:
    typer.echo(f"stylecore demo: {message}", err=True)
    return typer.Exit(USAGE_ERROR)


def _stop(*_: object) -> None:
    """End as after Ctrl-C, in the main thread, where Python runs it."""
    raise SystemExit(0)
