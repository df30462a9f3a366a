"""Gold labels of a split as integers, and the parts of speech beside them.

N posts; a post's words are those that the encoder sees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapca.data.batches.ragged import Ints, Ragged
from shapca.data.schema import NONE, POS_TAGS, Example, Labels
from shapca.data.word_pair_table import encode_table, label_ids
from shapca.errors import InputError


def pos_ids(examples: Sequence[Example], num_words: Ints) -> Ragged:
    """Part-of-speech ids of the words that the encoder sees.

    Raises:
        InputError: a post without one known part of speech a word.
    """
    ids = {tag: index for index, tag in enumerate(POS_TAGS)}
    rows = []
    for example, seen in zip(examples, num_words.tolist(), strict=True):
        if len(example.pos) != len(example.words) or not ids.keys() >= set(example.pos):
            raise InputError(
                f"post {example.id!r}: expected one part of speech a word, each one of "
                f"{', '.join(POS_TAGS[2:])}; found {example.pos}"
            )
        rows.append([ids[tag] for tag in example.pos[:seen]])
    return Ragged.of(rows)


def tag_ids(examples: Sequence[Example], labels: Labels, num_words: Ints) -> Ragged | None:
    """Gold of MNER: tag ids of the words that the encoder sees.

    Returns:
        None for another task, and where no post has tags.

    Raises:
        InputError: a post without one known tag a word, where another has tags.
    """
    if labels.task != "mner" or all(example.tags is None for example in examples):
        return None
    ids = {tag: index for index, tag in enumerate(labels.tags)}
    rows = []
    for example, seen in zip(examples, num_words.tolist(), strict=True):
        if example.tags is None or len(example.tags) != len(example.words):
            raise InputError(f"post {example.id!r}: expected one tag a word")
        if unknown := sorted(set(example.tags) - ids.keys()):
            raise InputError(
                f"post {example.id!r}: tag {unknown[0]!r}, expected one of {', '.join(ids)}"
            )
        rows.append([ids[tag] for tag in example.tags[:seen]])
    return Ragged.of(rows)


def pair_tables(examples: Sequence[Example], labels: Labels, num_words: Ints) -> Ragged | None:
    """Gold of MJERE: each post's table of word pairs, flattened, without the words cut.

    Returns:
        None for another task.

    Raises:
        InputError: an annotation that no table can hold.
    """
    if labels.task != "mjere":
        return None
    ids = label_ids(labels)
    rows = []
    for example, seen in zip(examples, num_words.tolist(), strict=True):
        try:
            table = encode_table(len(example.words), example.entities, example.relations, ids)
        except ValueError as error:
            raise InputError(f"post {example.id!r}: {error}") from error
        rows.append(table[:seen, :seen].ravel().tolist())
    return Ragged.of(rows)


def given_pairs(examples: Sequence[Example], labels: Labels) -> Ints | None:
    """Candidate and gold of MRE.

    Returns:
        (N, 5) head start, head end, tail start, tail end and label; `None` for another task.

    Raises:
        InputError: a post without exactly one pair, or with an unknown relation.
    """
    if labels.task != "mre":
        return None
    ids = label_ids(labels)
    rows = []
    for example in examples:
        if len(example.relations) != 1:
            raise InputError(
                f"post {example.id!r}: expected one pair of given entities (with the relation "
                f"{NONE} where they have none), found {len(example.relations)}"
            )
        relation = example.relations[0]
        if relation.type not in ids:
            raise InputError(
                f"post {example.id!r}: relation {relation.type!r}, expected one of {', '.join(ids)}"
            )
        rows.append([*relation.head, *relation.tail, ids[relation.type]])
    return np.asarray(rows, dtype=np.int64).reshape(-1, 5)
