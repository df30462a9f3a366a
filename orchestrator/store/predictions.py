"""A finished cell's predictions on a test split, kept beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.store.cell_folder import PREDICTIONS
from orchestrator.store.cells import CellStore
from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.data.schema import Entity, Prediction, Relation, Span
from shapca.evaluation import predict_examples
from shapca.model.device import set_up
from shapca.runs.trained import TrainedModel
from shapca.storage import digest, read_json, to_json


def predictions_of(
    cells: CellStore, key: str, data: PreparedData, runtime: RuntimeConfig
) -> dict[str, Prediction]:
    """A finished cell's predictions on the whole test split, by the post's id.

    They are kept in the cell's store, so that a picture is drawn again without the weights.

    Raises:
        InputError: The cell has no weights, and nothing was kept.
    """
    if (known := stored_predictions(cells, key, data)) is not None:
        return known
    store = cells.run_store(key)
    examples = data.splits["test"]
    trained = TrainedModel.load(store, set_up(runtime))
    found = predict_examples(trained, data, examples, name="test", num_workers=runtime.num_workers)
    if (directions := trained.record.reading.directions) is not None:
        found = [directions.apply(prediction) for prediction in found]
    record = {
        example.id: {
            "entities": [list(entity) for entity in prediction.entities],
            "relations": [[list(r.head), list(r.tail), r.type] for r in prediction.relations],
        }
        for example, prediction in zip(examples, found, strict=True)
    }
    store.put_new(_name(cells, key, data), to_json(record))
    return _decoded(record)


def stored_predictions(
    cells: CellStore, key: str, data: PreparedData
) -> dict[str, Prediction] | None:
    """What `predictions_of` kept of a cell; None where it kept nothing."""
    if cells.status(key) is None:
        return None
    record: dict[str, Any] | None = read_json(cells.run_store(key), _name(cells, key, data))
    return None if record is None else _decoded(record)


def _name(cells: CellStore, key: str, data: PreparedData) -> str:
    hashes = data.part_hashes(cells.cell(key).config)
    return f"{PREDICTIONS}{digest({'data': hashes, 'split': 'test'})}.json"


def _decoded(record: Mapping[str, Any]) -> dict[str, Prediction]:
    return {
        post: Prediction(
            entities=tuple(Entity(*entity) for entity in kept["entities"]),
            relations=tuple(
                Relation(Span(*head), Span(*tail), kind) for head, tail, kind in kept["relations"]
            ),
        )
        for post, kept in record.items()
    }
