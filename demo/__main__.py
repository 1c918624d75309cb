"""`python -m demo`: what `stylecore demo` does."""

from stylecore.program import starting

with starting("stylecore demo"):
    import typer

    from .cli import demo_command

typer.run(demo_command)
