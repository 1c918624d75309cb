"""The demo among strangers: no file but what it serves, no traceback, no foreign script."""

import itertools
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from paths import ROOT
from starlette.routing import Mount

from demo.server.middleware import HEADERS
from demo.server.settings import Settings
from demo.server.shared_results import SharedResults
from stylecore.errors import OptionError

SECRET = "what nobody but the owner of this server may read"
TRAVERSALS = [
    "../{secret}",
    "../../../../../../../..{secret}",
    "..%2f..%2f..%2f..%2f..%2f..%2f..{secret}",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{secret}",
    "..%252f..%252f..%252f..%252f..{secret}",
    "....//....//....//....//{secret}",
    "..\\..\\..\\..\\{secret}",
    "..%5c..%5c..%5c{secret}",
    "%c0%ae%c0%ae/%c0%ae%c0%ae{secret}",
    "{secret}",
    "/{secret}",
    "%2f{secret}",
    "file://{secret}",
    "file%3a%2f%2f{secret}",
    "{secret}%00.png",
    "{uploads}/../{name}",
    "{uploads}/%2e%2e/{name}",
    "{uploads}/link.png",
    "http://127.0.0.1:1/{name}",
]
FOLDERS = ["{uploads}", "{uploads}/", "{root}", "{root}/demo", "/", "/etc", "/proc/self", "."]
BODIES: list[Any] = [b"", b"{", b"null", b"[]", b"[" * 5000, b"\0\xff" * 99, b'{"data": ' + b"9" * 5000 + b"}", b"{}"]
BODIES += [b'{"data": {}, "fn_index": -1}', b'{"data": [null], "fn_index": 999999, "session_hash": "x"}']
BODIES += [b'{"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "fn_index": 0}']


@pytest.fixture(scope="module")
def served(serve_demo: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    """The demo, and what nobody may read: beside the uploads, and by a link among them."""
    served = serve_demo(mcp=True)
    uploads, secret = served.folder / "uploads", served.folder / "secret.txt"
    uploads.mkdir(exist_ok=True)
    secret.write_text(SECRET)
    (uploads / "link.png").symlink_to(secret)
    served.names = {"secret": secret, "name": secret.name, "uploads": uploads, "root": ROOT}
    return served


def paths_of(app: gr.Blocks, method: str) -> set[str]:
    """Every path that the server answers to, with `{}` where something is put in."""
    routers = [getattr(route, "original_router", None) for route in app.app.routes]  # FastAPI keeps Gradio's own apart
    routes = [*app.app.routes, *(route for router in routers if router for route in router.routes)]
    # What is mounted, such as the tools for language models, is one path that takes every method.
    found = [f"{route.path}/" for route in routes if isinstance(route, Mount)]
    found += [route.path for route in routes if method in (getattr(route, "methods", None) or ())]
    return {re.sub(r"{[^}]*}", "{}", path) for path in found}


def assert_reveals_nothing(answer: httpx.Response) -> None:
    assert SECRET not in answer.text
    assert "root:x:0" not in answer.text
    assert "Traceback (most recent call last)" not in answer.text
    assert 'File "' not in answer.text


def test_no_string_leads_out_of_what_is_served(served: SimpleNamespace) -> None:
    tried = 0
    with httpx.Client(timeout=5) as client:
        for path in paths_of(served.app, "GET"):
            for string in [*TRAVERSALS, *FOLDERS] if "{}" in path else []:
                tail = string.format(**served.names)
                try:
                    with client.stream("GET", served.url + path.replace("{}", tail)) as answer:
                        if "text/event-stream" not in answer.headers.get("content-type", ""):
                            answer.read()
                            assert_reveals_nothing(answer)
                            assert "<title>Index of" not in answer.text
                except (httpx.InvalidURL, httpx.TransportError):  # httpx or the server will have none of it
                    continue
                tried += 1
    assert tried > 200


def test_no_query_leads_out_of_what_is_served(served: SimpleNamespace) -> None:
    names = ("deep_link", "session_hash", "upload_id", "result", "photo", "path", "url", "theme")
    with httpx.Client(timeout=5) as client:
        for path, string in itertools.product(["/", "/config", "/gradio_api/deep_link"], TRAVERSALS):
            query = {name: string.format(**served.names) for name in names}
            answer = client.get(served.url + path, params=query)
            assert_reveals_nothing(answer)
            assert answer.status_code < 500


@pytest.mark.parametrize("string", [*TRAVERSALS, *FOLDERS])
def test_no_job_reads_what_was_not_uploaded(served: SimpleNamespace, string: str) -> None:
    path = string.format(**served.names)
    for file in ({"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path}, {"url": path}, path):
        with httpx.Client(base_url=f"{served.url}/gradio_api", timeout=30) as client:
            answer = client.post("/call/stylize", json={"data": [file, [file], "gatys", None, 64, 1.0, 0, 1, None]})
            assert_reveals_nothing(answer)
            if answer.status_code == 200:
                answer = client.get(f"/call/stylize/{answer.json()['event_id']}")
                assert_reveals_nothing(answer)
                assert "event: error" in answer.text


@pytest.mark.parametrize("address", ["https://example.com/photo.png", "https://huggingface.co/photo.png"])
def test_the_server_fetches_nothing_that_a_visitor_names(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    connections: list[Any] = []
    find = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda *host, **how: connections.append(host) or find(*host, **how))
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    with httpx.Client(base_url=f"{served.url}/gradio_api", timeout=30) as client:
        event = client.post("/call/stylize", json={"data": [file, [file], "gatys", None, 64, 1.0, 0, 1, None]}).json()
        assert "must be an uploaded file" in client.get(f"/call/stylize/{event['event_id']}").text
        assert client.get(f"/file={address}").status_code == 403
    assert {host for host, *_ in connections} <= {"127.0.0.1"}


@pytest.mark.parametrize("string", [*TRAVERSALS, *FOLDERS, "", "*", "?" * 22])
def test_no_token_leads_to_another_file_than_a_shared_result(served: SimpleNamespace, string: str) -> None:
    shared = SharedResults(Settings(shared_results=served.names["uploads"]))
    for kind in "rc":
        with pytest.raises(OptionError, match="This is gone"):
            shared.find(string.format(**served.names), kind)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_is_listed(served: SimpleNamespace, folder: str) -> None:
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/static/", "/assets/"):
        answer = httpx.get(served.url + prefix + folder.format(**served.names), follow_redirects=True)
        assert answer.status_code in (400, 403, 404, 405), answer.text


def test_garbage_gets_a_kind_answer_and_the_server_goes_on(served: SimpleNamespace) -> None:
    paths = [path.replace("{}", "stylize") for path in paths_of(served.app, "POST")]
    assert len(paths) > 10
    with httpx.Client(timeout=5) as client:
        for path, body in itertools.product(paths, BODIES):
            for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
                answer = client.post(served.url + path, content=body, headers={"Content-Type": kind})
                assert_reveals_nothing(answer)
                assert answer.text != "Internal Server Error"  # of an error that nobody caught
    assert httpx.get(served.url).status_code == 200


@pytest.mark.parametrize("entry", ["run", "api"])
@pytest.mark.parametrize("name", ["stylize", "compare", "benchmark", "run", "run_1", "run_model", "run_bundle"])
def test_no_job_starts_past_the_queue(served: SimpleNamespace, entry: str, name: str) -> None:
    answer = httpx.post(f"{served.url}/gradio_api/{entry}/{name}", json={"data": [], "session_hash": "x"})
    assert answer.status_code == 404
    assert "does not accept direct HTTP" in answer.text


def test_every_answer_has_the_headers_even_a_refusal(served: SimpleNamespace) -> None:
    for path in ("/", "/config", "/nowhere", "/gradio_api/file=/etc/passwd", "/theme.css"):
        headers = httpx.get(served.url + path).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("name", ["evil.html", "evil.svg", "evil.js", "evil.xml"])
def test_an_uploaded_page_is_handed_out_as_a_file_and_not_shown(served: SimpleNamespace, name: str) -> None:
    """Else a visitor's script would run in the name of this server."""
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    (path,) = httpx.post(f"{served.url}/gradio_api/upload", files={"files": (name, script)}).json()
    answer = httpx.get(f"{served.url}/gradio_api/file={path}")
    assert answer.content == script
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("name", ["../../out.png", "/out.png", "..\\out.png", "a\0b.png", "x" * 300 + ".png", ".."])
def test_an_upload_stays_in_its_folder_whatever_its_name(served: SimpleNamespace, name: str) -> None:
    uploads = Path(served.names["uploads"])
    beside = sorted(uploads.parent.iterdir())
    answer = httpx.post(f"{served.url}/gradio_api/upload", files={"files": (name, b"data")})
    assert_reveals_nothing(answer)
    if answer.status_code == 200:
        assert Path(answer.json()[0]).resolve().is_relative_to(uploads.resolve())
    assert sorted(uploads.parent.iterdir()) == beside
