"""Word-pair tables as a model may get them wrong, from the gold tables of annotated posts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from shapca.data.schema import Example, Labels
from shapca.data.word_pair_table import Table, encode_table, label_ids

KINDS = ("whole", "types", "shift", "swap", "miss", "cells", "random")
SHARE = 0.4  # of the cells that a kind may damage; `cells` damages a quarter of that


def damaged_tables(
    posts: Sequence[Example], labels: Labels, kind: str, *, num_tables: int, seed: int = 0
) -> Iterator[Table]:
    """Tables of posts drawn at random, damaged in one way.

    Args:
        posts: Annotated posts of joint extraction.
        labels: Their label sets.
        kind: `whole`: as annotated; `types`: cells of entity types get another one; `shift`: all
            relations one word to the right; `swap`: cells of relations get another one; `miss`:
            cells of relations are lost; `cells`: any cells get any label; `random`: all cells do.
        num_tables: How many.
        seed: Of posts and damage.
    """
    generator = np.random.default_rng(seed)
    for row in generator.integers(0, len(posts), num_tables):
        post = posts[row]
        table = encode_table(len(post.words), post.entities, post.relations, label_ids(labels))
        yield damage(table, labels, kind, generator)


def damage(table: Table, labels: Labels, kind: str, generator: np.random.Generator) -> Table:
    """A damaged copy of a table; the kinds are those of `damaged_tables`."""
    if kind == "whole":
        return table
    num_types, num_labels = len(labels.entity_types), len(labels.pair_labels)
    is_relation = table > num_types
    if kind == "shift":
        moved = np.roll(np.where(is_relation, table, 0), 1, axis=1)
        return np.triu(np.where(moved > 0, moved, np.where(is_relation, 0, table)))
    lowest, highest, cells, share = {
        "types": (1, num_types + 1, (table > 0) & ~is_relation, SHARE),
        "swap": (num_types + 1, num_labels, is_relation, SHARE),
        "miss": (0, 1, is_relation, SHARE),
        "cells": (0, num_labels, table >= 0, SHARE / 4),
        "random": (0, num_labels, table >= 0, 1.0),
    }[kind]
    hit = cells & (generator.random(table.shape) < share)
    return np.triu(np.where(hit, generator.integers(lowest, highest, table.shape), table))
