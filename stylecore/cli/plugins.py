"""Commands that stylecore does not know itself: found by their entry points, imported only when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from stylecore.errors import StylecoreError

GROUP = "stylecore.commands"


class MissingExtraError(StylecoreError):
    """A command whose packages are not installed."""


class PluginGroup(TyperGroup):
    """stylecore's own commands, then those that installed packages announce in the group `stylecore.commands`.

    An entry point names a command's function, or a Typer of its own. Importing it must be fast and need no extra, for
    the help does; what the command needs is imported when it runs. The extra that installs that has the command's name.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_plugins()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own, plugin = super().get_command(ctx, cmd_name), _plugins().get(cmd_name)
        return _load(plugin) if own is None and plugin else own

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name = ctx.invoked_subcommand
            if name not in _plugins():
                raise
            raise MissingExtraError(
                f"The command '{name}' needs {error.name}, which is not installed: pip install 'stylecore[{name}]'."
            ) from error


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> Any:
    """The command of an entry point; None if its module is not there, as when metadata outlives a checkout's change."""
    try:
        found = entry.load()
    except ModuleNotFoundError:
        return None
    return get_command(found if isinstance(found, typer.Typer) else _as_app(entry.name, found))


def _as_app(name: str, function: Callable[..., Any]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name)(function)
    return app
