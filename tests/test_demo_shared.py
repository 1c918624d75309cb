"""What is shared: pages with heads of their own, for their time, with nothing in them that was not agreed to."""

import io
import os
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from PIL import Image
from torch import Tensor

from demo import sharing
from demo.server import cards
from demo.server.heads import Head, with_head
from demo.server.limits import RateLimit
from demo.server.settings import Settings
from demo.server.shared_results import Shared, SharedRecord, SharedResults
from demo.server.votes import Votes
from stylecore import make_config
from stylecore.errors import OptionError
from stylecore.images import load_image, read_settings, save_image
from stylecore.job import Source
from stylecore.report.page import data_uri
from stylecore.report.viewer import View, viewer_html

FILES = {"result.png": b"png"}
RECORD = SharedRecord("r", "A title", "Some words")
COMPARISON = SharedRecord("c", "Two ways", "side by side", variants=("gram", "bn", "pca"))


@pytest.fixture
def shared(tmp_path: Path) -> SharedResults:
    return SharedResults(Settings(shared_results=tmp_path / "shared"))


@pytest.fixture
def result(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    """Of a visitor's own photo and an example's style."""
    inputs = [{"name": "IMG 2034.jpg", "checksum": "abc"}, {"name": "flow_strokes.jpg", "checksum": ""}]
    settings = {"config": make_config("draft", size=64).to_dict(), "inputs": inputs}
    return save_image(make_image(), tmp_path / "mine.png", settings)


# ---- the store


def test_what_is_shared_lasts_for_its_time(tmp_path: Path) -> None:
    shared = SharedResults(Settings(shared_results=tmp_path / "shared"), max_age_s=100)
    (token, _), (other, _) = (shared.add(RECORD, FILES) for _ in range(2))
    found = shared.find(token, "r")
    assert (found.record.title, found.record.kind) == ("A title", "r")
    picture = found.file("result.png")
    assert picture is not None
    assert picture.read_bytes() == b"png"
    os.utime(found.folder, (time.time() - 101,) * 2)
    with pytest.raises(OptionError, match="This is gone"):
        shared.find(token, "r")
    shared.delete_old()
    assert [path.name for path in shared.folder.iterdir()] == [other]


def test_the_time_is_the_hosts_to_set(tmp_path: Path) -> None:
    assert SharedResults(Settings(shared_results=tmp_path)).max_age_s == 30 * 24 * 3600
    assert SharedResults(Settings(shared_results=tmp_path, shared_days=0.5)).max_age_s == 12 * 3600


def test_a_token_opens_its_own_kind_alone_and_no_other_file(shared: SharedResults) -> None:
    token, _ = shared.add(RECORD, FILES)
    assert len(token) == 22
    with pytest.raises(OptionError, match="This is gone"):
        shared.find(token, "c")
    for name in ("../x", "record.json/..", "", "nothing.png", "/etc/passwd"):
        assert shared.find(token, "r").file(name) is None
    assert token not in (shared.folder / token / "record.json").read_text()


def test_only_who_shared_it_takes_it_back(shared: SharedResults) -> None:
    token, key = shared.add(RECORD, FILES)
    for other in ("", token, key[:-1]):
        with pytest.raises(OptionError, match="Only the browser that shared this"):
            shared.take_back(token, "r", other)
    assert key not in (shared.folder / token / "record.json").read_text()
    shared.take_back(token, "r", key)
    assert list(shared.folder.iterdir()) == []
    with pytest.raises(OptionError, match="takes it back"):
        shared.take_back(token, "r", key)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "r"}', '{"kind": "r", "title": "", "words": ""}'])
def test_a_record_of_another_version_is_one_sentence(shared: SharedResults, text: str) -> None:
    token, _ = shared.add(RECORD, FILES)
    (shared.folder / token / "record.json").write_text(text)
    with pytest.raises(OptionError, match="This is gone"):
        shared.find(token, "r")


def test_pngs_of_an_earlier_version_are_deleted_in_their_time(shared: SharedResults) -> None:
    old = shared.folder / f"{'a' * 22}.png"
    old.write_bytes(b"png")
    notes = shared.folder / "notes.txt"
    notes.write_text("mine")
    for path in (old, notes):
        os.utime(path, (0, 0))
    shared.delete_old()
    assert list(shared.folder.iterdir()) == [notes]


def test_sharing_has_bounds(tmp_path: Path) -> None:
    shared = SharedResults(Settings(shared_results=tmp_path, client_shares=2, shared_mib=0.01))
    for _ in range(2):
        shared.add(RECORD, FILES, "ada")
    with pytest.raises(OptionError, match="You have shared 2 things within the hour"):
        shared.add(RECORD, FILES, "ada")
    shared.add(RECORD, {"result.png": bytes(20_000)}, "bob")
    with pytest.raises(OptionError, match="stores no more shared things"):
        shared.add(RECORD, FILES, "cleo")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_limit_is_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit(1, 60)
    now = time.monotonic()
    assert [limit.allows("ada"), limit.allows("ada"), limit.allows("bob")] == [True, False, True]
    monkeypatch.setattr("demo.server.limits.time", SimpleNamespace(monotonic=lambda: now + 61))
    assert limit.allows("ada")


# ---- what is in it


def test_no_file_of_a_visitor_is_named(result: Path) -> None:
    record, files = sharing.result_to_share(result, None, make_config("draft", size=64), sources(result), 2.04, "x=1")
    assert record.title == "A photo in the manner of flowing strokes"
    assert record.description == "Strength 100, detail Sketch, 64 px, painted in 2.0 s."
    assert set(files) == {"result.png", "card.jpg"}
    said = repr(record) + repr(read_settings(files["result.png"]))
    assert "IMG" not in said
    assert "abc" not in said, "a checksum would tell who has the same photo"
    kept = read_settings(files["result.png"])
    assert kept["config"] == read_settings(result)["config"]
    assert kept["inputs"][1]["name"] == "flow_strokes"
    assert load_image(files["result.png"]).equal(load_image(result))


def sources(path: Path) -> list[Source]:
    return [Source(**each) for each in read_settings(path)["inputs"]]


def test_the_photo_is_in_it_only_where_it_may_be(result: Path, photo: Path) -> None:
    config = make_config("draft", size=64)
    _, alone = sharing.result_to_share(result, None, config, sources(result), None, "")
    _, both = sharing.result_to_share(result, photo, config, sources(result), None, "")
    assert "photo.jpg" not in alone
    assert Image.open(io.BytesIO(both["photo.jpg"])).size == (64, 48)
    assert alone["card.jpg"] != both["card.jpg"]


def test_titles_are_in_words() -> None:
    own, cat, glass = Source("x.png", "1"), *(Source(f"{name}.png", "") for name in ("chelsea", "stained_glass"))
    assert sharing.title_of([cat, glass]) == "Chelsea the cat in the manner of stained glass"
    assert sharing.title_of([own, own]) == "A photo in the manner of a picture"
    assert sharing.title_of([cat, own, own, glass]) == "Chelsea the cat in the manner of a picture and stained glass"
    assert sharing.title_of([]) == "A photo in the manner of a picture"


# ---- cards


@pytest.mark.parametrize("size", [(640, 400), (400, 640), (500, 500), (900, 100), (64, 1000)])
def test_a_card_of_any_picture_has_the_size_that_previews_want(tmp_path: Path, size: tuple[int, int]) -> None:
    paths = []
    for name, color in (("before", "red"), ("after", "blue")):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", size, color).save(paths[-1])
    for data in (
        cards.card_of_result(paths[1]),
        cards.card_of_result(paths[1], paths[0]),
        cards.card_of_comparison(paths * 3),
    ):
        assert Image.open(io.BytesIO(data)).size == (1200, 630)
        assert len(data) < 1_000_000
    card = Image.open(io.BytesIO(cards.card_of_result(paths[1], paths[0])))
    assert card.getpixel((300, 300))[0] > 200, "before at the left"
    assert card.getpixel((900, 300))[2] > 200, "after at the right"


@pytest.mark.parametrize("count", range(1, 13))
def test_a_card_shows_as_many_variants_as_fill_it(tmp_path: Path, count: int) -> None:
    paths = []
    for number in range(count):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (320, 240), (250 - 20 * number, 20 * number, 128)).save(paths[-1])
    card = Image.open(io.BytesIO(cards.card_of_comparison(paths)))
    white = sum(number for number, color in card.getcolors(1200 * 630) or [] if min(color) > 200)
    assert white < 0.03 * 1200 * 630, "no cell is empty"


# ---- heads


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.named: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta":
            self.named.append((values.get("property") or values.get("name") or "", values.get("content") or ""))


def test_a_head_takes_the_place_of_gradios_tags() -> None:
    page = (
        b'<html><head><meta property="og:title"\n content="Gradio" /><style>x</style><meta name="twitter:creator"'
        b' content="@Gradio"/></head><body><meta property="og:kept"></body></html>'
    )
    head = Head('Cat & "dog"', "<words>", "https://example.org/r/x", "https://example.org/r/x/card.jpg")
    text = with_head(page, head).decode()
    tags = dict(_Tags(text).named)
    assert "Gradio" not in text
    assert tags["og:title"] == tags["twitter:title"] == 'Cat & "dog"'
    assert tags["og:description"] == "<words>"
    assert "<style>x</style>" in text
    assert text.endswith('<body><meta property="og:kept"></body></html>')
    assert with_head(b"no page", head) == b"no page"


def served_head(url: str) -> dict[str, str]:
    answer = httpx.get(url)
    assert answer.status_code == 200
    tags = _Tags(answer.text).named
    names = [name for name, _ in tags if name.startswith(("og:", "twitter:"))]
    assert len(names) == len(set(names)), "each tag comes once"
    assert answer.text.count("<title>") == 1
    assert "Gradio" not in "".join(text for _, text in tags)
    return dict(tags)


@pytest.fixture(scope="module")
def served(serve_demo: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return serve_demo()


def share(served: SimpleNamespace, record: SharedRecord, **files: bytes) -> str:
    token, key = served.app.services.shared_results.add(record, {k.replace("_", "."): v for k, v in files.items()})
    served.key = key
    return f"{served.url}/{record.kind}/{token}"


def share_result(served: SimpleNamespace, result: Path, photo: Path | None = None) -> str:
    args = (make_config("draft", size=64), sources(result), 2.0, "strength=60&style=flow_strokes&photo=")
    record, files = sharing.result_to_share(result, photo, *args)
    token, served.key = served.app.services.shared_results.add(record, files)
    return f"{served.url}/r/{token}"


def test_the_page_and_what_is_shared_have_heads_of_their_own(served: SimpleNamespace, result: Path) -> None:
    front = served_head(served.url)
    assert front["og:title"].startswith("stylecore")
    link = share_result(served, result)
    head = served_head(link)
    assert head["og:title"] == "A photo in the manner of flowing strokes"
    assert "Strength 100, detail Sketch" in head["og:description"]
    assert (head["og:image"], head["og:url"]) == (f"{link}/card.jpg", link)
    for picture in (front["og:image"], head["og:image"]):
        answer = httpx.get(picture)
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (1200, 630)
    proxied = httpx.get(link, headers={"X-Forwarded-Host": "example.org", "X-Forwarded-Proto": "https"}).text
    assert f'content="https://example.org/r/{link[-22:]}/card.jpg"' in proxied


def test_links_of_before_lead_to_the_same_place(served: SimpleNamespace, result: Path) -> None:
    token = share_result(served, result)[-22:]
    answer = httpx.get(f"{served.url}/?photo=own&result={token}&tab=stylize", follow_redirects=True)
    assert answer.url.path == f"/r/{token}"
    assert answer.status_code == 200
    hostile = httpx.get(f"{served.url}/?result=//example.org/x", follow_redirects=True)
    assert str(hostile.url).startswith(served.url)


@pytest.mark.parametrize("token", ["x" * 22, "nothing", "..%2f..%2fetc", "%00" * 22, "é" * 22, "a" * 500])
@pytest.mark.parametrize("kind", ["r", "c"])
def test_what_is_gone_is_one_sentence(served: SimpleNamespace, kind: str, token: str) -> None:
    for path in ("", "/card.jpg", "/result.png", "/record.json", "/votes.csv"):
        answer = httpx.get(f"{served.url}/{kind}/{token}{path}")
        assert answer.status_code == 404
        assert "This is gone" in answer.text or "Not Found" in answer.text
        assert "Traceback" not in answer.text
    for method, path in (("DELETE", ""), ("POST", "/votes")):
        answer = httpx.request(method, f"{served.url}/{kind}/{token}{path}")
        assert answer.status_code in (400, 404, 405)


def test_only_pictures_of_a_shared_thing_are_served(served: SimpleNamespace, result: Path) -> None:
    link = share_result(served, result)
    assert httpx.get(f"{link}/result.png?download").headers["content-disposition"].startswith("attachment")
    for name in ("record.json", "comparison.html", "photo.jpg", "votes.jsonl", "..%2fx"):
        assert httpx.get(f"{link}/{name}").status_code == 404
    for address in (f"{served.url}/r", f"{served.url}/r/", f"{served.url}/c/"):
        assert httpx.get(address).status_code == 404, "nothing is listed"
    assert httpx.get(link).headers["x-robots-tag"] == "noindex"


def test_taking_back_over_the_net(served: SimpleNamespace, result: Path) -> None:
    link = share_result(served, result)
    refused = httpx.delete(link, headers={"X-Key": "guess"})
    assert (refused.status_code, "Only the browser" in refused.json()["detail"]) == (400, True)
    assert httpx.get(link).status_code == 200
    assert httpx.delete(link, headers={"X-Key": served.key}).status_code == 200
    for path in ("", "/card.jpg", "/result.png"):
        assert httpx.get(link + path).status_code == 404


def test_a_login_closes_what_is_shared_too(serve_demo: Callable[..., SimpleNamespace], result: Path) -> None:
    served = serve_demo(login=("ada", "secret"))
    link = share_result(served, result)
    for path in ("", "/card.jpg", "/result.png"):
        answer = httpx.get(link + path)
        assert answer.status_code == 401
        assert "log in first" in answer.text
    with httpx.Client() as client:
        client.post(f"{served.url}/login", data={"username": "ada", "password": "secret"}).raise_for_status()
        assert client.get(link).status_code == 200


# ---- comparisons and votes

PAGE = "<html><head><title>x</title></head><body><img data-picture alt='gram'></body></html>"


def share_comparison(served: SimpleNamespace) -> str:
    return share(served, COMPARISON, comparison_html=PAGE.encode(), card_jpg=b"jpg")


def test_a_comparison_may_be_framed_by_anybody_and_a_result_by_nobody(served: SimpleNamespace, result: Path) -> None:
    link = share_comparison(served)
    assert served_head(link)["og:title"] == "Two ways"
    policies = [httpx.get(each).headers["content-security-policy"] for each in (link, share_result(served, result))]
    assert "frame-ancestors *" in policies[0]
    assert "frame-ancestors 'self'" in policies[1]
    for policy in policies:
        assert "default-src 'none'" in policy, "it fetches nothing from anywhere else"


def test_there_are_no_votes_unless_the_host_wants_them(served: SimpleNamespace) -> None:
    link = share_comparison(served)
    assert "Which one is better" not in httpx.get(link).text
    answer = httpx.post(f"{link}/votes?better=0&worse=1")
    assert (answer.status_code, answer.json()["detail"]) == (400, "This server takes no votes.")


@pytest.fixture
def voted(shared: SharedResults) -> Shared:
    token, _ = shared.add(COMPARISON, {"comparison.html": b""})
    return shared.find(token, "c")


def test_votes_are_counted_by_pair_and_exported(voted: Shared) -> None:
    votes = Votes(Settings(votes=True))
    for better, worse in ((0, 1), (0, 1), (1, 0), (2, 1)):
        votes.add(voted, {"better": str(better), "worse": str(worse)}, "ada")
    assert votes.counts(voted)["gram", "bn"] == 2
    assert votes.csv(voted) == "better,worse,votes\nbn,gram,1\ngram,bn,2\npca,bn,1\n"
    assert "ada" not in (voted.folder / "votes.jsonl").read_text(), "who gave them is not stored"


@pytest.mark.parametrize("vote", [{}, {"better": "0"}, {"better": "1", "worse": "1"}, {"better": "0", "worse": "3"}])
def test_what_is_no_vote_is_told_what_one_is(voted: Shared, vote: dict[str, str]) -> None:
    votes = Votes(Settings(votes=True))
    for each in (vote, vote | {"worse": "-1"}, vote | {"better": "x"}):
        with pytest.raises(OptionError, match="A vote names two of the 3 variants"):
            votes.add(voted, each, "")
    assert votes.csv(voted) == "better,worse,votes\n"


def test_one_visitor_cannot_decide_alone(voted: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.server.votes.CLIENT_VOTES", 3)
    votes, vote = Votes(Settings(votes=True)), {"better": "0", "worse": "1"}
    for _ in range(3):
        votes.add(voted, vote, "ada")
    with pytest.raises(OptionError, match="enough votes of yours"):
        votes.add(voted, vote, "ada")
    votes.add(voted, vote, "bob")
    monkeypatch.setattr("demo.server.votes.MAX_BYTES", 1)
    with pytest.raises(OptionError, match="enough votes"):
        votes.add(voted, vote, "cleo")


def test_whether_votes_are_wanted_is_said_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Settings.read().votes
    monkeypatch.setenv("STYLECORE_VOTES", "1")
    assert Settings.read().votes
    monkeypatch.setenv("STYLECORE_VOTES", "perhaps")
    with pytest.raises(OptionError, match="STYLECORE_VOTES must be 1 or 0, not 'perhaps'"):
        Settings.read()


@pytest.mark.slow
@pytest.mark.browser
def test_a_visitor_votes_on_two_without_names(
    serve_demo: Callable[..., SimpleNamespace], browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLECORE_VOTES", "1")
    served = serve_demo()
    views = [View(name, card_uri(level), (8, 8)) for level, name in enumerate(COMPARISON.variants)]
    page_text = f"<html><head><title>x</title></head><body>{viewer_html(views)}</body></html>"
    link = share(served, COMPARISON, comparison_html=page_text.encode())
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    box = page.locator("#votes")
    box.wait_for()
    for name in COMPARISON.variants:
        assert name not in box.inner_text()
    for _ in range(3):
        with page.expect_response("**/votes?*"):
            box.get_by_role("button").first.click()
    page.get_by_text("Thank you.").wait_for()
    page.wait_for_function("document.querySelector('#votes .two').hidden")
    context.close()
    lines = httpx.get(f"{link}/votes.csv").text.splitlines()
    assert lines[0] == "better,worse,votes"
    assert [line.rsplit(",")[-1] for line in lines[1:]] == ["1"] * 3, "each pair once"


def card_uri(level: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (80 * level,) * 3).save(file, "PNG")
    return data_uri(file.getvalue(), "png")
