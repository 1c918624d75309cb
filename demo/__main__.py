"""`python -m demo`: what `stylecore demo` does."""

import typer

from .cli import demo_command

typer.run(demo_command)
