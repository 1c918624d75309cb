"""`python -m demo`: serve the page."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from demo.app import build_app, launch
from stylecore.errors import StylecoreError

GRACE_S = 1  # for answers that are under way: an open page would hold its connection for ever


def main(
    host: Annotated[str, typer.Option(help="0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: int = 7860,
    share: Annotated[bool, typer.Option(help="Ask Gradio for a public link.")] = False,
    login: Annotated[str, typer.Option(metavar="NAME:PASSWORD", help="Ask visitors for these.")] = "",
    mcp: Annotated[bool, typer.Option(help="Offer the endpoints as tools to language models too.")] = False,
    kept: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where shared results are kept; servers may have it in common.")
    ] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where exported models are kept.")] = None,
) -> None:
    """Serve the stylecore demo."""
    signal.signal(signal.SIGTERM, _stop)
    name, colon, password = login.partition(":")
    if login and not (name and colon and password):
        raise typer.BadParameter("give a name and a password, such as --login ada:secret")
    try:
        app = build_app(kept, models)
        url, public_url = launch(
            app, host=host, port=port, share=share, mcp=mcp, login=(name, password) if login else None
        )
    except StylecoreError as error:
        typer.echo(f"stylecore demo: {error}", err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"stylecore demo: cannot serve on {host}:{port}: choose a free --port, or another --host.", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"stylecore demo: {url}")
    if share:
        typer.echo(
            f"Public link: {public_url}" if public_url else "There is no public link: the page is served here alone."
        )
    try:
        app.block_thread()
    finally:
        logging.disable(logging.ERROR)  # that connections are cut now is no news
        app.server.config.timeout_graceful_shutdown = GRACE_S
        app.close(verbose=False)  # which deletes the visitors' files


def _stop(*_: object) -> None:
    """End as after Ctrl-C, in the main thread, where Python runs it."""
    raise SystemExit(0)


typer.run(main)
