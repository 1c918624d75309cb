"""The demo among strangers: no file but what it serves, no traceback, no foreign script, fair shares."""

import itertools
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from gradio.context import LocalContext
from paths import ROOT
from starlette.routing import Mount
from starlette.testclient import TestClient
from torch import Tensor

from demo.app import build_app, launch
from demo.live import read_config
from demo.server.middleware import HEADERS, Door
from demo.server.quota import Meter
from demo.server.settings import Limits
from demo.server.shared_results import KeptResults
from demo.server.uploads import ONE_JOB
from stylecore.errors import OptionError
from stylecore.images import save_image

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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The app behind its address, and what nobody may read: beside the uploads, and by a link among them."""
    folder = tmp_path_factory.mktemp("server")
    uploads, secret = folder / "uploads", folder / "secret.txt"
    uploads.mkdir()
    secret.write_text(SECRET)
    (uploads / "link.png").symlink_to(secret)
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        app = build_app(folder / "kept", folder / "models")
        url, _ = launch(app, host="127.0.0.1", port=port, mcp=True)
        names = {"secret": secret, "name": secret.name, "uploads": uploads, "root": ROOT}
        yield SimpleNamespace(app=app, url=url.rstrip("/"), names=names)
        app.close()


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
            answer = client.post("/call/stylize", json={"data": [file, [file], "gatys", None, 64, 1.0, 0, 1]})
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
        event = client.post("/call/stylize", json={"data": [file, [file], "gatys", None, 64, 1.0, 0, 1]}).json()
        assert "must be an uploaded file" in client.get(f"/call/stylize/{event['event_id']}").text
        assert client.get(f"/file={address}").status_code == 403
    assert {host for host, *_ in connections} <= {"127.0.0.1"}


@pytest.mark.parametrize("string", [*TRAVERSALS, *FOLDERS, "", "*", "?" * 22])
def test_no_token_leads_to_another_file_than_a_shared_result(served: SimpleNamespace, string: str) -> None:
    with pytest.raises(OptionError, match="This result is gone"):
        KeptResults(Path(served.names["uploads"])).find(string.format(**served.names))


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


# ---- shares


@pytest.fixture
def as_client() -> Iterator[Callable[[str], None]]:
    """as_client("10.0.0.1"): from now on jobs are this address's."""
    token = LocalContext.request.set(None)
    yield lambda host: LocalContext.request.set(SimpleNamespace(client=(host, 50_000))) and None
    LocalContext.request.reset(token)


def metered_app(seconds: Iterator[float], monkeypatch: pytest.MonkeyPatch, limits: Limits) -> Callable[[], list[int]]:
    """A job of three frames in an app with a meter, run to its end; the clock goes on by `seconds`."""
    monkeypatch.setattr("demo.server.quota.time", SimpleNamespace(monotonic=lambda: next(seconds)))

    def job() -> Iterator[int]:
        yield from range(3)

    with gr.Blocks() as app:
        gr.Button().click(job, None, gr.Number(), **ONE_JOB)
    Meter(limits).put_on(app)
    (function,) = app.fns.values()
    return lambda: list(function.fn())  # type: ignore[misc]


def test_a_job_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, as_client: Callable[[str], None]) -> None:
    as_client("10.0.0.1")
    run = metered_app(itertools.count(0, 5), monkeypatch, Limits(job_seconds=6))
    with pytest.raises(gr.Error, match="takes longer"):
        run()


def test_a_client_has_its_share_and_others_theirs(
    monkeypatch: pytest.MonkeyPatch, as_client: Callable[[str], None]
) -> None:
    run = metered_app(itertools.count(0, 5), monkeypatch, Limits(client_seconds=38, total_seconds=78))
    for host in ("10.0.0.1", "10.0.0.2"):
        as_client(host)
        assert run() == run() == [0, 1, 2]  # each 20 s, of which the second was begun in time
        with pytest.raises(gr.Error, match="your time"):
            run()
    as_client("10.0.0.3")
    with pytest.raises(gr.Error, match="Visitors have used all"):
        run()


def test_shares_are_given_anew_after_an_hour(monkeypatch: pytest.MonkeyPatch, as_client: Callable[[str], None]) -> None:
    as_client("10.0.0.1")
    run = metered_app(
        itertools.count(0, 1000), monkeypatch, Limits(job_seconds=1e6, client_seconds=1e4, total_seconds=1e6)
    )
    assert [run() for _ in range(5)]


def test_every_job_of_the_app_is_metered(served: SimpleNamespace) -> None:
    jobs = [each for each in served.app.fns.values() if each.concurrency_id == ONE_JOB["concurrency_id"]]
    assert {"stylize", "compare", "benchmark"} <= {each.api_name for each in jobs}
    assert all(each.fn.__globals__["__name__"] == "demo.server.quota" for each in jobs)


def test_a_client_with_too_many_jobs_is_told_so(
    served: SimpleNamespace, make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    picture = save_image(make_image(), tmp_path / "photo.png").read_bytes()
    with httpx.Client(base_url=f"{served.url}/gradio_api") as client:
        (path,) = client.post("/upload", files={"files": ("photo.png", picture)}).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        job = {"data": [file, [file], "gatys", None, 64, 1.0, 0, 60]}
        answers = [client.post("/call/stylize", json=job) for _ in range(int(Limits().client_jobs) + 1)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert "You have 4 jobs here already" in answers[-1].json()["detail"]


def test_other_addresses_may_still_come() -> None:
    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def event(host: str) -> SimpleNamespace:
        return SimpleNamespace(request=SimpleNamespace(client=(host, 1)))

    queue = SimpleNamespace(
        event_queue_per_concurrency_id={"one job": SimpleNamespace(queue=[event("10.0.0.1")] * 2)},
        active_jobs=[None, [event("10.0.0.1")]],
    )
    door = Door(answer, SimpleNamespace(_queue=queue), Limits(client_jobs=3))  # type: ignore[arg-type]
    for host, status in (("10.0.0.1", 429), ("10.0.0.2", 200)):
        client = TestClient(door, client=(host, 50_000))
        assert client.post("/gradio_api/queue/join").status_code == status
        assert client.post("/gradio_api/call/stylize").status_code == status
        assert client.post("/stylecore/gradio_api/queue/join/").status_code == status
        assert client.get("/").status_code == 200


def test_nothing_is_uploaded_or_shared_on_a_disk_that_is_nearly_full(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    result = save_image(make_image(), tmp_path / "result.png", {"config": {}})
    monkeypatch.setattr("demo.server.settings.shutil.disk_usage", lambda _: SimpleNamespace(free=1000 * 2**20))
    answer = httpx.post(f"{served.url}/gradio_api/upload", files={"files": ("photo.png", result.read_bytes())})
    assert answer.status_code == 507
    with pytest.raises(OptionError) as error:
        KeptResults(tmp_path / "kept").keep(result)
    assert answer.json() == {"detail": str(error.value)}


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECORE_CLIENT_JOBS", "2")
    monkeypatch.setenv("STYLECORE_TOTAL_SECONDS", "1e9")
    assert Limits.from_environment() == Limits(client_jobs=2, total_seconds=1e9)


@pytest.mark.parametrize(("pixels", "largest"), [("262144", 512), ("300000", 547), ("1", 64), ("inf", 2**31)])
def test_pixels_bound_the_size(monkeypatch: pytest.MonkeyPatch, pixels: str, largest: int) -> None:
    monkeypatch.setenv("STYLECORE_JOB_PIXELS", pixels)
    assert read_config("gatys", size=min(largest, 4096)).size == min(largest, 4096)
    if largest < 4096:
        with pytest.raises(OptionError, match=f"^size must be between 64 and {largest} on this page, not 600.$"):
            read_config("gatys", size=600)


def test_the_page_offers_no_size_that_it_would_refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLECORE_JOB_PIXELS", "16384")
    app = build_app(tmp_path / "kept", tmp_path / "models")
    (slider,) = (each for each in app.blocks.values() if getattr(each, "label", "") == "Size")
    assert (slider.maximum, slider.value) == (128, 128)


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "nan"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STYLECORE_JOB_SECONDS", text)
    with pytest.raises(OptionError, match="STYLECORE_JOB_SECONDS must be a number above 0"):
        Limits.from_environment()
