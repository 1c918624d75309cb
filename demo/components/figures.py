"""Tables and sheets of pictures as plain HTML: Gradio's own load players and editors that nothing here needs."""

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


def sheet_html(pictures: Iterable[tuple[str, str]], columns: int) -> str:
    """Pictures (a file that Gradio serves, a caption) in so many columns; a click opens one in full."""
    figures = "".join(_figure(address(path), html.escape(caption)) for path, caption in pictures)
    return f"<div class='sheet' style='--columns: {columns}'>{figures}</div>"


def address(path: str) -> str:
    """Where Gradio serves a file of its cache, from the page's own address."""
    return f"gradio_api/file={quote(path)}"


def _figure(source: str, caption: str) -> str:
    link = f"<a href='{source}' target='_blank'><img src='{source}' alt='{caption}'></a>"
    return f"<figure>{link}<figcaption class='caption-label'>{caption}</figcaption></figure>"
