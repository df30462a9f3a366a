"""Prepared folders that were damaged or made by someone else, their hashes made to fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from tests.damage import damaged_bytes, damaged_json, damaged_lines, read_damaged
from tests.factories import tiny_config, tiny_data

TASKS = ("mner", "mre", "mjere")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_data(tmp_path, "mner", num_train=4, num_valid=2, num_test=2).folder


def make_fit(folder: Path, part: str, content: bytes) -> None:
    """Write a part, and its hash into the manifest."""
    (folder / part).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parts"][part] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read_all(folder: Path) -> PreparedData:
    """Read every part."""
    data = PreparedData.load(folder)
    for split in data.splits:
        assert data.splits[split] is not None
    for name in data.context_names:
        data.contexts(name)
    store = data.image_store()
    assert store is None or store.array is not None
    return data


def lines_of(folder: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / part).read_text("utf-8").splitlines()]


def change(folder: Path, part: str, **values: Any) -> None:
    """Change keys of the second line of a part of lines."""
    lines = lines_of(folder, part)
    lines[1] |= values
    make_fit(folder, part, "".join(json.dumps(line) + "\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"entities": [[0, 99, "PER"]], "tags": None}, "a span out of range"),
        ({"entities": [[2, 1, "PER"]], "tags": None}, "a span out of range"),
        ({"entities": [[0, 1, "CAT"]], "tags": None}, "an entity type that the labels lack"),
        ({"relations": [[[0, 1], [1, 2], "y"]]}, "a relation type that the labels lack"),
        ({"entities": []}, "entities that are not those of the tags"),
        ({"tags": ["B-CAT"]}, "expected one tag a word"),
        ({"words": []}, "no words, or an empty one"),
        ({"pos": []}, "expected one known part of speech a word"),
        ({"image": "../secret"}, "image id '../secret' is not allowed"),
        ({"id": ""}, "an id that is empty"),
        ({"words": "Fern"}, "words: "),
        ({"entities": [[0.0, 1, "PER"]]}, "entities.0"),
    ],
)
def test_the_content_is_checked_as_it_is_on_writing(
    folder: Path, values: dict[str, Any], message: str
) -> None:
    change(folder, "train.jsonl", **values)
    data = PreparedData.load(folder)
    with pytest.raises(InputError, match=r"train\.jsonl:2: damaged \(.*") as raised:
        data.splits["train"]
    assert message in str(raised.value)
    assert data.splits["valid"]


def test_an_id_twice(folder: Path) -> None:
    change(folder, "train.jsonl", id=lines_of(folder, "train.jsonl")[0]["id"])
    with pytest.raises(InputError, match=r"train\.jsonl: damaged \(the id .* twice\)"):
        read_all(folder)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 40, 40, 3), np.nan, dtype=np.float32), "holds float32 numbers"),
        (np.zeros((4, 40, 40, 1), dtype=np.uint8), r"of shape \(4, 40, 40, 1\)"),
        (np.zeros((4, 40, 40), dtype=np.uint8), r"of shape \(4, 40, 40\)"),
        (np.zeros((4, 40, 30, 3), dtype=np.uint8), r"of shape \(4, 40, 30, 3\)"),
        (np.zeros((1, 40, 40, 3), dtype=np.uint8), r"expected uint8 pictures \(\d+, S, S, 3\)"),
    ],
)
def test_pictures_that_are_none(folder: Path, array: Any, message: str) -> None:
    np.save(folder / "images.npy", array)
    make_fit(folder, "images.npy", (folder / "images.npy").read_bytes())
    with pytest.raises(InputError, match=message):
        read_all(folder)


def test_squares_of_another_size_than_the_manifest_says(folder: Path) -> None:
    store = PreparedData.load(folder).image_store()
    assert store is not None
    np.save(folder / "images.npy", np.zeros((len(store), 16, 16, 3), dtype=np.uint8))
    make_fit(folder, "images.npy", (folder / "images.npy").read_bytes())
    with pytest.raises(InputError, match=r"squares of 16 pixels, manifest\.json says 40"):
        read_all(folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"entity_types": ["PER", "PER"]}, "a type twice"),
        ({"entity_types": ["PER", ""]}, "a type that is empty"),
        ({"relation_types": ["peer"]}, "relation types, yet the task is mner"),
        ({"entity_types": ["None"]}, "a type 'None'"),
        ({"task": "poetry"}, "labels.task"),
    ],
)
def test_labels_that_no_model_can_have(folder: Path, labels: dict[str, Any], message: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["labels"] |= labels
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"manifest\.json: damaged \(.*{message}"):
        PreparedData.load(folder)


def test_training_refuses_what_was_made_to_fit(folder: Path) -> None:
    from shapca.data.batches.dataset import EncodedSplit
    from shapca.model.encoders.tokenizers import load_tokenizer

    config: ExperimentConfig = tiny_config("mner")
    lines = lines_of(folder, "train.jsonl")
    change(folder, "train.jsonl", tags=["B-CAT"] * len(lines[1]["words"]))
    data = PreparedData.load(folder)
    assert set(data.part_hashes(config)) == {"text", "contexts", "images"}
    with pytest.raises(InputError, match="a tag that the labels lack"):
        EncodedSplit.build(
            data.splits["train"], data.labels, load_tokenizer("tiny"), contexts=None, images=None
        )


def damaged_header(content: bytes, random: Random) -> bytes:
    """An array of which the header is damaged, or that is cut."""
    return damaged_bytes(content[:128], random) + content[128 : random.choice((None, 200))]


PARTS: dict[str, tuple[Callable[[bytes, Random], bytes], int]] = {
    "train.jsonl": (damaged_lines, 150),
    "contexts/captions.jsonl": (damaged_lines, 100),
    "images.json": (damaged_json, 100),
    "images.npy": (damaged_header, 100),
}


@pytest.mark.parametrize("part", PARTS)
def test_damage_with_a_hash_that_fits_is_one_message(part: str, tmp_path: Path) -> None:
    damage, num_cases = PARTS[part]
    for task in TASKS:
        folder = tiny_data(tmp_path, task, num_train=3, num_valid=2, num_test=2).folder

        def read(content: bytes, folder: Path = folder) -> None:
            (folder / part).write_bytes(content)
            data = PreparedData.load(folder, verify=False)  # as if each hash were made to fit
            if part == "train.jsonl":
                data.read_split("train")
            elif part.startswith("contexts"):
                data.contexts("captions")
            else:
                data.image_store()

        messages = list(read_damaged((folder / part).read_bytes(), damage, read, num_cases))
        assert all(str(folder) in message and "\n" not in message for message in messages)
        assert len(messages) > num_cases / 3


def test_a_damaged_manifest_is_one_message(folder: Path) -> None:
    def read(content: bytes) -> None:
        (folder / "manifest.json").write_bytes(content)
        PreparedData.load(folder, verify=False)

    sound = (folder / "manifest.json").read_bytes()
    messages = list(read_damaged(sound, damaged_json, read, 300))
    assert len(messages) > 100


def test_a_sound_copy_is_read(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert read_all(copy).splits["train"] == read_all(folder).splits["train"]
