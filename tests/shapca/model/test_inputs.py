"""Which posts a configuration reads, with which gold, encoded how often."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch

from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.model.inputs import NUM_SPLITS_KEPT, encode_split, shuffled, split_examples
from tests.factories import NUM_TRAIN, tiny_config


@pytest.mark.parametrize("task", get_args(Task))
def test_only_training_posts_carry_gold(
    tiny_datasets: dict[Task, PreparedData], task: Task
) -> None:
    config, data = tiny_config(task), tiny_datasets[task]
    train = encode_split(config, data, "train")
    assert train.examples == data.splits["train"]
    labelled = train.collate(range(4))
    hidden = encode_split(config, data, "valid").collate(range(4))
    if task == "mner":
        assert labelled.tags is not None
        assert hidden.tags is None
    else:
        assert labelled.pair_labels is not None
        assert hidden.pair_labels is not None
        assert labelled.pair_labels.any()
        assert not hidden.pair_labels.any()


def test_a_split_is_encoded_once_for_all_who_read_it_alike(tiny_mner: PreparedData) -> None:
    first = encode_split(tiny_config(), tiny_mner, "train")
    other_rate = tiny_config(**{"optimisation.learning_rate": 0.5})
    assert encode_split(other_rate, tiny_mner, "train") is first
    again = PreparedData.load(tiny_mner.folder)
    assert encode_split(tiny_config(), again, "train") is first


@pytest.mark.parametrize(
    "change",
    [
        {"text.max_length": 32},
        {"text.encode": "separate"},
        {"image.size": 36},
        {"image.encoder": "none"},
        {"data.train_limit": 5},
        {"data.contexts": None, "alignment.objective": "none", "fusion.kind": "cross_attention"},
    ],
)
def test_what_changes_the_input_is_encoded_anew(
    tiny_mner: PreparedData, change: dict[str, Any]
) -> None:
    first = encode_split(tiny_config(), tiny_mner, "train")
    changed = encode_split(tiny_config(**change), tiny_mner, "train")
    assert changed is not first
    assert len(changed) == change.get("data.train_limit", NUM_TRAIN)


def test_few_splits_are_kept(tiny_mner: PreparedData) -> None:
    first = encode_split(tiny_config(), tiny_mner, "train")
    for limit in range(1, NUM_SPLITS_KEPT + 1):
        encode_split(tiny_config(**{"data.train_limit": limit}), tiny_mner, "train")
    assert encode_split(tiny_config(), tiny_mner, "train") is not first


def test_an_empty_split_is_refused(tiny_mner: PreparedData) -> None:
    data = dataclasses.replace(tiny_mner)
    data.__dict__["splits"] = {"train": (), "valid": (), "test": ()}
    with pytest.raises(InputError, match="the split valid holds no posts"):
        split_examples(data, "valid")


def test_shuffled_contexts_are_those_of_other_posts_and_always_the_same() -> None:
    contexts = {f"image-{number}": f"text {number}" for number in range(50)} | {"none": ""}
    found = shuffled(contexts)
    assert found == shuffled(dict(reversed(contexts.items())))
    assert sorted(found.values()) == sorted(contexts.values())
    assert found["none"] == ""
    assert [image for image, text in contexts.items() if text and found[image] == text] == []


def test_a_config_may_ask_for_shuffled_contexts(tiny_mner: PreparedData) -> None:
    config = tiny_config("mner")
    moved = config.data.model_copy(update={"shuffle_contexts": True})
    own = encode_split(config, tiny_mner, "valid").collate(range(4))
    other = encode_split(config.model_copy(update={"data": moved}), tiny_mner, "valid")
    assert other.examples == encode_split(config, tiny_mner, "valid").examples
    assert not torch.equal(own.input_ids, other.collate(range(4)).input_ids)
