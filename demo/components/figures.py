"""Tables as plain HTML, whose own component in Gradio loads an editor; and where Gradio serves pictures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from urllib.parse import quote


def table_html(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first cell of a row names it."""
    head = "".join(f"<th scope='col'>{html.escape(each)}</th>" for each in headers)
    body = "".join(
        f"<tr><th scope='row'>{html.escape(first)}</th>{''.join(f'<td>{html.escape(each)}</td>' for each in rest)}</tr>"
        for first, *rest in rows
    )
    return (
        f"<div class='scrolled' tabindex='0'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def address(path: str) -> str:
    """Where Gradio serves a file of its cache, from the page's own address."""
    return f"gradio_api/file={quote(path)}"
