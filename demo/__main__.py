"""`python -m demo`: serve the page."""

import typer

from demo.app import build_app, launch


def main(host: str = "127.0.0.1", port: int = 7860, share: bool = False) -> None:
    """Serve the stylecore demo.

    --host 0.0.0.0 opens it to the network, --share asks Gradio for a public link.
    """
    try:
        launch(build_app(), host=host, port=port, share=share)
    except OSError as error:
        typer.echo(f"stylecore demo: cannot serve on {host}:{port}: choose a free --port, or another --host.", err=True)
        raise typer.Exit(2) from error


typer.run(main)
