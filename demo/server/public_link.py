"""The public link, watched: Gradio's tunnel may die within hours, and says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread

import gradio as gr
import httpx

from .gradio_internals import renew_public_link

EVERY_S = 60
TIMEOUT_S = 10
TRIES = 3  # before a link is called dead: a tunnel may lose one request


class PublicLink:
    """Looks after the public link of a served app, and says what becomes of it: a dead one is replaced.

    Args:
        app: served, with a `share_url`.
        say: tells the one who runs the server.
    """

    def __init__(self, app: gr.Blocks, say: Callable[[str], None]) -> None:
        self.app, self.say = app, say
        self._is_alive = True  # when last seen

    def watch(self) -> None:
        """Look from now on, as long as the process lives."""

        def work() -> None:
            while True:
                time.sleep(EVERY_S)
                self.look()

        Thread(target=work, name="public link", daemon=True).start()

    def look(self) -> None:
        """See whether the link answers; if it does not, make another, and try again at the next look."""
        was_alive, self._is_alive = self._is_alive, answers(str(self.app.share_url))
        if self._is_alive:
            if not was_alive:
                self.say(f"The public link answers again: {self.app.share_url}")
            return
        dead = self.app.share_url
        try:
            self.say(f"The public link {dead} has died. The new one: {renew_public_link(self.app)}")
            self._is_alive = True
        except Exception:  # whatever Gradio stumbles over without a network
            if was_alive:
                self.say(f"The public link {dead} has died, and no new one can be made now: trying again until it can.")


def answers(url: str) -> bool:
    """Whether a server of Gradio's page is behind an address: where a tunnel has died, there is a 404 instead."""
    for _ in range(TRIES):
        try:
            if httpx.head(url, timeout=TIMEOUT_S).status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED):
                return True
        except httpx.HTTPError:
            pass
        time.sleep(1)
    return False
