"""Many results on one page: photos in rows, styles in columns, two of them in one place with zoom in step."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from stylecore.report.viewer import Axis, Grid, View, environment, viewer_html

PHOTO = "none: the photo"  # the heading of the column of what was painted


def gallery_html(title: str, line: str, rows: Sequence[str], columns: Sequence[str], views: Sequence[View]) -> str:
    """One HTML file beside the pictures that it shows.

    Args:
        rows, columns: headings; the first column is that of the photos.
        views: row by row, all columns of a row.
    """
    width = len(columns)
    names = [tuple(view.name for view in views[start : start + width]) for start in range(0, len(views), width)]
    grid = Grid(Axis("style", tuple(columns)), Axis("photo", tuple(rows)), tuple(names))
    seen = [view.name for view in views if view.source]
    pair = (seen[0], seen[1]) if len(seen) > 1 else None
    viewer = Markup(viewer_html(views, pair, grid))
    return environment().get_template("gallery.html").render(title=title, line=line, viewer=viewer)
