"""Contexts from an endpoint: the real client against a server on loopback that fails at times."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shapca.contexts.generators import pace
from shapca.contexts.generators.endpoint import data_url
from shapca.contexts.generators.pace import Pace, asked_wait
from shapca.contexts.pictures import decode, pictures_of_folder
from shapca.contexts.report import GenerationReport
from shapca.contexts.run import GIVE_UP_AFTER, generate_contexts
from shapca.contexts.settings import EndpointSettings, GenerationSettings
from shapca.errors import InputError
from tests.drawn_pictures import draw_pictures
from tests.endpoint import Endpoint, endpoint, picture_of, said_of

KEY = "sk-secret-0123456789"
NUM_PICTURES = 6


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(pace, "FIRST_WAIT", 0.01)
    with endpoint() as state:
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures", NUM_PICTURES)


def run(
    server: Endpoint, folder: Path, *, max_cost: float | None = None, **arguments: Any
) -> tuple[GenerationReport, dict[str, dict[str, Any]]]:
    """Generate; the report, and the records by image id."""
    names = EndpointSettings.__dataclass_fields__
    asked = {key: arguments.pop(key) for key in list(arguments) if key in names}
    settings = GenerationSettings(
        "openai:eyes-1", endpoint=EndpointSettings(base_url=server.url, **asked), **arguments
    )
    out = folder.parent / "out.jsonl"
    report = generate_contexts(pictures_of_folder(folder), settings, out, max_cost=max_cost)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len({line["image"] for line in lines}) == len(lines)
    return report, {line["image"]: line for line in lines}


def test_every_picture_is_asked_about_once_and_its_answer_kept(
    server: Endpoint, folder: Path
) -> None:
    report, records = run(
        server, folder, price_in=2.0, price_out=30.0, temperature=0.5, max_new_tokens=33, seed=7,
        prompt="What is this?",
    )  # fmt: skip
    assert report.statuses == {"ok": NUM_PICTURES}
    assert len(server.asked) == NUM_PICTURES
    assert {record["text"] for record in records.values()} == {
        said_of(record["image_sha256"]) for record in records.values()
    }
    body = server.asked[0]
    assert body["model"] == "eyes-1"
    assert (body["temperature"], body["max_tokens"]) == (0.5, 33)
    assert body["messages"][0]["content"][0] == {"type": "text", "text": "What is this?"}
    seeds = {record["image_seed"] for record in records.values()}
    assert {body["seed"] for body in server.asked} == seeds
    assert len(seeds) == NUM_PICTURES
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert (report.prompt_tokens, report.tokens) == (600, 60)
    assert report.cost == pytest.approx(6 * (100 * 2.0 + 10 * 30.0) / 1e6)
    assert run(server, folder, temperature=0.5, max_new_tokens=33, seed=7,
               prompt="What is this?")[0].num_kept == NUM_PICTURES  # fmt: skip
    assert len(server.asked) == NUM_PICTURES


@pytest.mark.parametrize("fault", ["429", "500", "cut", "malformed", "no choices", "no text"])
def test_faults_are_repeated_counted_and_leave_no_trace_in_the_text(
    server: Endpoint, folder: Path, fault: str
) -> None:
    server.plan = [fault, fault]
    report, records = run(server, folder, batch_size=2)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert report.retries == 2
    assert len(server.asked) == NUM_PICTURES + 2
    assert report.attempts == NUM_PICTURES
    assert all(r["text"] == said_of(r["image_sha256"]) for r in records.values())


def test_a_slow_answer_is_given_up_and_asked_for_again(server: Endpoint, folder: Path) -> None:
    server.plan = ["slow"]
    report, _ = run(server, folder, timeout=0.5)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert report.retries == 1


def test_an_asked_for_pause_holds_every_thread(server: Endpoint, folder: Path) -> None:
    server.plan = ["429"]
    run(server, folder, batch_size=1)
    assert server.times[1] - server.times[0] >= 0.3


def test_requests_a_minute_are_limited(server: Endpoint, folder: Path) -> None:
    report, _ = run(server, folder, batch_size=6, requests_per_minute=1200.0)
    assert report.seconds >= (NUM_PICTURES - 1) * 0.05


def test_faults_without_end_are_recorded_and_tried_again_by_the_next_run(
    server: Endpoint, folder: Path
) -> None:
    source = pictures_of_folder(folder)
    bad = next(iter(source))
    sha256 = hashlib.sha256(source.read(bad)).hexdigest()
    server.for_picture[sha256] = "500"
    report, records = run(server, folder, max_retries=2)
    assert report.statuses == {"ok": NUM_PICTURES - 1, "failed": 1}
    assert not report.is_complete
    assert records[bad]["text"] == ""
    assert records[bad]["reason"] == "HTTP 500: " + "fault 500"
    assert (records[bad]["attempts"], records[bad]["retries"]) == (0, 2)
    server.for_picture.clear()
    report, records = run(server, folder, max_retries=2)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert (report.num_kept, report.num_generated) == (NUM_PICTURES - 1, 1)
    assert (records[bad]["attempts"], records[bad]["retries"]) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("refusal", "refused", "I will not describe this."),
        ("filter", "refused", "content_filter"),
        ("400 filter", "refused", "content_policy_violation"),
        ("sorry", "refused", "in words"),
        ("empty", "empty", None),
        ("length", "over_long", "not ended after 128 tokens"),
        ("400", "failed", "HTTP 400: fault 400"),
        ("429 for an hour", "failed", "HTTP 429: fault 429 (asks to wait 3600 s)"),
    ],
)
def test_what_is_no_context_is_recorded_as_such(
    server: Endpoint, folder: Path, fault: str, status: str, reason: str | None
) -> None:
    server.always = fault
    report, records = run(server, folder, attempts=2)
    assert report.statuses == {status: NUM_PICTURES}
    assert report.num_texts == 0
    for record in records.values():
        assert (record["status"], record["text"], record["reason"]) == (status, "", reason)
        assert record["attempts"] == (0 if status == "failed" else 2)
    if status == "over_long":
        assert records["p0"]["answer"] == said_of(records["p0"]["image_sha256"])
    # Another attempt is another draw.
    num_seeds = len({body["seed"] for body in server.asked})
    assert num_seeds == NUM_PICTURES * (1 if status == "failed" else 2)
    num_asked = len(server.asked)
    if status != "failed":
        assert run(server, folder, attempts=2)[0].num_kept == NUM_PICTURES
        assert len(server.asked) == num_asked


def test_a_refusal_may_give_way_to_an_answer(server: Endpoint, folder: Path) -> None:
    server.plan = ["refusal"] * NUM_PICTURES
    report, records = run(server, folder)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert report.attempts == 2 * NUM_PICTURES
    assert records["p0"]["tokens"] == 20  # of both answers


def test_a_dead_endpoint_ends_the_run(server: Endpoint, tmp_path: Path) -> None:
    folder = draw_pictures(tmp_path / "many", GIVE_UP_AFTER + 5)
    server.always = "500"
    report, records = run(server, folder, max_retries=0, batch_size=5)
    assert report.stopped == f"{GIVE_UP_AFTER} pictures in a row failed: " + ("HTTP 500: fault 500")
    assert len(records) == GIVE_UP_AFTER


def test_a_used_up_account_ends_the_run_at_once(server: Endpoint, folder: Path) -> None:
    server.plan = ["good", "no quota"]
    report, records = run(server, folder, batch_size=1)
    assert report.stopped == "openai:eyes-1: HTTP 429: fault 429"
    assert len(records) == 1


def test_a_budget_ends_the_run(server: Endpoint, folder: Path) -> None:
    report, records = run(server, folder, batch_size=1, price_in=1000.0, max_cost=0.15)
    assert report.stopped == "the cost has passed 0.15 (--max-cost)"
    assert report.cost == pytest.approx(0.2)
    assert len(records) == 2


def test_a_limit_on_the_cost_needs_a_price(server: Endpoint, folder: Path) -> None:
    with pytest.raises(InputError, match=r"--max-cost: expected openai:MODEL with --price-in"):
        run(server, folder, max_cost=1.0)
    assert server.asked == []
    assert not (folder.parent / "out.jsonl").exists()


@pytest.mark.parametrize(
    "fault",
    [
        "no usage",
        "no usage, sorry",
        "usage completion_tokens=-1000000",
        "usage prompt_tokens=-1",
        "usage prompt_tokens=0",
        "usage completion_tokens=0",
        "usage prompt_tokens=1e99",
        "usage completion_tokens=10.5",
        "usage completion_tokens=99999999999999999999",
    ],
)
def test_a_limit_on_the_cost_needs_counted_tokens(
    server: Endpoint, folder: Path, fault: str
) -> None:
    server.always = fault
    asked: dict[str, Any] = {"batch_size": 2, "attempts": 1}
    report, records = run(server, folder, price_in=1.0, max_cost=1.0, **asked)
    assert "does not report the tokens used (`usage`)" in str(report.stopped)
    assert len(records) == len(server.asked) == 2
    report, records = run(server, folder, price_in=1.0, **asked)  # without a limit it may go on
    assert (report.stopped, len(records)) == (None, NUM_PICTURES)


@pytest.mark.parametrize("fault", ["drip", "drip of headers"])
def test_an_answer_that_never_ends_is_given_up_in_time(
    server: Endpoint, folder: Path, fault: str
) -> None:
    server.plan = [fault]
    began = time.monotonic()
    report, _ = run(server, folder, timeout=0.5)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert report.retries == 1
    assert time.monotonic() - began < 10
    assert server.sent < 100


@pytest.mark.parametrize("fault", ["endless", "bomb"])
def test_an_answer_of_any_size_is_refused_and_not_paid_for_again(
    server: Endpoint, folder: Path, fault: str
) -> None:
    server.plan = [fault]
    _, records = run(server, folder, batch_size=1)
    failed = [record for record in records.values() if record["status"] == "failed"]
    said = "more than 4 MiB of answer" if fault == "endless" else "the answer is compressed"
    assert [record["reason"].startswith(said) for record in failed] == [True]
    assert len(server.asked) == NUM_PICTURES
    assert server.sent < 50  # what the system's buffers hold


@pytest.mark.parametrize("fault", ["no quota", "401"])
def test_answers_beside_a_fatal_one_are_kept(server: Endpoint, folder: Path, fault: str) -> None:
    contents = [(folder / f"p{index}.png").read_bytes() for index in range(NUM_PICTURES)]
    *others, last = (hashlib.sha256(content).hexdigest() for content in contents)
    server.for_picture = {**dict.fromkeys(others, "slow"), last: fault}
    if fault == "401":
        with pytest.raises(InputError, match="the endpoint refuses the key"):
            run(server, folder)
    else:
        assert "HTTP 429" in str(run(server, folder)[0].stopped)
    lines = (folder.parent / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(server.asked) - 1 > 0
    assert {json.loads(line)["status"] for line in lines} == {"ok"}


def test_nobody_waits_for_a_turn_after_a_fatal_answer(server: Endpoint, folder: Path) -> None:
    server.always = "no quota"
    began = time.monotonic()
    report, records = run(server, folder, requests_per_minute=1.0)
    assert (len(server.asked), records) == (1, {})
    assert "HTTP 429" in str(report.stopped)
    assert time.monotonic() - began < 30


def test_a_picture_that_cannot_be_sent_fails_alone(
    server: Endpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (folder / "p2.png").read_bytes()

    def choke(sent: bytes) -> str:
        if sent == content:
            raise OSError("too odd")
        return data_url(sent)

    monkeypatch.setattr("shapca.contexts.generators.endpoint.data_url", choke)
    report, records = run(server, folder)
    assert records["p2"]["reason"] == "OSError: too odd"
    assert report.statuses == {"ok": NUM_PICTURES - 1, "failed": 1}
    assert len(server.asked) == NUM_PICTURES - 1  # none of the others is paid for twice


def test_half_a_character_is_replaced(server: Endpoint, folder: Path) -> None:
    server.always = "half a character"
    report, records = run(server, folder)
    assert report.statuses == {"ok": NUM_PICTURES}
    assert {record["text"] for record in records.values()} == {"smile \U0001f600 and \ufffd"}


def test_the_key_is_found_nowhere(
    server: Endpoint, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.plan = ["500"]
    run(server, folder)
    assert KEY not in (folder.parent / "out.jsonl").read_text()
    server.always = "401"
    (folder.parent / "out.jsonl").unlink()
    with pytest.raises(InputError, match=r"refuses the key in OPENAI_API_KEY") as raised:
        run(server, folder)
    assert KEY not in str(raised.value)
    assert "wrong key Bearer ***" in str(raised.value)
    assert KEY not in caplog.text


def test_a_model_that_is_not_there(server: Endpoint, folder: Path) -> None:
    server.always = "404"
    with pytest.raises(InputError, match=r"openai:eyes-1: no such model or address \(HTTP 404"):
        run(server, folder)


def test_kinds_that_endpoints_do_not_take_are_sent_as_png(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for suffix, kind in (("jpg", "jpeg"), ("png", "png"), ("webp", "webp"), ("bmp", "png")):
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
        content = (tmp_path / f"a.{suffix}").read_bytes()
        url = data_url(content)
        assert url.startswith(f"data:image/{kind};base64,")
        sent = picture_of({"messages": [{"content": [{}, {"image_url": {"url": url}}]}]})
        assert (sent == content) is (suffix != "bmp")
        if suffix == "bmp":
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent))), pixels)


def test_grey_of_16_bits_is_sent_with_8_and_seen_so_by_models(tmp_path: Path) -> None:
    grey = np.arange(16).reshape(4, 4) * 17
    Image.fromarray((grey * 257).astype(np.uint16)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    url = data_url(content)
    sent = picture_of({"messages": [{"content": [{}, {"image_url": {"url": url}}]}]})
    for picture in (Image.open(io.BytesIO(sent)), decode(content)):
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture)[..., 0], grey)


def test_waits_that_are_asked_for() -> None:
    assert asked_wait({"retry-after": "3"}) == 3.0
    assert asked_wait({"retry-after": "3", "retry-after-ms": "250"}) == 0.25
    assert asked_wait({}) is None
    assert asked_wait({"retry-after": "soon"}) is None
    assert asked_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_pace_with_a_clock_of_its_own() -> None:
    now, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 6))
        now += seconds

    pace_ = Pace(30.0, clock=lambda: now, sleep=sleep)
    for _ in range(3):
        pace_.wait()
    assert slept == [2.0, 2.0]
    pace_.pause(10.0)
    pace_.wait()
    assert slept == [2.0, 2.0, 10.0]
