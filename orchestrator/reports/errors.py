"""What a model gets wrong on a split: confusions, what it missed and invented, posts to look at.

The validation split is looked at, never the test split: whoever changes a model after its test
errors has no test any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.store.address import resolve_data_root
from orchestrator.store.cells import CellStore
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.config import RuntimeConfig
    from shapca.data.schema import Example, Prediction

MOST_POSTS = 10
Place = tuple[tuple[int, int], ...]
"""The span of an entity, or the two spans of a relation, the earlier first."""
Kind = Literal["entities", "relations"]
_KINDS: dict[str, tuple[Kind, ...]] = {
    "mner": ("entities",),
    "mre": ("relations",),
    "mjere": ("entities", "relations"),
}


@dataclass(frozen=True)
class Confusion:
    """Gold against predicted types.

    Attributes:
        kind: Of what.
        types: Types of either, sorted.
        counts: By gold and predicted type; None where there is nothing at that place.
        boundaries: Annotated spans that were missed where an invented one overlaps them.
    """

    kind: Kind
    types: tuple[str, ...]
    counts: Mapping[tuple[str | None, str | None], int]
    boundaries: int = 0

    def total(self, which: Literal["right", "mistyped", "missed", "invented"]) -> int:
        """How many items are right, of another type, missed or invented."""
        return sum(n for pair, n in self.counts.items() if _verdict(*pair) == which)


@dataclass(frozen=True)
class Mark:
    """One entity of a post, to be coloured.

    Attributes:
        start: Its first word.
        end: One behind its last.
        type: What it is annotated, or found, as.
        is_right: Whether both agree.
    """

    start: int
    end: int
    type: str
    is_right: bool


@dataclass(frozen=True)
class Post:
    """One post with what is annotated and what was found.

    Attributes:
        id: Of the post.
        words: Its text.
        context: The bridging context, if any.
        picture: JPEG, base64, if there is a picture.
        gold: Entities as annotated.
        found: Entities as predicted.
        relations: For people: `annotated` or `found`, the relation, whether both agree.
        num_errors: Items that are missed, invented or of another type.
    """

    id: str
    words: tuple[str, ...]
    context: str | None
    picture: str | None
    gold: tuple[Mark, ...]
    found: tuple[Mark, ...]
    relations: tuple[tuple[str, str, bool], ...]
    num_errors: int


@dataclass(frozen=True)
class Errors:
    """The errors of one cell on the validation split.

    Attributes:
        cell: Key of the cell.
        seed: Its seed.
        confusions: Of entities, relations, or both.
        posts: Some posts with errors, those with the most first.
        num_wrong: Posts with errors.
        num_posts: Posts in all.
    """

    cell: str
    seed: int
    confusions: tuple[Confusion, ...]
    posts: tuple[Post, ...]
    num_wrong: int
    num_posts: int


def read_errors(
    cells: CellStore, key: str, runtime: RuntimeConfig, data_root: Path | None = None
) -> Errors | str:
    """The errors of a finished cell, or why they cannot be shown.

    Args:
        cells: The storage, which keeps what the cell predicted.
        key: The cell.
        runtime: Says where the data sets are.
        data_root: Folder of the prepared data sets, in place of that.
    """
    record = cells.evaluation(key, "valid") or {}
    if "predictions" not in record:
        return "its validation predictions are not in the storage: it was trained by older code"
    from pydantic import TypeAdapter

    from shapca.data.prepared import PreparedData
    from shapca.data.schema import Prediction

    cell = cells.cell(key)
    try:
        data = PreparedData.load(resolve_data_root(data_root, runtime) / cell.config.data.dataset)
        hashes = data.part_hashes(cell.config)
        if hashes != record["data"]:
            return f"{data.folder} is another data set than the one that it was trained on"
        name = cell.config.data.contexts
        contexts = {} if name is None else data.contexts(name)
        found = TypeAdapter(tuple[Prediction, ...]).validate_python(record["predictions"])
        examples, task = data.splits["valid"], data.labels.task
        images = data.image_store() if cell.config.image.encoder != "none" else None
    except InputError as error:
        return f"{error}; orchestrator report with --data-root shows them"
    kinds = _KINDS[task]
    wrong = [num_errors(*pair, kinds) for pair in zip(examples, found, strict=True)]
    order = sorted((n for n, number in enumerate(wrong) if number), key=lambda n: (-wrong[n], n))
    posts = [
        _post(examples[n], found[n], contexts, _picture(images, examples[n].image), wrong[n])
        for n in order[:MOST_POSTS]
    ]
    return Errors(
        key, cell.seed, tuple(confusion(kind, examples, found) for kind in kinds),
        tuple(posts), len(order), len(examples),
    )  # fmt: skip


def confusion(kind: Kind, examples: Sequence[Example], found: Sequence[Prediction]) -> Confusion:
    """Gold against predicted types over posts.

    Args:
        kind: Of entities, or of relations.
        examples: The posts as annotated.
        found: One prediction a post.
    """
    counts: Counter[tuple[str | None, str | None]] = Counter()
    boundaries = 0
    for example, prediction in zip(examples, found, strict=True):
        gold, predicted = items(kind, example), items(kind, prediction)
        counts.update((gold.get(at), predicted.get(at)) for at in gold.keys() | predicted.keys())
        if kind == "entities":
            invented = [at[0] for at in predicted.keys() - gold.keys()]
            boundaries += sum(
                any(start < end_ and start_ < end for start_, end_ in invented)
                for ((start, end),) in gold.keys() - predicted.keys()
            )
    types = sorted({kind for pair in counts for kind in pair if kind is not None})
    return Confusion(kind, tuple(types), dict(counts), boundaries)


def items(kind: Kind, post: Example | Prediction) -> dict[Place, str]:
    """Entities or relations of a post by their place; relations of type None are none."""
    if kind == "entities":
        return {((e.start, e.end),): e.type or "entity" for e in post.entities}
    found: dict[Place, str] = {}
    for relation in post.relations:
        if relation.type != "None":
            (a, b), (c, d) = sorted((relation.head, relation.tail))
            found[(a, b), (c, d)] = relation.type
    return found


def num_errors(example: Example, found: Prediction, kinds: Sequence[Kind]) -> int:
    """Items of a post that are missed, invented or of another type."""
    pairs = [(items(kind, example), items(kind, found)) for kind in kinds]
    return sum(
        gold.get(at) != predicted.get(at)
        for gold, predicted in pairs
        for at in gold.keys() | predicted.keys()
    )


def _verdict(gold: str | None, found: str | None) -> str:
    if gold == found:
        return "right"
    return "missed" if found is None else "invented" if gold is None else "mistyped"


def _post(
    example: Example,
    found: Prediction,
    contexts: Mapping[str, str],
    picture: str | None,
    number: int,
) -> Post:
    def marks(of: Example | Prediction, other: Example | Prediction) -> tuple[Mark, ...]:
        there = items("entities", other)
        return tuple(
            Mark(start, end, type_, there.get(((start, end),)) == type_)
            for ((start, end),), type_ in sorted(items("entities", of).items())
        )

    def text(span: tuple[int, int]) -> str:
        return " ".join(example.words[span[0] : span[1]])

    gold, predicted = items("relations", example), items("relations", found)
    relations = [
        (who, f"{type_}: {text(first)} – {text(second)}", other.get((first, second)) == type_)
        for who, one, other in (("annotated", gold, predicted), ("found", predicted, gold))
        for (first, second), type_ in sorted(one.items())
    ]
    return Post(
        example.id, example.words, contexts.get(example.image or "") or None, picture,
        marks(example, found), marks(found, example), tuple(relations), number,
    )  # fmt: skip


def _picture(images: Any, image: str | None) -> str | None:
    """A stored picture as a small JPEG, base64."""
    if images is None or image is None or image not in images.index:
        return None
    import base64
    import io

    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.asarray(images.array[images.index[image]]))
    picture.thumbnail((180, 180))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
