"""The forms of a run's JSON records, against which they are held when they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from shapca.config import Precision, Task

Status = Literal["finished", "diverged", "stopped"]
Count = Annotated[int, Field(ge=0)]


class Result(TypedDict):
    """`result.json`."""

    status: Status
    reason: str | None
    best_epoch: int | None
    best_metrics: dict[str, float]
    epochs_run: Count
    alignment: NotRequired[str | None]  # older runs do not have it


class Scores(TypedDict):
    """Scores on a split, with counts per example."""

    metrics: dict[str, float]
    per_example: dict[str, list[list[int]]]


class EvaluationForm(Scores):
    """What lies in `evaluations/`, and the scores of a checkpoint's best epoch."""

    data: dict[str, str]
    split: str
    label_map: dict[str, str]
    precision: NotRequired[Precision]


class CheckpointState(TypedDict):
    """The state in a checkpoint; the random states are looked at where they are taken up."""

    step: Count
    best_epoch: int
    best: NotRequired[EvaluationForm]  # its scores, which older versions had beside its weights
    random: dict[str, Any]
    # Of the epochs since the checkpoint before; `record` of the one epoch is an older version's.
    # They are looked at where they are read.
    records: NotRequired[list[dict[str, Any]]]
    record: NotRequired[dict[str, Any]]


class LabelsForm(TypedDict):
    """The label sets of a model."""

    task: Task
    entity_types: list[str]
    relation_types: list[str]


class Identity(TypedDict):
    """What a run is."""

    config: dict[str, Any]
    seed: int
    data: dict[str, str]
    weights: dict[str, str]
    labels: LabelsForm


class Splitter(TypedDict):
    """How posts are split into words."""

    joined: list[Literal["#", "@", "-"]]


class ReadingForm(TypedDict):
    """How new posts are read. A square of a picture takes memory with the square of its side."""

    words: Splitter
    image_size: Annotated[int, Field(ge=1, le=2048)] | None
    directions: list[tuple[str, str, str, int]] | None


class Run(TypedDict):
    """`run.json`."""

    config: dict[str, Any]
    dataset: str
    reading: ReadingForm
    identity: Identity
    environments: Annotated[list[dict[str, Any]], Field(min_length=1)]
