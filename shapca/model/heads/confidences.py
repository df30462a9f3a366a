"""How sure a head is of what it decoded, item for item of a prediction.

W words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from shapca.config import Task
from shapca.data.schema import Labels, Prediction, Span
from shapca.data.word_pair_table import Table, label_ids
from shapca.model.heads.marginals import TagPaths
from shapca.model.heads.predictions import Decoded

Probabilities = NDArray[np.float32]
Evidence = Sequence[TagPaths] | Sequence[float | None] | Sequence[Probabilities]
"""Of each post the distribution over its tag paths (MNER), the probability of its label (MRE), None
where no cell was read, or the (W, W) probabilities of its cells' labels (MJERE)."""


@dataclass(frozen=True)
class Confidence:
    """Probabilities of what one post's prediction holds, in its order; None of what was given.

    Attributes:
        entities: MNER: of all tag paths that BIO allows, those with exactly this entity. MJERE: the
            mean over the diagonal cells of its words of the probability of the cell's label.
        relations: MRE: of the label, by the log-probabilities averaged over the pair's cells, as
            they are decoded, and normalised; None where all words of an entity were cut. MJERE: the
            mean over the cells that vote for it of the probability of its label.
    """

    entities: tuple[float | None, ...]
    relations: tuple[float | None, ...]


def to_confidences(
    evidence: Evidence,
    decoded: Decoded,
    predictions: Sequence[Prediction],
    labels: Labels,
) -> list[Confidence]:
    """What a head gives beside its decoded ids, as confidences of the predictions.

    Args:
        evidence: Of each post, in the same order.
        decoded: The head's ids.
        predictions: What `to_predictions` made of them.
        labels: The label sets that the ids belong to.
    """
    convert = _CONVERTERS[labels.task]
    return [
        convert(found, ids, prediction, labels)
        for found, ids, prediction in zip(evidence, decoded, predictions, strict=True)
    ]


def _of_tags(evidence: object, ids: object, prediction: Prediction, labels: Labels) -> Confidence:
    paths, tags = cast(TagPaths, evidence), cast(Sequence[int], ids)
    inside = {kind: labels.tags.index(f"I-{kind}") for kind in labels.entity_types}
    return Confidence(
        tuple(
            paths.probability(start, tags[start:end], not_before=inside[str(kind)])
            for start, end, kind in prediction.entities
        ),
        (),
    )


def _of_label(evidence: object, ids: object, prediction: Prediction, labels: Labels) -> Confidence:
    return Confidence((None,) * len(prediction.entities), (cast("float | None", evidence),))


def _of_table(evidence: object, ids: object, prediction: Prediction, labels: Labels) -> Confidence:
    cells, table, numbers = cast(Probabilities, evidence), cast(Table, ids), label_ids(labels)

    def of_relation(head: Span, tail: Span, kind: str) -> float:
        block = (slice(*head), slice(*tail))
        return float(cells[block][table[block] == numbers[kind]].mean())

    diagonal = cells.diagonal()
    return Confidence(
        tuple(float(diagonal[slice(*entity.span)].mean()) for entity in prediction.entities),
        tuple(of_relation(*relation) for relation in prediction.relations),
    )


_CONVERTERS: dict[Task, Callable[[object, object, Prediction, Labels], Confidence]] = {
    "mner": _of_tags,
    "mre": _of_label,
    "mjere": _of_table,
}
