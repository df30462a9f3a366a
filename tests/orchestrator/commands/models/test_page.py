"""The page of a model: what it answers, whom it refuses, and how it looks in a real browser."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.commands.models.page import MAX_BODY, Page
from shapca.config import Task
from shapca.data import decoding
from shapca.data.schema import Labels
from shapca.prediction import Extraction, Extractor, FoundEntity, FoundRelation, Post
from shapca.prediction.extraction import PostError
from tests.browser import MISSING, Browser, is_there
from tests.factories import tiny_config
from tests.shapca.prediction.conftest import RUNTIME, Datasets, trained_store

TEXT = "<b>Ada</b> 🙂 met <img src=x onerror=alert(1)> in Rome"


class Fake:
    """A model that finds Ada and Rome, which know each other."""

    config = tiny_config("mjere")
    labels = Labels("mjere", ("LOC", "PER"), ("in",))

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.pictures: list[bytes] = []

    def extract_many(self, posts: list[Post]) -> list[Extraction]:
        self.posts += posts
        (post,) = posts
        if post.image is not None:
            self.pictures.append(post.image.read_bytes())
        if post.text == "bad":
            raise PostError(0, "<i>the model</i> has no use for it")
        if "Ada" not in post.text:
            return [Extraction(post.text, ())]
        ada, rome = (
            FoundEntity(word, post.text.index(word), post.text.index(word) + len(word), kind, sure)
            for word, kind, sure in (("Ada", "PER", 0.91), ("Rome", "LOC", 0.5))
        )
        return [Extraction(post.text, (), (ada, rome), (FoundRelation(ada, rome, "in", 0.25),))]

    def cosines(self, post: Post) -> dict[str, float]:
        return {"text and context": 0.625} if post.context else {}


@contextmanager
def served(model: Any, name: str = "the <i>model</i>") -> Iterator[Page]:
    with Page(model, name, 0) as page:
        thread = threading.Thread(target=page.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield page
        page.shutdown()
        thread.join()


@pytest.fixture
def model() -> Fake:
    return Fake()


@pytest.fixture
def page(model: Fake) -> Iterator[Page]:
    with served(model) as page:
        yield page


def ask(page: Page, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """Status and answer; a header `Content_Type` is sent as `Content-Type`, an empty one not."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=20)
    given = {"Host": f"127.0.0.1:{page.server_port}", "Content-Length": str(len(body)),
             "Content-Type": "application/json"}  # fmt: skip
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in given.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    policy = answer.getheader("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    connection.close()
    is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
    return answer.status, json.loads(content) if is_json else content.decode()


def extract(page: Page, post: Any, **headers: str) -> tuple[int, Any]:
    return ask(page, "POST", "/extract", json.dumps(post).encode(), **headers)


def picture(kind: str = "PNG") -> str:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 10)).save(stream, kind)
    return base64.b64encode(stream.getvalue()).decode()


def test_it_answers_what_the_model_finds(page: Page, model: Fake) -> None:
    status, found = extract(page, {"text": TEXT, "context": "a city", "image_base64": picture()})
    assert status == 200
    assert found["text"] == TEXT
    assert [(e["text"], e["type"], e["confidence"]) for e in found["entities"]] == [
        ("Ada", "PER", 0.91), ("Rome", "LOC", 0.5)
    ]  # fmt: skip
    assert found["relations"][0]["type"] == "in"
    assert found["cosines"] == {"text and context": 0.625}
    assert model.posts[0].context == "a city"
    assert model.pictures == [base64.b64decode(picture())]
    assert model.posts[0].image is not None
    assert not model.posts[0].image.exists()
    assert ask(page, "GET", "/about")[1] == {
        "name": "the <i>model</i>", "task": "mjere", "types": ["LOC", "PER", "in"],
        "reads_context": True, "reads_image": True,
        "example": {"text": "Frida Kahlo lives in Lisbon now", "entities": "Frida Kahlo; Lisbon"},
    }  # fmt: skip
    for path in ("/", "/demo.js", "/demo.css"):
        status, content = ask(page, "GET", path)
        assert status == 200
        assert "<script>" not in content
        assert "innerHTML" not in content
        assert "http://" not in content
        assert "https://" not in content


def test_other_names_than_loopbacks_are_refused(page: Page, model: Fake) -> None:
    port = page.server_port
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1:{port + 1}", "127.0.0.1", ""):
        for method, path in (("GET", "/"), ("GET", "/about"), ("POST", "/extract")):
            assert ask(page, method, path, b'{"text": "Ada"}', Host=host)[0] == 421
    assert model.posts == []
    assert extract(page, {"text": "Rome"}, Host=f"localhost:{port}")[0] == 200


def test_posts_of_other_pages_are_refused(page: Page, model: Fake) -> None:
    post = {"text": "Ada in Rome"}
    for origin in ("http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"):
        assert extract(page, post, Origin=origin)[0] == 403
    for site in ("cross-site", "same-site"):
        assert extract(page, post, Sec_Fetch_Site=site)[0] == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert extract(page, post, Content_Type=kind)[0] == 415  # what a form can send
    assert model.posts == []
    ours = {"Origin": page.address.rstrip("/"), "Sec_Fetch_Site": "same-origin"}
    assert extract(page, post, **ours)[0] == 200


@pytest.mark.parametrize(
    ("post", "message"),
    [
        ([], "damaged"),
        ({}, "text is missing"),
        ({"text": 5}, "text: expected a string"),
        ({"text": "x" * 5001}, "expected 5000 at most"),
        ({"text": "Ada", "context": "x" * 10_001}, "expected 10000 at most"),
        ({"text": "Ada", "image": "/etc/passwd"}, "'image': expected text, context"),
        ({"text": "Ada", "image_base64": "!"}, "no base64"),
        ({"text": "Ada", "image_base64": picture("TIFF")}, "no readable picture; expected JPEG"),
        ({"text": "bad"}, "<i>the model</i> has no use for it"),
    ],
)
def test_what_is_no_post_is_one_message(page: Page, post: Any, message: str) -> None:
    status, answer = extract(page, post)
    assert status == 400
    assert message in answer["error"]


def test_bodies_and_pictures_are_bounded(
    page: Page, model: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(page, "POST", "/extract", Content_Length=str(MAX_BODY + 1))[0] == 413
    for length in ("", "-1", "x", "1" * 13, "²"):
        if length.isascii():
            assert ask(page, "POST", "/extract", Content_Length=length)[0] == 411
    monkeypatch.setattr(decoding, "MAX_PIXELS", 47)
    status, answer = extract(page, {"text": "Ada", "image_base64": picture()})
    assert (status, "8 × 6 pixels, expected 47 at most" in answer["error"]) == (400, True)
    assert model.posts == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 413),
    ],
)
def test_a_refusal_is_read_by_one_that_is_still_sending(
    page: Page, headers: dict[str, str], status: int
) -> None:
    """All of a large body is sent before the answer is looked at, as browsers do."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=20)
    body = b"x" * (MAX_BODY + 2**24)
    connection.request("POST", "/extract", body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    assert answer.status == status
    assert "expected" in answer.read().decode() or status == 403
    connection.close()


@pytest.mark.parametrize(
    ("labels", "fits"),
    [
        (Labels("mner", ("LOC", "MISC", "ORG", "PER")), True),
        (Labels("mner", ("DISEASE", "DRUG")), False),
        (Labels("mner", ("ORG", "PER")), False),
        (Labels("mre", (), ("/per/loc/place_of_residence", "/per/per/peer")), True),
        (Labels("mre", (), ("treats",)), False),
    ],
)
def test_the_example_is_one_of_the_models_own_types(
    model: Fake, labels: Labels, fits: bool
) -> None:
    model.labels = labels
    with served(model) as page:
        assert (ask(page, "GET", "/about")[1]["example"] is not None) == fits


def test_a_model_that_fails_is_said_without_the_post(
    page: Page, model: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(post: Post) -> dict[str, float]:
        raise MemoryError(f"no room for {post.text}")

    monkeypatch.setattr(model, "cosines", fails)
    assert extract(page, {"text": "secret"}) == (500, {"error": "the model failed (MemoryError)"})
    assert extract(page, {"text": "Ada"})[0] == 500  # it goes on serving
    while "test_page.py" not in (said := capsys.readouterr().err):
        time.sleep(0.01)
    assert "MemoryError" in said
    assert "secret" not in said


def test_nothing_else_is_served(page: Page) -> None:
    for path in ("/../page.py", "/page.py", "/demo.html", "//evil.example/", "/%2e%2e/page.py"):
        assert ask(page, "GET", path)[0] == 404
    assert ask(page, "POST", "/about", b"{}")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS"):
        connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=20)
        connection.request(method, "/extract")
        answer = connection.getresponse()
        assert answer.status == 501
        assert answer.getheader("Access-Control-Allow-Origin") is None
        connection.close()


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
def test_models_of_each_task_are_shown(tiny_datasets: Datasets, task: Task) -> None:
    changes = {"image.encoder": "none", "optimisation.epochs": 1}
    store = trained_store(tiny_datasets[task], tiny_config(task, **changes))
    extractor = Extractor.load(store, runtime=RUNTIME)
    with served(extractor) as page:
        about = ask(page, "GET", "/about")[1]
        assert (about["task"], about["reads_image"]) == (task, False)
        post: dict[str, Any] = {"text": "Frida Kahlo lives in Lisbon now", "context": "a house"}
        if task == "mre":
            assert "give two or more" in extract(page, post)[1]["error"]
            post["entities"] = [[0, 11], [21, 27]]
        status, found = extract(page, post)
        wanted = extractor.extract(**{**post, "entities": post.get("entities", ())})
        assert (status, found) == (200, {**wanted.to_json(), "cosines": found["cosines"]})
        assert set(found["cosines"]) == {"text and context"}
        assert (
            "the model reads no images"
            in extract(page, {**post, "image_base64": picture()})[1]["error"]
        )


@pytest.mark.skipif(not is_there(), reason=MISSING)
def test_a_browser_shows_spans_relations_and_cosines_and_runs_no_markup(
    page: Page, model: Fake, tmp_path: Path
) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(base64.b64decode(picture()))
    with Browser(patience=60) as browser:
        browser.open(page.address)
        browser.wait("document.body.dataset.ready")
        assert browser.run("document.getElementById('title').innerText") == "the <i>model</i>"
        example = browser.run("document.getElementById('text').value")
        assert example == "Frida Kahlo lives in Lisbon now"
        for name, value in (("text", TEXT), ("context", "a city")):
            browser.run(f"document.getElementById('{name}').value = {json.dumps(value)}")
        browser.choose_file("#image", file)
        browser.run("document.getElementById('go').click()")
        browser.wait("!document.getElementById('result').hidden")
        shown = "document.getElementById('{}').innerText"
        assert browser.run(shown.format("marked")).startswith("<b>AdaPER</b> 🙂 met <img src=x")
        marks = "[...document.querySelectorAll('mark')].map(m => [m.firstChild.data, m.className])"
        assert browser.run(marks) == [["Ada", "t1"], ["Rome", "t0"]]
        colours = (
            "[...document.querySelectorAll('mark')].map(m => getComputedStyle(m).backgroundColor)"
        )
        assert browser.run(colours) == ["rgb(255, 197, 143)", "rgb(168, 209, 240)"]
        assert "Ada\tPER\t0.910" in browser.run(shown.format("found"))
        assert browser.run(shown.format("relations")) == "Ada — in → Rome 0.250"
        assert browser.run(shown.format("cosines")).split("\n") == ["text and context", "0.625"]
        assert model.pictures == [file.read_bytes()]
        browser.run("document.getElementById('text').value = 'bad'")
        browser.run("document.getElementById('go').click()")
        message = browser.wait(shown.format("error"))
        assert message == "<i>the model</i> has no use for it"
        complaints = [line for line in browser.complaints() if "400 (Bad Request)" not in line]
        assert complaints == []
