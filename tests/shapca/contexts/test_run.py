"""A run over pictures: resumed, interrupted, with broken and identical pictures; its file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shapca.contexts import run as running
from shapca.contexts.generators.generator import Answer, Identity, Request
from shapca.contexts.generators.opening import identify
from shapca.contexts.pictures import pictures_of_data, pictures_of_folder
from shapca.contexts.record_file import RecordFile
from shapca.contexts.report import GenerationReport
from shapca.contexts.run import GIVE_UP_AFTER, generate_contexts
from shapca.contexts.settings import GenerationSettings, seed_of
from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.context_record import ContextRecord
from shapca.data.preparation.prepare import add_context_sets
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from tests.drawn_pictures import draw_pictures
from tests.factories import tiny_data

NUM = 10
Behaviour = Callable[[Request], Answer]


def plain(request: Request) -> Answer:
    digest = hashlib.sha256(request.content).hexdigest()
    return Answer(text=f"{digest[:8]} {request.seed}", prompt_tokens=5, tokens=2)


class FakeGenerator:
    """Answers by a rule, and remembers what it was asked."""

    def __init__(self) -> None:
        self.rule: Behaviour = plain
        self.asked: list[list[str]] = []

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked.append([request.image for request in requests])
        return [self.rule(request) for request in requests]

    @property
    def images(self) -> list[str]:
        return [image for batch in self.asked for image in batch]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGenerator:
    generator = FakeGenerator()
    monkeypatch.setattr(running, "open_generator", lambda settings: generator)
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    return generator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures", NUM)


def settings(**arguments: Any) -> GenerationSettings:
    return GenerationSettings("openai:fake", **{"batch_size": 4, **arguments})


def run(
    folder: Path, *, retry_failed: bool = False, **arguments: Any
) -> tuple[GenerationReport, dict[str, dict[str, Any]]]:
    out = folder.parent / "out.jsonl"
    report = generate_contexts(
        pictures_of_folder(folder), settings(**arguments), out, retry_failed=retry_failed
    )
    return report, records_of(out)


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in lines] == sorted({line["image"] for line in lines})
    return {line["image"]: line for line in lines}


def without_times(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        image: {key: value for key, value in record.items() if key not in ("seconds", "time")}
        for image, record in records.items()
    }


def test_records_say_where_a_text_comes_from(fake: FakeGenerator, folder: Path) -> None:
    report, records = run(folder, seed=3)
    assert report.statuses == {"ok": NUM}
    assert [len(batch) for batch in fake.asked] == [4, 4, 2]
    record = records["p4"]
    sha256 = hashlib.sha256((folder / "p4.png").read_bytes()).hexdigest()
    assert record["image_sha256"] == sha256
    assert record["image_seed"] == seed_of(3, sha256, 0)
    assert record["text"] == f"{sha256[:8]} {record['image_seed']}"
    assert record["generator"] == "openai:fake"
    assert record["prompt_sha256"] == hashlib.sha256(settings().prompt.encode()).hexdigest()
    assert record["sampling"] == {
        "temperature": 1.0, "max_new_tokens": 128, "seed": 3, "keep_cut": False
    }  # fmt: skip
    assert (record["prompt_tokens"], record["tokens"]) == (5, 2)
    assert record["time"].endswith("+00:00")
    assert ContextRecord.from_json(record).to_json() == record


def test_a_second_run_asks_nothing_and_changes_nothing(fake: FakeGenerator, folder: Path) -> None:
    run(folder)
    before = (folder.parent / "out.jsonl").read_bytes()
    report, _ = run(folder)
    assert len(fake.images) == NUM
    assert (report.num_kept, report.num_generated, report.attempts) == (NUM, 0, 0)
    assert (folder.parent / "out.jsonl").read_bytes() == before
    draw_pictures(folder, NUM + 2)
    assert run(folder)[0].num_generated == 2


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    fake: FakeGenerator, folder: Path, batch: int
) -> None:
    _, whole = run(folder)
    (folder.parent / "out.jsonl").unlink()

    def interrupt(request: Request) -> Answer:
        if len(fake.asked) > 3 + batch:
            raise KeyboardInterrupt
        return plain(request)

    fake.rule = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    fake.rule = plain
    fake.asked.clear()
    report, records = run(folder)
    assert len(fake.images) == NUM - 4 * batch
    assert report.num_kept == 4 * batch
    assert without_times(records) == without_times(whole)


@pytest.mark.parametrize("lost", [2, 7, 200])
def test_a_half_written_last_line_is_cut_off_and_made_again(
    fake: FakeGenerator, folder: Path, lost: int
) -> None:
    _, whole = run(folder)
    out = folder.parent / "out.jsonl"
    out.write_bytes(out.read_bytes()[:-lost])
    fake.asked.clear()
    report, records = run(folder)
    assert report.num_cut == 1
    assert fake.images == ["p9"]
    assert without_times(records) == without_times(whole)


@pytest.mark.parametrize("kept", [11, 12, 16, 60])
def test_a_half_written_first_line_is_cut_off_too(
    fake: FakeGenerator, folder: Path, kept: int
) -> None:
    _, whole = run(folder)
    out = folder.parent / "out.jsonl"
    out.write_bytes(out.read_bytes()[:kept])
    report, records = run(folder)
    assert report.num_cut == 1
    assert without_times(records) == without_times(whole)


def test_a_last_line_without_its_line_break_is_kept(fake: FakeGenerator, folder: Path) -> None:
    run(folder)
    out = folder.parent / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(whole[:-1])
    fake.asked.clear()
    report, _ = run(folder)
    assert (report.num_cut, report.num_kept, fake.images) == (0, NUM, [])
    assert out.read_bytes() == whole


def test_identical_pictures_are_asked_about_once(fake: FakeGenerator, folder: Path) -> None:
    shutil.copy(folder / "p0.png", folder / "twin.png")
    shutil.copy(folder / "p0.png", folder / "a_twin.png")
    report, records = run(folder)
    assert len(fake.images) == NUM
    assert report.num_same == 2
    assert report.statuses == {"ok": NUM + 2}
    assert records["twin"]["text"] == records["p0"]["text"] == records["a_twin"]["text"]
    # The first in order was asked about; the others say so and count nothing.
    assert records["a_twin"]["same_as"] is None
    assert (records["p0"]["same_as"], records["p0"]["tokens"]) == ("a_twin", None)
    shutil.copy(folder / "p0.png", folder / "z_twin.png")
    report, records = run(folder)
    assert (report.num_generated, report.num_same) == (0, 1)
    assert records["z_twin"]["same_as"] == "a_twin"
    assert len(fake.images) == NUM


def test_a_picture_that_was_exchanged_is_asked_about_again(
    fake: FakeGenerator, folder: Path
) -> None:
    _, first = run(folder)
    Image.new("RGB", (9, 9), "red").save(folder / "p3.png")
    fake.asked.clear()
    report, records = run(folder)
    assert fake.images == ["p3"]
    assert report.num_kept == NUM - 1
    assert records["p3"]["text"] != first["p3"]["text"]


def test_broken_pictures_stop_nothing(fake: FakeGenerator, folder: Path) -> None:
    (folder / "p1.png").write_bytes(b"")
    (folder / "p2.png").write_bytes((folder / "p2.png").read_bytes()[:60])
    (folder / "p5.png").write_bytes(b"no picture at all")
    report, records = run(folder)
    assert report.statuses == {"ok": NUM - 3, "broken_image": 3}
    assert report.is_complete
    assert {"p1", "p2", "p5"} == set(report.reasons)
    assert "broken_image: UnidentifiedImageError" in report.reasons["p1"]
    assert records["p2"]["text"] == ""
    assert not {"p1", "p2", "p5"} & set(fake.images)
    assert run(folder)[0].num_kept == NUM
    draw_pictures(folder, NUM)  # mended
    report, _ = run(folder)
    assert (report.num_generated, report.statuses) == (3, {"ok": NUM})


def test_pictures_behind_links_are_found_and_links_to_nothing_counted(
    fake: FakeGenerator, folder: Path
) -> None:
    linked = folder.parent / "linked"
    linked.mkdir()
    (linked / "more").symlink_to(folder)
    (linked / "gone.png").symlink_to(folder / "nothing.png")
    report, records = run(linked)
    assert (report.num_images, report.num_absent, len(records)) == (NUM, 1, NUM)


def test_a_picture_that_cannot_be_opened(fake: FakeGenerator, folder: Path) -> None:
    source = pictures_of_folder(folder)
    (folder / "p6.png").unlink()
    report = generate_contexts(source, settings(), folder.parent / "out.jsonl")
    assert report.statuses == {"ok": NUM - 1, "broken_image": 1}
    assert report.reasons == {"p6": "broken_image: FileNotFoundError: No such file or directory"}


def test_a_picture_that_changes_during_the_run(
    fake: FakeGenerator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pictures_of_folder(folder)
    read = type(source).read
    seen: list[str] = []

    def changing(self: Any, image: str) -> bytes:
        seen.append(image)
        return read(self, image) + (b"x" if image == "p1" and seen.count("p1") > 1 else b"")

    monkeypatch.setattr(type(source), "read", changing)
    report = generate_contexts(source, settings(), folder.parent / "out.jsonl")
    assert report.reasons == {"p1": "broken_image: changed while the run was at work"}


def test_a_picture_that_the_model_cannot_take_fails_alone(
    fake: FakeGenerator, folder: Path
) -> None:
    def choke(request: Request) -> Answer:
        if request.image == "p2":
            raise RuntimeError("too thin")
        return plain(request)

    fake.rule = choke
    report, records = run(folder)
    assert report.statuses == {"ok": NUM - 1, "failed": 1}
    assert records["p2"]["reason"] == "RuntimeError: too thin"
    fake.rule = plain
    fake.asked.clear()
    report, _ = run(folder)
    assert fake.images == ["p2"]
    assert report.statuses == {"ok": NUM}


def test_what_was_spent_before_a_fatal_error_is_kept(fake: FakeGenerator, folder: Path) -> None:
    def fatal_at_last(request: Request) -> Answer:
        if fake.images.count("p3") == 2:
            raise InputError("key gone")
        return Answer(text="", tokens=7) if request.image == "p3" else plain(request)

    fake.rule = fatal_at_last
    with pytest.raises(InputError, match="key gone"):
        run(folder, batch_size=NUM)
    records = records_of(folder.parent / "out.jsonl")
    assert len(records) == NUM
    assert (records["p3"]["status"], records["p3"]["reason"]) == ("failed", "key gone")
    assert (records["p3"]["attempts"], records["p3"]["tokens"]) == (1, 7)
    fake.rule = plain
    fake.asked.clear()
    _, records = run(folder, batch_size=NUM)
    assert fake.images == ["p3"]  # its second attempt, with the seed of that
    assert records["p3"]["image_seed"] == seed_of(0, records["p3"]["image_sha256"], 1)


def test_a_generator_that_fails_always_ends_the_run(fake: FakeGenerator, tmp_path: Path) -> None:
    folder = draw_pictures(tmp_path / "many", GIVE_UP_AFTER + 8)
    fake.rule = lambda request: Answer(failure="out of order")
    report, records = run(folder)
    assert report.stopped == f"{GIVE_UP_AFTER} pictures in a row failed: out of order"
    assert len(records) == GIVE_UP_AFTER


class TestJudgement:
    def once(self, first: Answer) -> Behaviour:
        met: set[str] = set()

        def rule(request: Request) -> Answer:
            if request.image == "p3" and request.image not in met:
                met.add(request.image)
                return first
            return plain(request)

        return rule

    @pytest.mark.parametrize(
        "first",
        [
            Answer(text=" \n"),
            Answer(text="I'm sorry, I can't describe people."),
            Answer(text="I cannot assist with that request."),
            Answer(text="As an AI language model, I do not see."),
            Answer(refusal="policy"),
            Answer(text="and so on and on", ended=False),
        ],
    )
    def test_is_tried_again_with_other_numbers(
        self, fake: FakeGenerator, folder: Path, first: Answer
    ) -> None:
        fake.rule = self.once(first)
        report, records = run(folder)
        assert report.statuses == {"ok": NUM}
        assert (report.attempts, records["p3"]["attempts"]) == (NUM + 1, 2)
        sha256 = records["p3"]["image_sha256"]
        assert records["p3"]["text"] == f"{sha256[:8]} {seed_of(0, sha256, 1)}"

    def test_a_description_that_speaks_of_regret_is_none(
        self, fake: FakeGenerator, folder: Path
    ) -> None:
        fake.rule = lambda request: Answer(text='A sign that says "sorry, I can\'t help you".')
        report, _ = run(folder)
        assert (report.statuses, report.attempts) == ({"ok": NUM}, NUM)

    def test_limit_then_more_when_asked_for(self, fake: FakeGenerator, folder: Path) -> None:
        fake.rule = lambda request: Answer(text="", prompt_tokens=5, tokens=1)
        report, records = run(folder, attempts=2)
        assert (report.statuses, report.attempts) == ({"empty": NUM}, 2 * NUM)
        assert records["p0"]["tokens"] == 2
        assert run(folder, attempts=2)[0].num_kept == NUM
        fake.rule = plain
        report, records = run(folder, attempts=2, retry_failed=True)
        assert (report.num_kept, report.statuses) == (0, {"ok": NUM})
        # The third attempt, not the first again; spendings add up, and the report is of this run.
        record = records["p0"]
        assert record["image_seed"] == seed_of(0, record["image_sha256"], 2)
        assert (record["attempts"], record["tokens"]) == (3, 4)
        assert (report.attempts, report.tokens) == (NUM, 2 * NUM)

    def test_without_randomness_nothing_is_asked_twice(
        self, fake: FakeGenerator, folder: Path
    ) -> None:
        fake.rule = lambda request: Answer(text="")
        assert run(folder, temperature=0.0)[0].attempts == NUM

    def test_a_cut_answer_may_be_accepted(self, fake: FakeGenerator, folder: Path) -> None:
        fake.rule = lambda request: Answer(text="on and on", ended=False)
        report, records = run(folder, keep_cut=True)
        assert report.statuses == {"ok": NUM}
        assert records["p0"]["text"] == "on and on"

    def test_refusals_of_ones_own(self, fake: FakeGenerator, folder: Path) -> None:
        fake.rule = lambda request: Answer(text="Nada que decir")
        assert run(folder, refusals=("^nada",))[0].statuses == {"refused": NUM}
        with pytest.raises(InputError, match=r"--refusal '\(': not a regular expression"):
            settings(refusals=("(",))


class TestFile:
    def identity(self, **arguments: Any) -> Identity:
        return identify(settings(**arguments))

    @pytest.mark.parametrize(
        ("changed", "said"),
        [({"prompt": "other"}, "prompt_sha256"), ({"seed": 1}, "sampling"),
         ({"temperature": 0.0}, "sampling"), ({"max_new_tokens": 9}, "sampling")],
    )  # fmt: skip
    def test_is_not_gone_on_with_under_other_settings(
        self, fake: FakeGenerator, folder: Path, changed: dict[str, Any], said: str
    ) -> None:
        run(folder)
        with pytest.raises(InputError, match=rf"out\.jsonl:1: made with other settings: {said}"):
            run(folder, **changed)

    @pytest.mark.parametrize(
        "content",
        [
            b'{"image": "a", "text": "b"}\n',
            b'{"image": "a", "text": "b"}',
            b'{"image": "a", "text": "cut',
            b"words\n",
            b"words",
            b"[1]\n",
            b'{"a": ',
        ],
    )
    def test_of_another_kind_is_left_alone(
        self, fake: FakeGenerator, folder: Path, content: bytes
    ) -> None:
        out = folder.parent / "out.jsonl"
        out.write_bytes(content)
        with pytest.raises(InputError, match=r"out\.jsonl:1: not a record of a generated context"):
            run(folder)
        assert out.read_bytes() == content

    def test_damage_in_the_middle_is_named(self, fake: FakeGenerator, folder: Path) -> None:
        run(folder)
        out = folder.parent / "out.jsonl"
        lines = out.read_bytes().splitlines(keepends=True)
        lines[2] = lines[2].replace(b'"ok"', b'"fine"')
        out.write_bytes(b"".join(lines))
        with pytest.raises(InputError, match=r"out\.jsonl:3: .*status is 'fine', expected one of"):
            run(folder)

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("text", "half \ud83d", "surrogates not allowed"),
            ("attempts", "x", "attempts: Input should be a valid integer"),
            ("sampling", [], "sampling: Input should be"),
        ],
    )
    def test_a_value_of_another_kind_is_named(
        self, fake: FakeGenerator, folder: Path, key: str, value: Any, said: str
    ) -> None:
        run(folder)
        out = folder.parent / "out.jsonl"
        first, *rest = out.read_text().splitlines(keepends=True)
        out.write_text(json.dumps({**json.loads(first), key: value}) + "\n" + "".join(rest))
        with pytest.raises(InputError, match=rf"out\.jsonl:1: not a record .*{said}"):
            run(folder)

    def test_is_held_by_one_process(self, fake: FakeGenerator, folder: Path) -> None:
        with RecordFile(folder.parent / "out.jsonl", self.identity()):
            with pytest.raises(InputError, match="another process is writing to it"):
                run(folder)
        assert run(folder)[0].statuses == {"ok": NUM}

    def test_is_on_the_disk_batch_by_batch(self, fake: FakeGenerator, folder: Path) -> None:
        out = folder.parent / "out.jsonl"
        seen: list[int] = []

        def look(request: Request) -> Answer:
            seen.append(out.read_bytes().count(b"\n"))
            return plain(request)

        fake.rule = look
        run(folder)
        assert seen == [0] * 4 + [4] * 4 + [8] * 2

    def test_a_folder_that_cannot_be_written(self, fake: FakeGenerator, folder: Path) -> None:
        (folder.parent / "taken").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            generate_contexts(
                pictures_of_folder(folder), settings(), folder.parent / "taken" / "out.jsonl"
            )


class TestImport:
    def test_failures_count_as_empty_and_never_as_text(
        self, fake: FakeGenerator, folder: Path
    ) -> None:
        answers = {
            "p1": Answer(text="I'm sorry, no."),
            "p2": Answer(text="and on", ended=False),
            "p3": Answer(text=""),
            "p4": Answer(failure="away"),
        }
        fake.rule = lambda request: answers.get(request.image) or plain(request)
        (folder / "p5.png").write_bytes(b"broken")
        run(folder, attempts=1)
        images = [f"p{index}" for index in range(NUM)]
        texts, report = import_contexts([folder.parent / "out.jsonl"], images)
        assert (report.num_captions, report.num_empty, report.num_without) == (NUM - 5, 5, 0)
        assert {image for image, text in texts.items() if not text} == {
            "p1",
            "p2",
            "p3",
            "p4",
            "p5",
        }

    def test_a_text_beside_a_failure_is_refused(self, fake: FakeGenerator, folder: Path) -> None:
        run(folder)
        out = folder.parent / "out.jsonl"
        out.write_text(out.read_text().replace('"status": "ok"', '"status": "refused"', 1))
        with pytest.raises(InputError, match=r"out\.jsonl:1: .*status refused with the text"):
            import_contexts([out], ["p0"])

    def test_an_unfinished_file_gives_the_later_record_of_a_picture(
        self, fake: FakeGenerator, folder: Path
    ) -> None:
        run(folder)
        out = folder.parent / "out.jsonl"
        good = ContextRecord.from_json(json.loads(out.read_text().splitlines()[0]))
        bad = dataclasses.replace(good, status="failed", text="")
        out.write_text("".join(json.dumps(r.to_json()) + "\n" for r in (bad, good)))
        assert import_contexts([out], ["p0"])[0] == {"p0": good.text}


class TestPreparedData:
    def test_stored_squares_get_contexts_that_can_be_imported(
        self, fake: FakeGenerator, tmp_path: Path
    ) -> None:
        data = tiny_data(tmp_path)
        source = pictures_of_data(data.folder, None)
        store = data.image_store()
        assert store is not None
        assert list(source) == sorted(store.index)
        assert len(source.absent) > 0
        report = generate_contexts(source, settings(), tmp_path / "out.jsonl")
        assert report.num_absent == len(source.absent)
        assert report.num_texts == len(store.index)
        add_context_sets(data.folder, {"made": [tmp_path / "out.jsonl"]})
        again = PreparedData.load(data.folder)
        assert set(again.contexts("made")) == set(store.index)
        before = again.manifest.context_hash("made")
        # The same again from another file is the same set.
        generate_contexts(source, settings(), tmp_path / "other.jsonl")
        add_context_sets(data.folder, {"other": [tmp_path / "other.jsonl"]})
        assert PreparedData.load(data.folder).manifest.context_hash("other") == before

    def test_originals_are_taken_from_their_folder(
        self, fake: FakeGenerator, tmp_path: Path
    ) -> None:
        data = tiny_data(tmp_path)
        store = data.image_store()
        assert store is not None
        wanted = sorted(store.index)[:2]
        folder = tmp_path / "originals"
        folder.mkdir()
        for image in (*wanted, "stranger"):
            Image.new("RGB", (9, 9)).save(folder / f"{image}.png")
        source = pictures_of_data(data.folder, folder)
        assert list(source) == wanted
        assert "stranger" not in source.absent

    def test_captions_need_no_pictures(self, fake: FakeGenerator, tmp_path: Path) -> None:
        data = tiny_data(tmp_path)
        images = sorted({e.image for s in data.splits for e in data.splits[s] if e.image})
        captions = tmp_path / "captions.txt"
        captions.write_text(f"{images[0]}.jpg :a  man\n{images[1]}.jpg :\nother.jpg :x\n")
        source = pictures_of_data(data.folder, None, needs_pixels=False)
        asked = GenerationSettings(f"captions:{captions}")
        report = generate_contexts(source, asked, tmp_path / "out.jsonl")
        assert report.statuses == {"ok": 1, "empty": 1, "missing": len(images) - 2}
        records = records_of(tmp_path / "out.jsonl")
        assert records[images[0]]["text"] == "a man"
        assert records[images[2]]["status"] == "missing"
        assert fake.asked == []
        texts, _ = import_contexts([tmp_path / "out.jsonl"], images)
        assert [image for image, text in texts.items() if text] == [images[0]]
        captions.write_text(f"{images[0]}.jpg :a woman\n")
        with pytest.raises(InputError, match="made with other settings: model"):
            generate_contexts(source, asked, tmp_path / "out.jsonl")
