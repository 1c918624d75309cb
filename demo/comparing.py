"""How the page and the endpoints look at a comparison: as it fills in, and as a page to keep or to share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stylecore.compare import Comparison, Progress, Record
from stylecore.images import ImageTensor, fit_image
from stylecore.job import Job, Source
from stylecore.report.page import heading, page, seconds_text
from stylecore.report.sheets import Picture, picture_of
from stylecore.report.viewer import Grid, View, viewer_html

from . import examples
from .components.figures import address
from .server.uploads import save_frame
from .sharing import in_words, title_of

WAITS, STOPPED = "waits", "It was stopped before."
PHOTO = "photo"


def filling_in(comparison: Comparison, pictures: Mapping[str, str], grid: Grid | None, event: Progress) -> str:
    """What is done, what is at work and what waits; `pictures` are files that Gradio serves, by name."""
    views = _views(comparison, pictures, WAITS)
    if event.step:
        name = event.variant.name
        frame = View(name, address(save_frame(event.step.image)), lines=("at work",))
        views = [frame if view.name == name else view for view in views]
    return viewer_html(views, None, grid)


def finished(comparison: Comparison, pictures: Mapping[str, str], grid: Grid | None, trouble: str) -> str:
    """All of it, two of them in one place; `trouble` is what ended it early."""
    names = [name for name in pictures if name != PHOTO]
    left = PHOTO if PHOTO in pictures else names[0]
    views = _views(comparison, pictures, trouble or STOPPED)
    if PHOTO in pictures:
        views.insert(0, View(PHOTO, address(pictures[PHOTO])))
    return viewer_html(views, (left, names[-1]), grid)


def _views(comparison: Comparison, pictures: Mapping[str, str], otherwise: str) -> list[View]:
    records = {record.name: record for record in comparison.records}
    troubles = dict.fromkeys((variant.name for variant in comparison.variants), otherwise) | comparison.troubles
    return [
        View(name, address(pictures[name]), lines=(_caption(records[name]),))
        if name in records
        else View(name, trouble=trouble)
        for name, trouble in troubles.items()
    ]


def _caption(record: Record) -> str:
    ending = ", diverged" if record.diverged else ""
    return f"{seconds_text(record.seconds)}{ending} · style {record.style_distance:.2f}"


def page_of(comparison: Comparison, grid: Grid | None, *, with_own: bool, trouble: str = "") -> str:
    """The page to keep, with no name of a visitor's file in it.

    Args:
        with_own: whether pictures that are not our examples are in it.
        trouble: why variants are missing that have no sentence of their own.
    """
    words = (title(comparison), heading(comparison)[1])
    return page(comparison, _inputs(comparison, with_own), words, grid, trouble or STOPPED)


def title(comparison: Comparison) -> str:
    """Chelsea the cat in the manner of stained glass; of several photos or styles, how many."""
    jobs = _jobs(comparison)
    photos, manners = ({job.sources[part] for job in jobs} for part in (slice(0, 1), slice(1, None)))
    words = title_of(jobs[0].sources)
    if len(photos) > 1:
        words = f"{len(photos)} photos{words[words.index(' in the manner') :]}"
    return f"{words[: words.index(' of ')]} of {len(manners)} pictures" if len(manners) > 1 else words


def has_own_pictures(comparison: Comparison) -> bool:
    """Whether any is not one of our examples."""
    return any(examples.find(source) is None for job in _jobs(comparison) for source in job.sources)


def words_of(comparison: Comparison) -> str:
    """What is in it, for a preview of its link."""
    names = [record.name for record in comparison.records]
    first = ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
    return f"{len(names)} ways to paint it, side by side: {first}."


def _jobs(comparison: Comparison) -> list[Job]:
    return [variant.job or comparison.job for variant in comparison.variants]


def _inputs(comparison: Comparison, with_own: bool) -> list[Picture]:
    """Every photo and style once."""
    shown: dict[Source, Picture] = {}
    for job in _jobs(comparison):
        roles = ["Photo", *(["Style"] * len(job.styles))]
        for role, source, image in zip(roles, job.sources, (job.content, *job.styles), strict=True):
            example = examples.find(source)
            if source not in shown and (with_own or example is not None):
                names = [picture.title for picture in shown.values()]
                shown[source] = _picture(role, names, example, image, comparison.variants[0].config.size)
    return list(shown.values())


def _picture(role: str, taken: Sequence[str], example: str | None, image: ImageTensor, size: int) -> Picture:
    number = sum(name.startswith(role) for name in taken) + 1
    name = role if number == 1 else f"{role} {number}"
    return picture_of(fit_image(image, size), name, *([in_words(example)] if example else []))


def save_page(text: str, path: Path) -> Path:
    """As a file."""
    path.write_text(text, encoding="utf-8")
    return path
