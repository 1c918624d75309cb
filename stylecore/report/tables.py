"""Tables: one value, and its views as Markdown, as CSV and for a terminal; and Markdown pages made of them."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import rich.table
from rich.text import Text

MARKDOWN_WIDTH = 120


@dataclass(frozen=True)
class Column:
    """A heading, and how the values below it are written."""

    heading: str
    form: str = "{}"  # a format string; None is an empty cell whatever it says
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Table:
    """Columns, and rows with a value for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(
        cls, columns: Mapping[str, str] | Sequence[str], rows: Iterable[Iterable[Any]], left: Collection[str] = ()
    ) -> Table:
        """A table whose first column is flush left, and all others but those named in `left` flush right.

        Args:
            columns: headings, or a format string for each heading.
            rows: values in the columns' order.
        """
        forms = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "{}")
        flush_left = {*list(forms)[:1], *left}
        made = tuple(Column(name, form, "left" if name in flush_left else "right") for name, form in forms.items())
        return cls(made, tuple(map(tuple, rows)))

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """The rows as they are written."""
        return [
            [
                "" if value is None else column.form.format(value)
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]

    def markdown(self) -> str:
        rule = ["---:" if column.align == "right" else "---" for column in self.columns]
        return "\n".join(
            f"| {' | '.join(line)} |" for line in (*_escaped([self.headings]), rule, *_escaped(self.cells))
        )

    def csv(self) -> str:
        """With a header; values in full precision."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.headings, *self.rows])
        return text.getvalue()

    def rich(self) -> rich.table.Table:
        """For a terminal."""
        view = rich.table.Table(box=None)
        for column in self.columns:
            view.add_column(Text(column.heading), justify=column.align)
        for line in self.cells:
            view.add_row(*map(Text, line))
        return view


def _escaped(lines: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[cell.replace("|", r"\|") for cell in line] for line in lines]


def document(*parts: str | Table) -> str:
    """A Markdown page of headings, paragraphs, lists, pictures and tables, with a blank line after each."""
    return wrapped("\n\n".join(part.markdown() if isinstance(part, Table) else part for part in parts))


def wrapped(markdown: str) -> str:
    """Paragraphs and list items in lines of at most `MARKDOWN_WIDTH`; headings, tables and pictures as they are."""
    blocks = [block.strip("\n") for block in re.split(r"\n{2,}", markdown)]
    return "\n\n".join(_wrapped_block(block) for block in blocks if block) + "\n"


def _wrapped_block(block: str) -> str:
    if block.startswith(("|", "#", "!")):
        return block
    if block.startswith("- "):
        return "\n".join(_filled(item, subsequent_indent="  ") for item in re.split(r"\n(?=- )", block))
    return _filled(block)


def _filled(text: str, subsequent_indent: str = "") -> str:
    # A number and its per cent sign stay on one line: textwrap does not break at a no-break space.
    words = " ".join(text.split()).replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.fill(
        words, MARKDOWN_WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=subsequent_indent
    )
    return lines.replace("\N{NO-BREAK SPACE}%", " %")
