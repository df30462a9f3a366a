"""Reading prepared folders: every part is checked against its hash, and only when it is needed."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from shapca.config import ExperimentConfig
from shapca.data import prepared
from shapca.data.manifest import Manifest
from shapca.data.preparation.prepare import add_context_sets
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import Entity, Example, Labels
from shapca.errors import InputError
from shapca.storage import hash_of

LABELS = Labels("mner", ("LOC", "PER"))
TEXT_PARTS = ["train.jsonl", "valid.jsonl", "test.jsonl"]


def config(*, contexts: str | None = "c", images: bool = True) -> ExperimentConfig:
    tree = {
        "data": {"dataset": "toy", "contexts": contexts},
        "image": {"encoder": "resnet18" if images else "none"},
        "fusion": {"kind": "cross_attention" if images else "none"},
        "alignment": {"objective": "none"},
    }
    return ExperimentConfig.model_validate(tree)


def write(out: Path, *, shade: int = 1, caption: str = "a dog", word: str = "Fern") -> Manifest:
    def example(name: str) -> Example:
        return Example(
            name, (word, "runs"), ("PROPN", "VERB"), name, ("B-PER", "O"), (Entity(0, 1, "PER"),)
        )

    return write_prepared(
        out,
        name="toy",
        labels=LABELS,
        splits={split: [example(split)] for split in ("train", "valid", "test")},
        contexts={"c": {"train": caption, "valid": ""}},
        images={"train": np.full((8, 8, 3), shade, dtype=np.uint8)},
        image_size=16,
        source_notes={},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "toy")
    return tmp_path / "toy"


def test_what_was_written_is_read(folder: Path) -> None:
    data = PreparedData.load(folder)
    assert (data.name, data.labels) == ("toy", LABELS)
    assert data.splits["train"][0].words == ("Fern", "runs")
    assert data.splits["train"] is data.splits["train"]
    assert list(data.splits) == ["train", "valid", "test"]
    assert data.contexts("c") == {"train": "a dog", "valid": ""}
    store = data.image_store()
    assert store is not None
    assert store.index == {"train": 0}
    with pytest.raises(KeyError):
        data.splits["dev"]


@pytest.mark.parametrize("part", TEXT_PARTS)
@pytest.mark.parametrize("change", ["change", "remove"])
def test_a_changed_text_is_noticed_on_loading(folder: Path, part: str, change: str) -> None:
    damage(folder / part, change)
    with pytest.raises(InputError, match=rf"{part}: (changed since|missing)"):
        PreparedData.load(folder)


@pytest.mark.parametrize("change", ["change", "remove"])
def test_a_changed_context_set_is_noticed_when_read(folder: Path, change: str) -> None:
    damage(folder / "contexts" / "c.jsonl", change)
    data = PreparedData.load(folder)
    assert len(data.splits["train"]) == 1
    with pytest.raises(InputError, match=r"contexts/c\.jsonl: (changed since|missing)"):
        data.contexts("c")


@pytest.mark.parametrize("part", ["images.npy", "images.json"])
@pytest.mark.parametrize("change", ["change", "remove"])
def test_changed_images_are_noticed_when_opened(folder: Path, part: str, change: str) -> None:
    damage(folder / part, change)
    data = PreparedData.load(folder)
    assert data.contexts("c")
    with pytest.raises(InputError, match=rf"{part}: (changed since|missing)"):
        data.image_store()


def damage(file: Path, change: str) -> None:
    if change == "remove":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)


def test_without_verification_nothing_is_hashed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "hash_file", None)  # must not be called
    data = PreparedData.load(folder, verify=False)
    assert data.contexts("c")
    assert data.image_store() is not None


def test_a_file_is_hashed_once_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    original = prepared.hash_file

    def count(file: Path) -> str:
        hashed.append(file.name)
        return original(file)

    monkeypatch.setattr(prepared, "hash_file", count)
    for _ in range(3):
        PreparedData.load(folder).image_store()
    assert sorted(hashed) == sorted([*TEXT_PARTS, "images.npy", "images.json"])


def test_an_unknown_context_set_names_those_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no context set 'llava' .*; available: c$"):
        PreparedData.load(folder).contexts("llava")


class TestPartHashes:
    def test_only_the_parts_that_a_run_reads(self, folder: Path) -> None:
        data = PreparedData.load(folder)
        assert set(data.part_hashes(config())) == {"text", "contexts", "images"}
        assert set(data.part_hashes(config(images=False))) == {"text", "contexts"}
        assert set(data.part_hashes(config(contexts=None, images=False))) == {"text"}
        assert set(data.part_hashes(config(contexts=None))) == {"text", "images"}

    @pytest.mark.parametrize(
        ("change", "part"), [("word", "text"), ("caption", "contexts"), ("shade", "images")]
    )
    def test_a_change_moves_its_own_hash_alone(
        self, folder: Path, tmp_path: Path, change: str, part: str
    ) -> None:
        write(tmp_path / "changed", **{change: 9 if change == "shade" else "other"})  # type: ignore[arg-type]
        before = PreparedData.load(folder).part_hashes(config())
        after = PreparedData.load(tmp_path / "changed").part_hashes(config())
        assert {key for key in before if before[key] != after[key]} == {part}

    def test_another_place_keeps_the_hashes(self, folder: Path, tmp_path: Path) -> None:
        before = PreparedData.load(folder).part_hashes(config())
        shutil.copytree(folder, tmp_path / "elsewhere")
        assert PreparedData.load(tmp_path / "elsewhere").part_hashes(config()) == before

    def test_labels_belong_to_the_text(self, folder: Path) -> None:
        before = Manifest.load(folder)
        record = before.to_json()
        record["labels"] = {**record["labels"], "entity_types": ["LOC", "ORG", "PER"]}
        assert Manifest.from_json(record).text_hash() != before.text_hash()

    def test_new_contexts_do_not_touch_other_runs(self, folder: Path, tmp_path: Path) -> None:
        before = PreparedData.load(folder).part_hashes(config())
        (tmp_path / "d.txt").write_text("train.jpg :a cat\n")
        add_context_sets(folder, {"d": [tmp_path / "d.txt"]})
        data = PreparedData.load(folder)
        assert data.part_hashes(config()) == before
        assert data.part_hashes(config(contexts="d"))["contexts"] != before["contexts"]

    def test_refuses_what_is_not_there(self, folder: Path, tmp_path: Path) -> None:
        data = PreparedData.load(folder)
        with pytest.raises(InputError, match="no context set 'x'"):
            data.part_hashes(config(contexts="x"))
        other = config().model_copy(update={"task": "mre"})
        with pytest.raises(InputError, match="a data set for mner, not mre"):
            data.part_hashes(other)
        write_prepared(
            tmp_path / "plain",
            name="plain",
            labels=LABELS,
            splits=data.splits,
            contexts={"c": {"train": "a"}},
        )
        with pytest.raises(InputError, match=r"prepared without images, yet image\.encoder is"):
            PreparedData.load(tmp_path / "plain").part_hashes(config())


class TestManifest:
    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere: no such folder"):
            PreparedData.load(tmp_path / "nowhere")

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"not a prepared data set .* `shapca data prepare`"):
            PreparedData.load(tmp_path)

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2}'])
    def test_a_damaged_manifest(self, folder: Path, content: str) -> None:
        (folder / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=r"manifest\.json: (damaged|layout version)"):
            PreparedData.load(folder)

    def test_holds_task_labels_counts_and_hashes(self, folder: Path) -> None:
        record = json.loads((folder / "manifest.json").read_text())
        assert record["labels"]["task"] == "mner"
        assert record["counts"]["train"] == {
            "examples": 1,
            "words": 2,
            "entities": 1,
            "relations": 0,
            "images": 1,
            "missing_images": 0,
        }
        assert record["counts"]["test"]["missing_images"] == 1
        assert record["image_size"] == 16
        files = {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")}
        assert set(record["parts"]) == files - {"manifest.json"}

    def test_hash_of_ignores_the_order_of_keys(self) -> None:
        assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1}) != hash_of({"a": 1})


def test_prepared_data_can_go_to_another_process(folder: Path) -> None:
    data = PreparedData.load(folder)
    first = data.splits["train"]
    copy = pickle.loads(pickle.dumps(data))
    assert copy.splits["train"] == first
    assert copy.part_hashes(config()) == data.part_hashes(config())
