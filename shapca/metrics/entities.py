"""Span F1 of entities, as seqeval computes it (MNER)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shapca.data.schema import Entity
from shapca.data.tags import lenient_entities, strict_entities
from shapca.metrics.scores import Scores, score_items

_READERS = {"lenient": lenient_entities, "strict": strict_entities}


def entity_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    mode: Literal["lenient", "strict"] = "lenient",
) -> Scores:
    """Micro span F1 of BIO tags, an entity counting where span and type agree.

    Args:
        gold: tags of each post, one a word.
        predicted: the same of the predictions.
        mode: `lenient` is seqeval's default, in which an orphan `I-` starts an entity and which the
            published figures of MNER use; `strict` is strict IOB2.

    Raises:
        ValueError: an unknown mode, or posts whose numbers of tags differ.
    """
    if mode not in _READERS:
        raise ValueError(f"mode {mode!r}: expected one of {', '.join(_READERS)}")
    for place, (true_tags, found_tags) in enumerate(zip(gold, predicted, strict=True)):
        if len(true_tags) != len(found_tags):
            raise ValueError(f"post {place}: {len(true_tags)} gold tags, {len(found_tags)} found")
    read = _READERS[mode]
    return score_items([read(t) for t in gold], [read(t) for t in predicted], entity_type)


def entity_type(entity: Entity) -> str:
    """The type that an entity counts under."""
    return str(entity.type)
