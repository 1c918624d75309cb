"""The public link is looked after: a dead one is replaced, and the console says so."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio.networking
import gradio.tunneling
import httpx

from demo.server import public_link
from demo.server.public_link import PublicLink, answers

DEAD, NEW = "https://dead.gradio.live", "https://new.gradio.live"


@pytest.fixture
def alive() -> set[str]:
    """The addresses that answer."""
    return {NEW}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, alive: set[str]) -> list[str]:
    """What the console says."""
    monkeypatch.setattr(public_link, "answers", lambda url: url in alive)
    return []


@pytest.fixture
def link(said: list[str]) -> PublicLink:
    app: Any = SimpleNamespace(
        share_url=DEAD,
        share_token="token",
        share_server_address=None,
        share_server_protocol="https",
        share_server_tls_certificate=None,
        server_name="127.0.0.1",
        server_port=7860,
    )
    return PublicLink(app, said.append)


def test_a_dead_link_is_replaced_and_the_new_one_told(
    link: PublicLink, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []
    tunnel = SimpleNamespace(kill=lambda: killed.append("the old tunnel"))
    monkeypatch.setattr(gradio.tunneling, "CURRENT_TUNNELS", [tunnel])
    monkeypatch.setattr(gradio.networking, "setup_tunnel", lambda **_: NEW.replace("https", "http"))
    link.look()
    assert said == [f"The public link {DEAD} has died. The new one: {NEW}"]
    assert link.app.share_url == NEW
    assert killed == ["the old tunnel"]
    link.look()
    assert len(said) == 1, "while it lives there is nothing to say"


def test_without_a_network_it_is_said_once_and_tried_again(
    link: PublicLink, said: list[str], alive: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def no_tunnel(**_: object) -> str:
        tried.append("again")
        raise RuntimeError("no network")

    monkeypatch.setattr(gradio.networking, "setup_tunnel", no_tunnel)
    link.look()
    link.look()
    assert len(tried) == 2
    assert len(said) == 1
    assert "no new one can be made now" in said[0]
    alive.add(DEAD)
    link.look()
    assert said[1:] == [f"The public link answers again: {DEAD}"]


@pytest.mark.parametrize(("status", "is_alive"), [(200, True), (401, True), (404, False), (502, False), (None, False)])
def test_a_link_is_alive_when_a_page_or_its_login_answers(
    monkeypatch: pytest.MonkeyPatch, status: int | None, is_alive: bool
) -> None:
    def head(*_: object, **__: object) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("no route")
        return httpx.Response(status)

    monkeypatch.setattr(public_link.httpx, "head", head)
    monkeypatch.setattr(public_link.time, "sleep", lambda _: None)
    assert answers(NEW) is is_alive
