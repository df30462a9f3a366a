"""Found lines: what evaluation finds, in the order of the posts, gone on with after any stop."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shapca.config import Task
from shapca.data.preparation.export import export
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.prediction import Extractor, found_file
from shapca.prediction.found_file import FoundReport, predict_file
from shapca.prediction.post_file import NumberedPost, PostForm, read_lines, read_posts
from shapca.runs.tensors import pack, unpack
from tests.shapca.prediction.conftest import RUNTIME
from tests.shapca.prediction.test_extractor import evaluated
from tests.stores import MemoryStore

SOURCE = {"input": "1", "model": "2", "options": {}}
ANNOTATED = ("tags", "relations", "entities")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_file, "BATCHES_SORTED_TOGETHER", 1)  # of 8 posts


def posts_of(extractor: Extractor, data: PreparedData, folder: Path) -> list[NumberedPost]:
    export(data, folder, "jsonl")
    form = PostForm(folder / "images", unread=() if data.labels.task == "mre" else ANNOTATED)
    return read_posts(read_lines(folder / "valid.jsonl"), form, extractor)


def predict(
    extractor: Extractor, posts: list[NumberedPost], out: Path, **source: Any
) -> FoundReport:
    return predict_file(extractor, posts, out, {**SOURCE, **source}, lambda *_: None)


def simple(extractor: Extractor, folder: Path, num: int) -> list[NumberedPost]:
    file = folder / "posts.jsonl"
    texts = [("Anna meets Bob in Paris", "Paris", "so what")[i % 3] for i in range(num)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return read_posts(read_lines(file), PostForm(), extractor)


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
def test_an_exported_split_gives_what_evaluation_finds(
    extractors: dict[Task, Extractor],
    stores: dict[Task, MemoryStore],
    tiny_datasets: dict[Task, PreparedData],
    tmp_path: Path,
    task: Task,
) -> None:
    data, out = tiny_datasets[task], tmp_path / "found.jsonl"
    posts = posts_of(extractors[task], data, tmp_path / "exported")
    report = predict(extractors[task], posts, out)
    examples = data.splits["valid"]
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in found] == [example.id for example in examples]
    assert (report.num_posts, report.num_kept) == (len(examples), 0)
    confidences = []
    for line, example, wanted in zip(
        found, examples, evaluated(stores[task], data, "valid"), strict=True
    ):
        assert line["text"] == " ".join(example.words)
        assert [relation["type"] for relation in line["relations"]] == [
            relation.type for relation in wanted.relations
        ]
        if task == "mre":
            (pair,) = line["relations"]
            assert pair["head"]["text"] == " ".join(example.words[slice(*wanted.relations[0].head)])
        else:
            assert [(entity["text"], entity["type"]) for entity in line["entities"]] == [
                (" ".join(example.words[slice(*entity.span)]), entity.type)
                for entity in wanted.entities
            ]
            confidences += [entity["confidence"] for entity in line["entities"]]
        confidences += [relation["confidence"] for relation in line["relations"]]
    assert len(set(confidences)) > 2
    assert all(0 < value <= 1 for value in confidences)
    assert report.num_entities == sum(len(line["entities"]) for line in found)


def test_it_goes_on_after_the_last_whole_line(
    extractors: dict[Task, Extractor], tmp_path: Path
) -> None:
    extractor, out = extractors["mner"], tmp_path / "new" / "found.jsonl"
    posts = simple(extractor, tmp_path, 20)
    assert predict(extractor, posts, out) == FoundReport(20, 0, *counts(out))
    whole = out.read_bytes()
    assert predict(extractor, posts, out) == FoundReport(20, 20, 0, 0)
    lines = whole.splitlines(keepends=True)
    for kept, torn in ((3, b""), (8, b'{"id": 9, "te'), (19, lines[19][:-1]), (0, b"{")):
        out.write_bytes(b"".join(lines[:kept]) + torn)
        report = predict(extractor, posts, out)
        assert (report.num_kept, out.read_bytes()) == (kept, whole)


def counts(out: Path) -> tuple[int, int]:
    found = [json.loads(line) for line in out.read_bytes().splitlines()]
    return sum(len(x["entities"]) for x in found), sum(len(x["relations"]) for x in found)


def test_an_interruption_keeps_what_is_written(
    extractors: dict[Task, Extractor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, out = extractors["mner"], tmp_path / "found.jsonl"
    posts = simple(extractor, tmp_path, 20)
    predict(extractor, posts, tmp_path / "whole.jsonl")
    original, calls = Extractor.extract_many, []

    def interrupted(self: Extractor, part: Any) -> Any:
        calls.append(len(part))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, part)

    monkeypatch.setattr(Extractor, "extract_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(extractor, posts, out)
    assert len(out.read_bytes().splitlines()) == 8
    assert predict(extractor, posts, out).num_kept == 8
    assert calls == [8, 8, 8, 4]
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_lines_of_something_else_are_refused(
    extractors: dict[Task, Extractor], tmp_path: Path
) -> None:
    extractor, out = extractors["mner"], tmp_path / "found.jsonl"
    posts = simple(extractor, tmp_path, 3)
    predict(extractor, posts, out)
    content = out.read_bytes()
    with pytest.raises(InputError, match=r"found\.jsonl: was begun with another input and model;"):
        predict(extractor, posts, out, input="other", model="other")
    with pytest.raises(InputError, match=r"found\.jsonl: was begun with another options;"):
        predict(extractor, posts, out, options={"characters": True})
    with pytest.raises(InputError, match=r"found\.jsonl:2: not what was written for the post"):
        predict(extractor, [posts[0], dataclasses.replace(posts[1], id="x"), posts[2]], out)
    with pytest.raises(InputError, match=r"found\.jsonl:3: not what was written for the post"):
        predict(extractor, posts[:2], out)
    (tmp_path / "found.jsonl.source.json").unlink()
    with pytest.raises(InputError, match="is there already, without the"):
        predict(extractor, posts, out)
    assert out.read_bytes() == content
    with pytest.raises(InputError, match="is a folder"):
        predict(extractor, posts, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is no regular file"):
        predict(extractor, posts, tmp_path / "pipe")


def test_two_processes_do_not_write_one_file(
    extractors: dict[Task, Extractor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, out = extractors["mner"], tmp_path / "found.jsonl"
    posts = simple(extractor, tmp_path, 2)
    said: list[str] = []

    def nested(self: Extractor, part: Any) -> Any:
        def other() -> None:
            with pytest.raises(InputError) as caught:
                predict(extractor, posts, out)
            said.append(str(caught.value))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return []

    monkeypatch.setattr(Extractor, "extract_many", nested)
    with pytest.raises(ValueError, match="zip"):
        predict(extractor, posts, out)
    assert said == [f"{out}: another process writes it"]


def test_a_picture_that_cannot_be_read_keeps_the_lines_before(
    extractors: dict[Task, Extractor], tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    file, out = tmp_path / "posts.jsonl", tmp_path / "found.jsonl"
    names = [*["good.png"] * 9, "bad.png"]
    file.write_text("".join(json.dumps({"text": "Anna", "image": n}) + "\n" for n in names))
    posts = read_posts(read_lines(file), PostForm(tmp_path), extractors["mner"])
    with pytest.raises(InputError, match=r"posts\.jsonl:10: .*bad\.png: no readable picture"):
        predict(extractors["mner"], posts, out)
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == [*range(1, 9)]


def test_another_model_has_another_fingerprint(
    extractors: dict[Task, Extractor], stores: dict[Task, MemoryStore]
) -> None:
    mine = extractors["mner"].fingerprint()
    store = stores["mner"]
    assert Extractor.load(store, runtime=RUNTIME).fingerprint() == mine
    assert extractors["mre"].fingerprint() != mine
    other = MemoryStore()
    for name in store.list():
        other.put(name, store.get(name) or b"")
        if name.endswith(".safetensors") and name.startswith("best/"):
            weights = unpack(other, name)
            weights["head.crf.start_transitions"][0] += 1
            other.put(name, pack(weights))
    assert Extractor.load(other, runtime=RUNTIME).fingerprint() != mine
