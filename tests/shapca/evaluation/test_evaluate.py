"""Evaluation of trained models: on their own data, on others', once each."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import shapca.evaluation.evaluate
from shapca.config import RuntimeConfig, Task
from shapca.data.preparation.prepare import add_context_sets
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, Example, Labels
from shapca.errors import InputError
from shapca.evaluation import EvaluationRecord, evaluate_run
from shapca.evaluation.evaluate import predict_split
from shapca.model.inputs import encode_split, without_gold
from shapca.runs.trained import TrainedModel
from shapca.storage import FolderStore, read_json, to_json
from shapca.training import fit
from tests.factories import NUM_TRAIN, tiny_config, tiny_data
from tests.stores import MemoryStore

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
CPU = torch.device("cpu")
Datasets = dict[Task, PreparedData]


@pytest.fixture(scope="module")
def stores(tiny_datasets: Datasets) -> dict[Task, MemoryStore]:
    """A finished run of each task, not tested."""
    made = {}
    for task, data in tiny_datasets.items():
        made[task] = MemoryStore()
        fit(tiny_config(task), data, seed=1, runtime=RUNTIME, store=made[task])
    return made


def copy(store: MemoryStore) -> MemoryStore:
    other = MemoryStore()
    other.objects = dict(store.objects)
    return other


@pytest.fixture
def num_predictions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every split that a model is run on."""
    calls: list[int] = []
    original = shapca.evaluation.evaluate.predict_split

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(shapca.evaluation.evaluate, "predict_split", counted)
    return calls


@pytest.mark.parametrize("task", get_args(Task))
def test_a_model_read_back_scores_as_it_did_in_training(
    stores: dict[Task, MemoryStore], tiny_datasets: Datasets, task: Task
) -> None:
    store = copy(stores[task])
    stored = read_json(store, "evaluations/valid.json")
    store.delete("evaluations/valid.json")
    record = evaluate_run(store, tiny_datasets[task], split="valid", runtime=RUNTIME)
    assert json.loads(to_json(record.to_json())) == stored
    assert read_json(store, "evaluations/valid.json") == stored
    gold = tiny_datasets[task].splits["valid"]
    assert len(stored["predictions"]) == len(gold)
    assert {"entities", "relations"} == set(stored["predictions"][0])


def test_the_own_test_split_is_scored_once(
    stores: dict[Task, MemoryStore], tiny_mner: PreparedData, num_predictions: list[int]
) -> None:
    store = copy(stores["mner"])
    first = evaluate_run(store, tiny_mner, split="test", runtime=RUNTIME)
    second = evaluate_run(store, tiny_mner, split="test", runtime=RUNTIME)
    assert first.to_json() == second.to_json()
    assert len(num_predictions) == 1
    assert read_json(store, "evaluations/test.json") == first.to_json()
    result = fit(tiny_config(), tiny_mner, seed=1, runtime=RUNTIME, store=store, test=True)
    assert result.test is not None
    assert result.test.to_json() == first.evaluation.to_json()
    assert len(num_predictions) == 1


def test_another_precision_gets_a_record_of_its_own(
    stores: dict[Task, MemoryStore], tiny_mner: PreparedData, num_predictions: list[int]
) -> None:
    store = copy(stores["mner"])
    own = evaluate_run(store, tiny_mner, split="test", runtime=RUNTIME)
    as_trained = evaluate_run(store, tiny_mner, split="test", precision="fp32", runtime=RUNTIME)
    assert as_trained.to_json() == own.to_json()
    assert len(num_predictions) == 1
    for _ in range(2):  # the second one reads what the first one kept
        other = evaluate_run(store, tiny_mner, split="test", precision="bf16", runtime=RUNTIME)
        assert len(num_predictions) == 2
        assert other.to_json()["precision"] == "bf16"
    assert "precision" not in own.to_json()
    (name,) = set(store.list("evaluations/")) - {"evaluations/test.json", "evaluations/valid.json"}
    assert read_json(store, name) == json.loads(to_json(other.to_json()))


def test_another_data_set_gets_a_record_of_its_own(
    stores: dict[Task, MemoryStore],
    tiny_mner: PreparedData,
    tmp_path: Path,
    num_predictions: list[int],
) -> None:
    store = copy(stores["mner"])
    other = tiny_data(tmp_path, seed=7)
    first = evaluate_run(store, other, split="test", runtime=RUNTIME)
    assert store.get("evaluations/test.json") is None
    again = evaluate_run(store, other, split="test", runtime=RUNTIME)
    assert again.to_json() == first.to_json()
    assert len(num_predictions) == 1
    assert first.data == other.part_hashes(tiny_config())
    own = evaluate_run(store, tiny_mner, split="test", runtime=RUNTIME)
    assert own.to_json()["per_example"] != first.to_json()["per_example"]
    assert len(store.list("evaluations/")) == 3


def test_the_context_set_that_is_asked_for_is_the_one_that_is_read(
    stores: dict[Task, MemoryStore],
    tiny_mner: PreparedData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny_mner.folder, folder)
    texts = tmp_path / "others.json"
    ids = {post.image for post in tiny_mner.splits["test"] if post.image is not None}
    texts.write_text(json.dumps(dict.fromkeys(ids, "Kevin Durant of Oakland")), encoding="utf-8")
    add_context_sets(folder, {"others": [texts]})
    data = PreparedData.load(folder)
    asked: list[str] = []
    read = PreparedData.contexts

    def watched(data: PreparedData, name: str) -> dict[str, str]:
        asked.append(name)
        return read(data, name)

    monkeypatch.setattr(PreparedData, "contexts", watched)
    first = evaluate_run(
        copy(stores["mner"]), data, split="test", contexts="others", runtime=RUNTIME
    )
    assert asked == ["others"]
    assert first.data["contexts"] == data.manifest.parts["contexts/others.jsonl"]
    asked.clear()
    evaluate_run(copy(stores["mner"]), data, split="test", runtime=RUNTIME)
    assert asked == ["captions"]


def test_the_whole_training_split_is_scored_whatever_was_trained_on(
    tiny_mner: PreparedData,
) -> None:
    store = MemoryStore()
    config = tiny_config(**{"data.train_limit": 5, "optimisation.epochs": 1})
    fit(config, tiny_mner, seed=1, runtime=RUNTIME, store=store)
    record = evaluate_run(store, tiny_mner, split="train", runtime=RUNTIME)
    assert {len(counts) for counts in record.to_json()["per_example"].values()} == {NUM_TRAIN}


def test_a_record_survives_json(stores: dict[Task, MemoryStore], tiny_mner: PreparedData) -> None:
    record = evaluate_run(copy(stores["mner"]), tiny_mner, split="valid", runtime=RUNTIME)
    mapped = dataclasses.replace(record, label_map={"A": "B"})
    read = EvaluationRecord.from_json(json.loads(to_json(mapped.to_json())))
    assert read.to_json() == mapped.to_json()
    assert read.label_map == {"A": "B"}


def with_renamed_type(data: PreparedData, out: Path, old: str, new: str) -> PreparedData:
    """The same data set with an entity type of another name."""

    def renamed(example: Example) -> Example:
        assert example.tags is not None
        return dataclasses.replace(
            example,
            tags=tuple(tag.replace(f"-{old}", f"-{new}") for tag in example.tags),
            entities=tuple(
                entity._replace(type=new) if entity.type == old else entity
                for entity in example.entities
            ),
        )

    types = (new if kind == old else kind for kind in data.labels.entity_types)
    pictures = data.image_store()
    assert pictures is not None
    write_prepared(
        out,
        name="renamed",
        labels=Labels("mner", tuple(sorted(types))),
        splits={split: [renamed(e) for e in examples] for split, examples in data.splits.items()},
        contexts={"captions": data.contexts("captions")},
        images={name: pictures.array[row] for name, row in pictures.index.items()},
        image_size=pictures.size,
    )
    return PreparedData.load(out)


def test_labels_by_other_names_need_a_map(
    stores: dict[Task, MemoryStore], tiny_mner: PreparedData, tmp_path: Path
) -> None:
    store = copy(stores["mner"])
    old = tiny_mner.labels.entity_types[0]
    renamed = with_renamed_type(tiny_mner, tmp_path / "renamed", old, "ZZZ")
    with pytest.raises(InputError, match=f"model's entity type '{old}' has no counterpart"):
        evaluate_run(store, renamed, split="test", runtime=RUNTIME)
    own = evaluate_run(store, tiny_mner, split="test", runtime=RUNTIME)
    mapped = evaluate_run(store, renamed, split="test", label_map={old: "ZZZ"}, runtime=RUNTIME)
    assert mapped.evaluation.metrics["f1"] == own.evaluation.metrics["f1"]
    assert mapped.to_json()["per_example"] == own.to_json()["per_example"]
    assert mapped.label_map == {old: "ZZZ"}


def test_another_context_set_is_what_the_model_reads(
    stores: dict[Task, MemoryStore],
    tiny_mner: PreparedData,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    captions, pictures = tiny_mner.contexts("captions"), tiny_mner.image_store()
    assert pictures is not None
    write_prepared(
        tmp_path / "two",
        name="two",
        labels=tiny_mner.labels,
        splits=tiny_mner.splits,
        contexts={"captions": captions, "blank": dict.fromkeys(captions, "")},
        images={name: pictures.array[row] for name, row in pictures.index.items()},
        image_size=pictures.size,
    )
    data, store = PreparedData.load(tmp_path / "two"), copy(stores["mner"])
    caplog.set_level("INFO", "shapca")
    evaluate_run(store, data, split="test", contexts="blank", runtime=RUNTIME)
    assert "test: 12 posts, of which 12 empty contexts" in caplog.text


def test_what_cannot_be_evaluated_is_refused(
    stores: dict[Task, MemoryStore], tiny_datasets: Datasets, tmp_path: Path
) -> None:
    store, data = stores["mner"], tiny_datasets["mner"]
    with pytest.raises(InputError, match="split 'dev': expected one of train, valid, test"):
        evaluate_run(store, data, split="dev", runtime=RUNTIME)
    with pytest.raises(InputError, match="mre"):
        evaluate_run(store, tiny_datasets["mre"], split="test", runtime=RUNTIME)
    with pytest.raises(InputError, match="no context set 'none-such'"):
        evaluate_run(store, data, split="test", contexts="none-such", runtime=RUNTIME)
    with pytest.raises(InputError, match="no such folder"):
        evaluate_run(tmp_path / "nothing", data, split="test", runtime=RUNTIME)
    with pytest.raises(InputError, match=r"no run here \(run\.json is missing\)"):
        evaluate_run(tmp_path, data, split="test", runtime=RUNTIME)


def test_an_unfinished_run_is_refused(tiny_mner: PreparedData) -> None:
    store = MemoryStore()
    fit(tiny_config(), tiny_mner, seed=1, runtime=RUNTIME, store=store, on_epoch=lambda _: True)
    with pytest.raises(InputError, match="the run is not finished"):
        evaluate_run(store, tiny_mner, split="valid", runtime=RUNTIME)


def test_weights_that_do_not_fit_are_refused(stores: dict[Task, MemoryStore]) -> None:
    store = copy(stores["mner"])
    (name,) = (name for name in store.list("best/") if name.endswith(".safetensors"))
    other = stores["mre"]
    (theirs,) = (name for name in other.list("best/") if name.endswith(".safetensors"))
    store.put(name, other.objects[theirs])
    with pytest.raises(InputError, match="weights do not fit"):
        TrainedModel.load(store, CPU)
    store.delete(name)
    with pytest.raises(InputError, match=rf"{name} is missing"):
        TrainedModel.load(store, CPU)


@pytest.mark.parametrize("task", get_args(Task))
def test_predictions_depend_neither_on_batch_mates_nor_on_gold(
    stores: dict[Task, MemoryStore], tiny_datasets: Datasets, task: Task
) -> None:
    data = tiny_datasets[task]
    trained = TrainedModel.load(stores[task], CPU)
    encoded = encode_split(trained.config, data, "test")
    found = [
        predict_split(trained.model, encoded, trained.labels, batch_size=size, device=CPU)
        for size in (1, 5, 12)
    ]
    assert found[0] == found[1] == found[2]
    for example, original in zip(encoded.examples, data.splits["test"], strict=True):
        assert example.words == original.words
        assert example.tags is None
        assert all(relation.type == NONE for relation in example.relations)
        assert task == "mre" or example.entities == example.relations == ()
    assert without_gold(encoded.examples, task) == encoded.examples


def test_a_folder_serves_as_well_as_a_store(tiny_mner: PreparedData, tmp_path: Path) -> None:
    fit(tiny_config(), tiny_mner, seed=1, runtime=RUNTIME, store=FolderStore(tmp_path), test=True)
    stored = read_json(FolderStore(tmp_path), "evaluations/test.json")
    assert evaluate_run(tmp_path, tiny_mner, split="test").to_json() == stored
    assert evaluate_run(str(tmp_path), tiny_mner, split="test").to_json() == stored
