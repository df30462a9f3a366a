"""What the heads decode, as predictions on the words of the posts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from shapca.config import Task
from shapca.data.schema import Example, Labels, Prediction, Relation
from shapca.data.tags import lenient_entities
from shapca.data.word_pair_table import Table, decode_table

Decoded = Sequence[Sequence[int]] | Sequence[int] | Sequence[Table]


def to_predictions(
    decoded: Decoded, examples: Sequence[Example], labels: Labels
) -> list[Prediction]:
    """Turn decoded ids into predictions.

    Args:
        decoded: of each post what its head decodes: tag ids of the encoded words (MNER), a label
            id (MRE), or a (W, W) table of label ids (MJERE).
        examples: the posts, in the same order; nothing annotated is read but MRE's given pair.
        labels: the label sets that the ids belong to.

    Returns:
        One prediction a post. Words that were cut have the tag `O` and belong to no entity.

    Raises:
        ValueError: `decoded` and `examples` differ in length, or a post has more tags than words.
    """
    convert = _CONVERTERS[labels.task]
    return [convert(ids, post, labels) for ids, post in zip(decoded, examples, strict=True)]


def _from_tags(ids: object, example: Example, labels: Labels) -> Prediction:
    names = labels.tags
    encoded = [names[tag] for tag in cast(Sequence[int], ids)]
    num_cut = len(example.words) - len(encoded)
    if num_cut < 0:
        raise ValueError(f"{len(encoded)} tags for the {len(example.words)} words of {example.id}")
    tags = (*encoded, *num_cut * ("O",))
    return Prediction(tags=tags, entities=lenient_entities(tags))


def _from_label(ids: object, example: Example, labels: Labels) -> Prediction:
    (given,) = example.relations
    relation = Relation(given.head, given.tail, labels.pair_labels[cast(int, ids)])
    return Prediction(entities=example.entities, relations=(relation,))


def _from_table(ids: object, example: Example, labels: Labels) -> Prediction:
    entities, relations = decode_table(cast(Table, ids), labels)
    return Prediction(entities=entities, relations=relations)


_CONVERTERS: dict[Task, Callable[[object, Example, Labels], Prediction]] = {
    "mner": _from_tags,
    "mre": _from_label,
    "mjere": _from_table,
}
