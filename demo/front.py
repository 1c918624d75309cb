"""What the page says of itself where somebody sends a link to it."""

from __future__ import annotations

from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import examples
from .finished import WALL
from .server.cards import card_of_result
from .server.gradio_internals import root_url
from .server.heads import Head

TITLE = "stylecore: paint a photo in the manner of a picture"
DESCRIPTION = (
    "Choose a photo and a picture, and watch the painting grow: a sketch in seconds, finer for as long as you like."
)
CARD = "/card.jpg"


def head(request: Request) -> Head:
    """Of the page at this address."""
    address = root_url(request)
    return Head(TITLE, DESCRIPTION, address, address + CARD)


def _card(_: Request) -> Response:
    return Response(_first_picture(), media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})


@cache
def _first_picture() -> bytes:
    first = WALL[0]
    return card_of_result(first.path, examples.PHOTOS[first.settings["photo"]])


ROUTE = Route(CARD, _card)
