"""The word-pair table of joint extraction (MJERE): entities and relations as labels of word pairs.

W words, E entities, L labels. Row i and column j of a table stand for words i and j; only the upper
triangle with its diagonal (i <= j) is used, cells below it hold `None`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from shapca.data.schema import NONE, Entity, Example, Labels, Prediction, Relation, Span

Table = NDArray[np.int64]


def label_ids(labels: Labels) -> dict[str, int]:
    """The id of each label of a word pair: `None` is 0, then entity types, then relation types."""
    return {label: index for index, label in enumerate(labels.pair_labels)}


def encode_table(
    num_words: int,
    entities: Iterable[Entity],
    relations: Iterable[Relation],
    label_ids: Mapping[str, int],
) -> Table:
    """Write entities and relations into a table of word pairs.

    An entity fills the upper triangle of its own block with its type; a relation fills the cells
    (min(i, j), max(i, j)) of all i in its head and j in its tail. The table is written item by
    item, relation after relation in annotation order: the first entity, the second entity, then
    the relation; a later cell overwrites an earlier one. Entities of no relation come first.

    Args:
        num_words: W.
        entities: typed spans in any order; of two types of one span the later one counts.
        relations: in annotation order; head and tail are spans of `entities`. A relation of type
            `None` writes its two entities and nothing between them.
        label_ids: the id of each label, with 0 for `None` (see `label_ids`).

    Returns:
        (W, W) int64 label ids.

    Raises:
        ValueError: a span outside the words, an entity without a type, a relation whose span is
            no entity, or a label that is not in `label_ids`.
    """
    relations = tuple(relations)
    types: dict[Span, int] = {}
    for entity in entities:
        if not 0 <= entity.start < entity.end <= num_words:
            raise ValueError(f"{entity} lies outside the {num_words} words")
        if entity.type is None:
            raise ValueError(f"{entity} has no type")
        types[entity.span] = _label_id(entity.type, label_ids)

    table = np.zeros((num_words, num_words), dtype=np.int64)
    related = {span for relation in relations for span in (relation.head, relation.tail)}
    for span in types:
        if span not in related:
            _write(table, span, span, types[span])
    for relation in relations:
        for span in (relation.head, relation.tail):
            if span not in types:
                raise ValueError(f"{relation}: {span} is no entity of the post")
            _write(table, span, span, types[span])
        if relation.type != NONE:
            _write(table, relation.head, relation.tail, _label_id(relation.type, label_ids))
    return table


def decode_table(
    table: NDArray[np.integer], labels: Labels
) -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
    """Read entities and relations off a table of word pairs.

    An entity is a maximal run of entity types on the diagonal, even where adjacent types differ,
    with its first word's type. The relation of two entities is the most frequent relation of the
    block between them, the lowest id among equals: cells of `None` and of entity types do not
    vote, and one cell of a relation is enough.

    Args:
        table: (W, W) label ids in the order of `labels.pair_labels`.
        labels: The label sets of an MJERE data set.

    Returns:
        Entities from left to right; relations row by row, the earlier entity as head, since the
        table does not tell a relation's direction.
    """
    num_types, num_labels = len(labels.entity_types), len(labels.pair_labels)
    diagonal = np.diagonal(table)  # (W,)
    is_entity = (diagonal > 0) & (diagonal <= num_types)
    edges = np.diff(is_entity.astype(np.int8), prepend=0, append=0)  # (W + 1,)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)  # (E,)
    entities = tuple(
        Entity(start, end, labels.pair_labels[type_id])
        for start, end, type_id in zip(
            starts.tolist(), ends.tolist(), diagonal[starts].tolist(), strict=True
        )
    )

    owner = np.cumsum(edges[:-1] == 1) - 1  # (W,) the entity of each word of an entity
    words = np.flatnonzero(is_entity)
    first, second = (words[index] for index in np.triu_indices(len(words), 1))
    votes = (owner[first] != owner[second]) & (table[first, second] > num_types)
    first, second = first[votes], second[votes]
    shape = (len(entities), len(entities), num_labels)
    cells = np.ravel_multi_index((owner[first], owner[second], table[first, second]), shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)  # (E, E, L)
    winner = counts.argmax(axis=-1)  # (E, E); the lowest id among equals, 0 where nothing votes
    relations = tuple(
        Relation(entities[row].span, entities[column].span, labels.pair_labels[winner[row, column]])
        for row, column in np.argwhere(winner).tolist()
    )
    return entities, relations


def as_table_reads(example: Example, labels: Labels) -> Prediction:
    """What decoding an example's own gold table gives back.

    Raises:
        ValueError: as `encode_table`.
    """
    table = encode_table(len(example.words), example.entities, example.relations, label_ids(labels))
    entities, relations = decode_table(table, labels)
    return Prediction(entities=entities, relations=relations)


def _label_id(label: str, label_ids: Mapping[str, int]) -> int:
    """The id of a label that must be known.

    Raises:
        ValueError: unknown label.
    """
    if label not in label_ids:
        raise ValueError(f"label {label!r} is unknown, expected one of {', '.join(label_ids)}")
    return label_ids[label]


def _write(table: Table, first: Span, second: Span, label: int) -> None:
    """Fill the cells of all word pairs of two spans, in the upper triangle."""
    rows = np.arange(*first)[:, None]
    columns = np.arange(*second)[None, :]
    table[np.minimum(rows, columns), np.maximum(rows, columns)] = label
