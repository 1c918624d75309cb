"""`stylecore demo`: serve the page. Importing this starts nothing and needs no extra."""

from __future__ import annotations

import logging
import signal
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from stylecore.errors import OptionError, StylecoreError
from stylecore.files import reason

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
    workers: Annotated[
        int | None, typer.Option(help="Processes that paint side by side, each with a share of the cores (default 1).")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Have them on a Ray cluster: host:port, auto, or local.")
    ] = None,
    ray_cpus: Annotated[float | None, typer.Option(help="CPUs that each asks Ray for (default 1).")] = None,
    ray_gpus: Annotated[float | None, typer.Option(help="GPUs, e.g. 0.5 for two on one (default 0).")] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Where exported models are stored.")] = None,
) -> None:
    """Serve the stylecore demo."""
    signal.signal(signal.SIGTERM, _stop)
    name, _, password = login.partition(":")
    if login and not (name and password):
        raise _failure("give a name and a password, such as --login ada:secret.")
    from .app import build_app, close
    from .server.settings import Settings

    try:
        check_address(host, port)
        asked = {"workers": workers, "ray": ray, "ray_cpus": ray_cpus, "ray_gpus": ray_gpus}
        app = build_app(Settings.read(shared_results=shared_results or kept, models=models, **asked))
        signal.signal(signal.SIGTERM, _stop)  # again: Ray takes it
    except StylecoreError as error:
        raise _failure(str(error)) from error
    try:
        _serve(app, host=host, port=port, share=share, mcp=mcp, login=(name, password) if login else None)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already
        logging.disable(logging.ERROR)  # that connections are cut now is no news
        close(app, GRACE_S)


def check_address(host: str, port: int) -> None:
    """Raise an OptionError if nobody can serve there: Gradio would say so in a traceback, or with another reason."""
    if not 0 < port < 2**16:
        raise OptionError(f"--port must be between 1 and {2**16 - 1}, not {port}.")
    try:
        places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = places[0]
        with socket.socket(family, kind, protocol) as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just been given up
            place.bind(address)
    except (OSError, UnicodeError) as error:
        why = reason(error)
        raise OptionError(f"cannot serve on {host}:{port} ({why}): choose a free --port, or another --host.") from error


def _serve(app: Any, *, host: str, port: int, share: bool, **options: Any) -> None:
    """Until Ctrl-C or SIGTERM."""
    from .app import launch
    from .server.public_link import PublicLink

    try:
        url, public_url = launch(app, app.services.settings, host=host, port=port, share=share, **options)
    except (OSError, ValueError) as error:
        raise _failure(f"cannot serve on {host}:{port}: choose a free --port, or another --host.") from error
    typer.echo(f"stylecore demo: {url}")
    app.services.warm_up()
    if public_url:
        typer.echo(f"Public link: {public_url}")
        PublicLink(app, typer.echo).watch()
    elif share:
        typer.echo("There is no public link: the page is served here alone.")
    app.block_thread()


def _failure(message: str) -> typer.Exit:
    typer.echo(f"stylecore demo: {message}", err=True)
    return typer.Exit(USAGE_ERROR)


def _stop(*_: object) -> None:
    """End as after Ctrl-C, in the main thread, where Python runs it."""
    raise SystemExit(0)
