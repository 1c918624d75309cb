"""`python -m demo`: what `stylecore demo` does."""

from stylecore.program import printing, starting

with starting("stylecore demo"):
    import typer

    from .cli import demo_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(demo_command)

if __name__ == "__main__":
    with printing("stylecore demo"):
        app()
