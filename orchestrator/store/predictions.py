"""A finished cell's predictions on a test split, kept beside it."""

from __future__ import annotations

from pydantic import TypeAdapter

from orchestrator.store.cell_folder import PREDICTIONS
from orchestrator.store.cells import CellStore
from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.data.schema import Prediction
from shapca.evaluation import predict_examples
from shapca.model.device import set_up
from shapca.runs.trained import TrainedModel
from shapca.storage import digest, read_json, to_json

BY_POST = TypeAdapter(dict[str, Prediction])


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
    kept = {example.id: prediction for example, prediction in zip(examples, found, strict=True)}
    record = BY_POST.dump_python(kept, exclude={"__all__": {"tags"}})
    store.put_new(_name(cells, key, data), to_json(record))
    return BY_POST.validate_python(record)


def stored_predictions(
    cells: CellStore, key: str, data: PreparedData
) -> dict[str, Prediction] | None:
    """What `predictions_of` kept of a cell; None where it kept nothing."""
    if cells.status(key) is None:
        return None
    name = _name(cells, key, data)
    record = read_json(cells.run_store(key), name, dict[str, Prediction])
    return None if record is None else BY_POST.validate_python(record)


def _name(cells: CellStore, key: str, data: PreparedData) -> str:
    hashes = data.part_hashes(cells.cell(key).config)
    return f"{PREDICTIONS}{digest({'data': hashes, 'split': 'test'})}.json"
