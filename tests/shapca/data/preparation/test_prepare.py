"""Preparing a benchmark: complete or not there, safe to run again."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shapca.data import pos
from shapca.data.manifest import Manifest
from shapca.data.preparation import prepare as prepare_module
from shapca.data.preparation import writer
from shapca.data.preparation.captions import ContextReport
from shapca.data.preparation.prepare import add_context_sets, prepare
from shapca.data.preparation.readers import READERS
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import POS_TAGS, SPLITS, Entity, Example, Labels, Relation, Span
from shapca.errors import InputError
from shapca.storage.locks import held
from tests.paths import FIXTURES

CAPTIONS = FIXTURES / "captions"


def add_contexts(
    folder: Path, name: str, files: Sequence[Path], *, overwrite: bool = False
) -> ContextReport:
    return add_context_sets(folder, {name: files}, overwrite=overwrite)[name]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("17_06_1", "17_06_2", "O_14", "nobodys")):
        pixels = np.full((20, 30, 3), number + 1, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "O_12.jpg").write_text("broken")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", READERS)
def test_every_benchmark_is_written_and_read_back(name: str, tmp_path: Path) -> None:
    out = tmp_path / "data" / name
    manifest = prepare(name, FIXTURES / name, out).manifest
    data = PreparedData.load(out)
    source = READERS[name](FIXTURES / name)
    assert data.manifest == manifest == Manifest.load(out)
    assert data.labels == source.labels
    for split in SPLITS:
        assert len(data.splits[split]) == len(source.splits[split])
        for prepared, read in zip(data.splits[split], source.splits[split], strict=True):
            assert len(prepared.pos) == len(prepared.words)
            assert set(prepared.pos) <= set(POS_TAGS)
            assert {**vars(prepared), "pos": ()} == vars(read)
        assert manifest.counts[split]["examples"] == len(source.splits[split])
    assert set(contents(out)) == {"manifest.json", *(f"{split}.jsonl" for split in SPLITS)}
    assert data.image_store() is None


def test_images_and_contexts(tmp_path: Path, pictures: Path) -> None:
    prepared = partial(
        prepare,
        "twitter2017",
        FIXTURES / "twitter2017",
        tmp_path / "out",
        images=pictures,
        contexts={"lines": [CAPTIONS / "lines.txt"], "object": [CAPTIONS / "object.json"]},
        image_size=16,
    )
    manifest, warnings = (first := prepared()).manifest, first.warnings
    assert "1 picture not readable (O_12: " in warnings[-1]
    assert "not there (" in warnings[-2]
    assert (again := prepared()).already_there
    assert again.warnings == warnings
    data = PreparedData.load(tmp_path / "out")
    store = data.image_store()
    assert store is not None
    assert list(store.index) == ["17_06_1", "17_06_2", "O_14"]
    assert list(store.broken) == ["O_12"]
    assert (store.array[store.index["O_14"]] == 3).all()
    assert manifest.image_size == 16
    missing = {split: manifest.counts[split]["missing_images"] for split in SPLITS}
    assert missing == {"train": 2, "valid": 1, "test": 1}
    assert data.context_names == ("lines", "object")
    assert data.contexts("object")["17_06_2"] == "a harbour"
    assert manifest.contexts["lines"]["num_conflicting"] == 1


def test_a_link_to_nothing_is_a_missing_picture(tmp_path: Path, pictures: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "linked").symlink_to(pictures)
    (pictures / "O_14.png").unlink()
    (pictures / "O_14.png").symlink_to(tmp_path / "nothing.png")
    arguments: Any = {"images": top, "image_size": 16}
    manifest = prepare(
        "twitter2017", FIXTURES / "twitter2017", tmp_path / "out", **arguments
    ).manifest
    missing = [manifest.counts[split]["missing_images"] for split in SPLITS]
    assert missing == [2, 1, 2]
    store = PreparedData.load(tmp_path / "out").image_store()
    assert store is not None
    assert list(store.index) == ["17_06_1", "17_06_2"]


def test_the_same_input_gives_the_same_parts(tmp_path: Path, pictures: Path) -> None:
    for name in "ab":
        prepare(
            "twitter2017",
            FIXTURES / "twitter2017",
            tmp_path / name,
            images=pictures,
            contexts={"c": [CAPTIONS / "lines.txt"]},
        )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


class TestRunningAgain:
    def arguments(self, tmp_path: Path, pictures: Path) -> dict[str, Any]:
        source = tmp_path / "source"
        if not source.exists():
            shutil.copytree(FIXTURES / "twitter2017", source)
        return {
            "name": "twitter2017",
            "source": source,
            "out": tmp_path / "out",
            "images": pictures,
            "contexts": {"c": [CAPTIONS / "lines.txt"]},
            "image_size": 16,
        }

    def test_the_same_input_is_recognised(
        self, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = self.arguments(tmp_path, pictures)
        first = prepare(**arguments)
        before = contents(tmp_path / "out")
        monkeypatch.setattr(prepare_module, "write_prepared", None)  # must not be called
        again = prepare(**arguments)
        assert not first.already_there
        assert again.already_there
        assert again.manifest == first.manifest
        assert contents(tmp_path / "out") == before

    def test_contexts_added_meanwhile_stay(self, tmp_path: Path, pictures: Path) -> None:
        arguments = self.arguments(tmp_path, pictures)
        prepare(**arguments)
        add_contexts(tmp_path / "out", "more", [CAPTIONS / "object.json"])
        assert prepare(**arguments).already_there
        assert PreparedData.load(tmp_path / "out").context_names == ("c", "more")

    @pytest.mark.parametrize("name", ["c", "further"])
    def test_other_contexts_are_to_be_imported(
        self, tmp_path: Path, pictures: Path, name: str
    ) -> None:
        arguments = self.arguments(tmp_path, pictures)
        prepare(**arguments)
        add_contexts(tmp_path / "out", "more", [CAPTIONS / "object.json"])
        before = contents(tmp_path / "out")
        sets = arguments["contexts"]
        arguments["contexts"] = {**sets, name: [CAPTIONS / "lines.jsonl"]}
        with pytest.raises(InputError, match="prepared from the same input, but with") as raised:
            prepare(**arguments)
        assert contents(tmp_path / "out") == before
        command = f"shapca contexts import {tmp_path / 'out'} {name}={CAPTIONS / 'lines.jsonl'}"
        overwrite = name == "c"
        assert str(raised.value).endswith(command + " --overwrite" * overwrite)
        add_contexts(tmp_path / "out", name, [CAPTIONS / "lines.jsonl"], overwrite=overwrite)
        assert prepare(**arguments).already_there
        assert PreparedData.load(tmp_path / "out").context_names == tuple(
            sorted({"c", "more", name})
        )

    @pytest.mark.parametrize("change", ["source", "images", "image_size", "less", "labels"])
    def test_other_input_needs_overwrite(self, tmp_path: Path, pictures: Path, change: str) -> None:
        arguments = self.arguments(tmp_path, pictures)
        prepare(**arguments)
        before = contents(tmp_path / "out")
        if change == "source":
            (arguments["source"] / "test.txt").write_text("IMGID:9\na\tO\n")
        elif change == "images":
            shutil.copy(pictures / "O_14.png", pictures / "O_13.png")
        elif change == "image_size":
            arguments["image_size"] = 20
        elif change == "labels":  # of an earlier version, in another order
            manifest = json.loads(before["manifest.json"])
            manifest["labels"]["entity_types"].reverse()
            (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
            before = contents(tmp_path / "out")
        else:
            arguments["images"] = None
        with pytest.raises(InputError, match=r"prepared from other input; .* --overwrite"):
            prepare(**arguments)
        assert contents(tmp_path / "out") == before
        assert not prepare(**arguments, overwrite=True).already_there
        assert contents(tmp_path / "out") != before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures", "source"]

    def test_a_changed_part_is_not_taken_for_done(self, tmp_path: Path, pictures: Path) -> None:
        arguments = self.arguments(tmp_path, pictures)
        prepare(**arguments)
        before = contents(tmp_path / "out")
        with (tmp_path / "out" / "train.jsonl").open("a") as file:
            file.write("\n")
        with pytest.raises(InputError, match=r"train\.jsonl: changed since .* --overwrite"):
            prepare(**arguments)
        prepare(**arguments, overwrite=True)
        assert contents(tmp_path / "out") == before


class TestNothingHalfWritten:
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_an_interruption_leaves_nothing(
        self,
        tmp_path: Path,
        pictures: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: type[BaseException],
    ) -> None:
        def interrupt(what: str, done: int, total: int) -> None:
            if what == "parts of speech":
                raise error

        source = FIXTURES / "twitter2017"
        with pytest.raises(error):
            prepare("twitter2017", source, tmp_path / "out", images=pictures, progress=interrupt)
        assert [path.name for path in tmp_path.iterdir()] == ["pictures"]

    def test_an_interrupted_replacement_leaves_the_old(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, out = FIXTURES / "twitter2017", tmp_path / "out"
        prepare("twitter2017", source, out)
        before = contents(out)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(writer, "write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare("twitter2015", FIXTURES / "twitter2015", out, overwrite=True)
        assert contents(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


class TestRefuses:
    def test_an_unknown_name(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="'twitter16': unknown data set; expected one of tw"):
            prepare("twitter16", FIXTURES, tmp_path / "out")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_of_something_else(self, tmp_path: Path, overwrite: bool) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        with pytest.raises(InputError, match="not empty and holds no prepared data set"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out", overwrite=overwrite)
        assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        with pytest.raises(InputError, match="expected a folder to write to"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out")

    def test_a_parent_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(InputError, match="cannot be made"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "file" / "out")

    def test_an_empty_folder_is_welcome(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        prepare("jmere", FIXTURES / "jmere", tmp_path / "out")
        assert PreparedData.load(tmp_path / "out").name == "jmere"

    def test_a_missing_image_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere: no such folder; expected a folder of pic"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out", images=tmp_path / "nowhere")

    def test_a_folder_without_any_of_the_pictures(self, tmp_path: Path, pictures: Path) -> None:
        with pytest.raises(InputError, match=r"not one of the 4 pictures .* like street_1\.jpg"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out", images=pictures)

    def test_a_folder_with_broken_pictures_alone(self, tmp_path: Path) -> None:
        (tmp_path / "street_1.jpg").write_text("broken")
        with pytest.raises(InputError, match="not one of the 1 pictures could be read"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out", images=tmp_path)
        assert not (tmp_path / "out").exists()

    def test_a_caption_file_of_unknown_form(self, tmp_path: Path) -> None:
        (tmp_path / "c.txt").write_text("hello")
        with pytest.raises(InputError, match="unknown form"):
            prepare(
                "jmere", FIXTURES / "jmere", tmp_path / "out", contexts={"c": [tmp_path / "c.txt"]}
            )
        assert not (tmp_path / "out").exists()

    def test_a_context_name_that_is_a_path(self, tmp_path: Path) -> None:
        files = {"../c": [CAPTIONS / "literal.txt"]}
        with pytest.raises(InputError, match=r"contexts '\.\./c': expected letters"):
            prepare("jmere", FIXTURES / "jmere", tmp_path / "out", contexts=files)


class TestAddContexts:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        prepare("twitter2017", FIXTURES / "twitter2017", tmp_path / "out")
        return tmp_path / "out"

    def test_other_parts_stay(self, folder: Path) -> None:
        before = PreparedData.load(folder).manifest
        report = add_contexts(folder, "c", [CAPTIONS / "lines.txt"])
        after = PreparedData.load(folder).manifest
        assert report.num_captions == 5
        assert after.text_hash() == before.text_hash()
        assert set(after.parts) - set(before.parts) == {"contexts/c.jsonl"}
        assert after.contexts["c"]["num_captions"] == 5
        assert PreparedData.load(folder).contexts("c")["17_06_2"] == "a harbour"

    def test_the_same_captions_again_change_nothing(self, folder: Path) -> None:
        add_contexts(folder, "c", [CAPTIONS / "lines.txt"])
        before = contents(folder)
        add_contexts(folder, "c", [CAPTIONS / "lines.txt"])
        assert contents(folder) == before

    def test_other_captions_need_overwrite(self, folder: Path) -> None:
        add_contexts(folder, "c", [CAPTIONS / "lines.txt"])
        before = PreparedData.load(folder).manifest
        with pytest.raises(InputError, match=r"has another context set 'c'; .* --overwrite"):
            add_contexts(folder, "c", [CAPTIONS / "object.json"])
        assert PreparedData.load(folder).manifest == before
        add_contexts(folder, "c", [CAPTIONS / "object.json"], overwrite=True)
        after = PreparedData.load(folder)
        assert after.contexts("c")["O_12"] == "a team"
        assert after.manifest.context_hash("c") != before.context_hash("c")

    def test_a_bad_file_changes_nothing(self, folder: Path, tmp_path: Path) -> None:
        before = contents(folder)
        (tmp_path / "c.txt").write_text("hello")
        with pytest.raises(InputError, match="unknown form"):
            add_contexts(folder, "c", [tmp_path / "c.txt"])
        with pytest.raises(InputError, match="expected letters"):
            add_contexts(folder, "a/b", [CAPTIONS / "object.json"])
        assert contents(folder) == before

    def test_imports_at_the_same_time_all_stay(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = threading.Barrier(4)
        read = prepare_module.import_contexts

        def slowly(*arguments: Any) -> Any:
            time.sleep(0.2)  # after the manifest was read, before it is written
            return read(*arguments)

        def add(name: str) -> None:
            begun.wait()
            add_contexts(folder, name, [CAPTIONS / "lines.txt"])

        monkeypatch.setattr(prepare_module, "import_contexts", slowly)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, "abcd"))
        assert PreparedData.load(folder).context_names == ("a", "b", "c", "d")

    def test_an_import_waits_for_a_replacement_and_goes_into_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            with held(folder):
                adding = pool.submit(add_contexts, folder, "c", [CAPTIONS / "lines.txt"])
                time.sleep(0.2)
                assert not adding.done()
                os.rename(folder, folder.with_name("old"))
                shutil.copytree(folder.with_name("old"), folder)
            assert adding.result().num_captions == 5
        assert PreparedData.load(folder).context_names == ("c",)
        assert PreparedData.load(folder.with_name("old")).context_names == ()

    def test_an_import_that_fails_leaves_no_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = contents(folder)

        def fill_the_disk(descriptor: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", fill_the_disk)
        with pytest.raises(OSError, match="no space left"):
            add_contexts(folder, "c", [CAPTIONS / "lines.txt"])
        assert contents(folder) == before

    def test_needs_a_prepared_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not a prepared data set"):
            add_contexts(tmp_path, "c", [CAPTIONS / "object.json"])


class TestSchemaIsKept:
    @pytest.mark.parametrize(
        ("example", "message"),
        [
            (Example("a", ()), "no words"),
            (Example("a", ("x", ""), ("X", "X")), "no words, or an empty one"),
            (Example("a", ("x",)), "one known part of speech a word"),
            (Example("a", ("x",), ("THING",)), "one known part of speech a word"),
            (Example("a", ("x",), ("X",), tags=()), "one tag a word"),
            (Example("a", ("x",), ("X",), entities=(Entity(0, 2, "per"),)), "out of range"),
            (Example("a", ("x",), ("X",), entities=(Entity(0, 1, "cat"),)), "an entity type"),
            (
                Example("a", ("x",), ("X",), relations=(Relation(Span(0, 1), Span(0, 1), "y"),)),
                "a relation type",
            ),
            (Example("other", ("x",), ("X",)), "the id is taken"),
        ],
    )
    def test_writer_refuses(self, tmp_path: Path, example: Example, message: str) -> None:
        other = Example("other", ("x",), ("X",))
        splits = {"train": [other], "valid": [example], "test": []}
        labels = Labels("mjere", ("per",), ("peer",))
        with pytest.raises(ValueError, match=message):
            write_prepared(tmp_path / "out", name="x", labels=labels, splits=splits)
        assert not (tmp_path / "out").exists()

    def test_writer_refuses_pictures_of_no_example(self, tmp_path: Path) -> None:
        splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
        images = {"a": np.zeros((8, 8, 3), dtype=np.uint8)}
        with pytest.raises(ValueError, match=r"images that no example has: \['a'\]"):
            write_prepared(
                tmp_path / "out", name="x", labels=Labels("mner"), splits=splits, images=images
            )
        assert list(tmp_path.iterdir()) == []

    def test_lines_hold_the_agreed_fields(self, tmp_path: Path) -> None:
        prepare("jmere", FIXTURES / "jmere", tmp_path / "out")
        line = (tmp_path / "out" / "test.jsonl").read_text(encoding="utf-8")
        assert json.loads(line) == {
            "id": "street_4",
            "words": ["Maro", "and", "Ives"],
            "pos": list(pos.tag_words([["Maro", "and", "Ives"]])[0]),
            "image": "street_4",
            "tags": None,
            "entities": [[2, 3, "per"], [0, 1, "per"]],
            "relations": [[[2, 3], [0, 1], "peer"]],
        }
