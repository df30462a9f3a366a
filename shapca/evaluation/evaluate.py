"""Scores of a model on a split, and the records that keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from shapca.alignment.health import AlignmentHealth
from shapca.config import Precision, RuntimeConfig
from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS, Example, Labels, Prediction
from shapca.errors import InputError
from shapca.evaluation.batches import read_batches
from shapca.evaluation.label_map import complete_label_map, rename_types
from shapca.metrics import Evaluation, evaluate_predictions
from shapca.model.device import set_up
from shapca.model.heads.predictions import to_predictions
from shapca.model.inputs import encode_posts, split_examples, without_gold
from shapca.model.network import ShapCA
from shapca.model.picture_features import with_picture_features
from shapca.runs.forms import EvaluationForm
from shapca.runs.layout import evaluation_record
from shapca.runs.reading import Reading
from shapca.runs.run_record import RunRecord, load_run
from shapca.runs.trained import TrainedModel, open_store
from shapca.storage import ObjectStore, digest, place_name, read_json, to_json

VALID, TEST = evaluation_record("valid"), evaluation_record("test")


@dataclass(frozen=True)
class EvaluationRecord:
    """Scores with what they are scores of.

    Attributes:
        data: Hashes of the data parts that were read.
        split: `train`, `valid` or `test`.
        label_map: The model's types to the data's, where they differ.
        evaluation: The scores, with counts per example.
        predictions: What was found, one a post, without tags: of validation splits alone.
        precision: How the model computed; None: as its run did.
    """

    data: Mapping[str, str]
    split: str
    evaluation: Evaluation
    label_map: Mapping[str, str] = field(default_factory=dict)
    predictions: Sequence[Prediction] | None = None
    precision: Precision | None = None

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        record = {
            "data": dict(self.data),
            "split": self.split,
            "label_map": dict(self.label_map),
            **self.evaluation.to_json(),
        }
        if self.precision is not None:
            record["precision"] = self.precision
        if self.predictions is not None:
            kept = tuple(self.predictions)
            record["predictions"] = _PREDICTIONS.dump_python(kept, exclude={"__all__": {"tags"}})
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EvaluationRecord:
        """The inverse of `to_json`."""
        rest = dict(record)
        data, split, label_map = (rest.pop(key) for key in ("data", "split", "label_map"))
        found, precision = (rest.pop(key, None) for key in ("predictions", "precision"))
        predictions = None if found is None else _PREDICTIONS.validate_python(found)
        return cls(data, split, Evaluation.from_json(rest), label_map, predictions, precision)


_PREDICTIONS = TypeAdapter(tuple[Prediction, ...])


def predict_examples(
    trained: TrainedModel,
    data: PreparedData,
    examples: Sequence[Example],
    *,
    name: str,
    contexts: str | None = None,
    num_workers: int = 0,
) -> list[Prediction]:
    """What a trained model finds in posts of a prepared data set, its gold unseen.

    Cut texts and missing images are logged.

    Args:
        trained: The model.
        data: The data set, whose contexts and images are read where the model reads them.
        examples: Posts of it.
        name: What to call the posts in the log, e.g. their split.
        contexts: Another context set than the run's.
        num_workers: Worker processes that collate batches.

    Returns:
        One prediction a post, in the order of the posts.

    Raises:
        InputError: a context set or the images are missing.
    """
    config = trained.config
    encoded = encode_posts(
        config, trained.labels, without_gold(examples, config.task), trained.tokenizer, data,
        name=name, contexts=contexts,
    )  # fmt: skip
    encoded = with_picture_features(encoded, trained.model.image, data)
    return predict_encoded(trained, encoded, num_workers=num_workers)


def predict_encoded(
    trained: TrainedModel, encoded: EncodedSplit, *, num_workers: int = 0
) -> list[Prediction]:
    """`predict_split` of a trained model with its precision and the batches of its run."""
    return predict_split(
        trained.model,
        encoded,
        trained.labels,
        batch_size=trained.config.optimisation.batch_size,
        precision=trained.precision,
        device=trained.device,
        num_workers=num_workers,
    )


def predict_split(
    model: ShapCA,
    split: EncodedSplit,
    labels: Labels,
    *,
    batch_size: int,
    precision: str = "fp32",
    device: torch.device,
    num_workers: int = 0,
    health: AlignmentHealth | None = None,
) -> list[Prediction]:
    """Predictions for every post of a split, in its order; the model is left in eval mode.

    Args:
        model: The model, on its device.
        split: The posts.
        labels: The label sets that the model tells apart.
        batch_size: Posts of a batch.
        precision: As a run's `optimisation.precision`.
        device: Where the model is.
        num_workers: Worker processes that collate batches.
        health: Takes in the pairs that the model's alignment would align.
    """

    def read(batch: Batch, examples: Sequence[Example]) -> list[Prediction]:
        return to_predictions(model.predict(batch, health), examples, labels)

    return read_batches(
        model, split, read,
        batch_size=batch_size, precision=precision, device=device, num_workers=num_workers,
    )  # fmt: skip


def score(
    reading: Reading,
    labels: Labels,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    *,
    label_map: Mapping[str, str] | None = None,
) -> Evaluation:
    """Scores of predictions against what is annotated.

    Args:
        reading: What the run learned of its training data.
        labels: Label sets of the data.
        examples: The posts as annotated.
        predictions: One a post, in the model's labels.
        label_map: The model's types to the data's, where they differ.
    """
    names = label_map or {}
    return evaluate_predictions(
        labels,
        examples,
        [rename_types(prediction, names) for prediction in predictions],
        directions=None if reading.directions is None else reading.directions.rename(names),
    )


def evaluate_run(
    run: str | Path | ObjectStore,
    data: PreparedData,
    *,
    split: str,
    contexts: str | None = None,
    label_map: Mapping[str, str] | None = None,
    precision: Precision | None = None,
    runtime: RuntimeConfig = RuntimeConfig(),
) -> EvaluationRecord:
    """Scores of a finished run's best weights on a split of any data set of its task.

    What was evaluated before is read from the run's store, so that a test split is scored once.

    Args:
        run: Folder or store of the run.
        data: The data set.
        split: `train`, `valid` or `test`.
        contexts: Another context set than the run's.
        label_map: The model's types to the data set's, where their names differ.
        precision: How to compute, as `optimisation.precision`; None: as the run did.
        runtime: Device, threads and workers.

    Raises:
        InputError: no finished run, a split or part that is not there, or a label without its
            counterpart.
    """
    asked = _Asked.of(run, data, split, contexts, label_map, precision)
    store, record, names = asked.store, asked.record, asked.label_map
    if (stored := asked.stored()) is not None:
        return stored

    trained = TrainedModel.load(run, set_up(runtime)).with_precision(precision)
    examples = split_examples(data, split)
    predictions = predict_examples(
        trained,
        data,
        examples,
        name=split,
        contexts=contexts,
        num_workers=runtime.num_workers,
    )
    evaluation = score(record.reading, data.labels, examples, predictions, label_map=names)
    kept = predictions if split == "valid" else None  # errors may be looked at there alone
    result = EvaluationRecord(asked.hashes, split, evaluation, names, kept, asked.precision)
    store.put_new(asked.name, to_json(result.to_json()))
    return result


def stored_evaluation(
    run: str | Path | ObjectStore,
    data: PreparedData,
    *,
    split: str,
    contexts: str | None = None,
    label_map: Mapping[str, str] | None = None,
) -> EvaluationRecord | None:
    """What `evaluate_run` would read from the run's store, or None where it was never evaluated.

    The weights are not needed. Arguments and errors are those of `evaluate_run`.
    """
    return _Asked.of(run, data, split, contexts, label_map).stored()


@dataclass(frozen=True)
class _Asked:
    """An evaluation that is asked for: of what, on what, and where its record is kept."""

    store: ObjectStore
    record: RunRecord
    hashes: dict[str, str]
    label_map: dict[str, str]
    precision: Precision | None
    name: str

    @classmethod
    def of(
        cls,
        run: str | Path | ObjectStore,
        data: PreparedData,
        split: str,
        contexts: str | None,
        label_map: Mapping[str, str] | None,
        precision: Precision | None = None,
    ) -> _Asked:
        if split not in SPLITS:
            raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        store = open_store(run)
        record = load_run(store)
        config = record.config
        if contexts is not None:
            if config.data.contexts is None:
                raise InputError(f"{place_name(run)}: the model reads no contexts")
            config = config.model_copy(
                update={"data": config.data.model_copy(update={"contexts": contexts})}
            )
        hashes = data.part_hashes(config)
        names = complete_label_map(record.labels, data.labels, label_map or {})
        if precision == config.optimisation.precision:
            precision = None
        name = _record_name(record, data, hashes, split, names, precision)
        return cls(store, record, hashes, names, precision, name)

    def stored(self) -> EvaluationRecord | None:
        stored = read_json(self.store, self.name, EvaluationForm)
        return None if stored is None else EvaluationRecord.from_json(stored)


def _record_name(
    record: RunRecord,
    data: PreparedData,
    hashes: Mapping[str, str],
    split: str,
    label_map: Mapping[str, str],
    precision: Precision | None,
) -> str:
    """Where an evaluation is kept: the run's own test and validation under their plain names."""
    own = hashes == record.data and data.labels == record.labels and not (label_map or precision)
    if own and split in ("valid", "test"):
        return VALID if split == "valid" else TEST
    identity: dict[str, Any] = {"data": dict(hashes), "split": split, "label_map": dict(label_map)}
    if precision is not None:
        identity["precision"] = precision
    return evaluation_record(digest(identity))
