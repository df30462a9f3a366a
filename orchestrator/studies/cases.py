"""Posts of a test split with what systems find in them, for a picture side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, Entity, Example, Prediction, Relation, Span
from shapca.errors import InputError

Place = tuple[int, int, str]


@dataclass(frozen=True)
class Finding:
    """An entity or relation, as it is annotated or found.

    Attributes:
        text: For people: `PER Kevin Durant`, `present_in: Kevin Durant → Oracle Arena`.
        spans: Words [start, end) and type of each entity in it.
        is_right: It is annotated, or it is the annotation.
    """

    text: str
    spans: tuple[Place, ...]
    is_right: bool = True


@dataclass(frozen=True)
class Case:
    """One post.

    Attributes:
        id: Of the post.
        words: Its text.
        context: The bridging context, if any.
        picture: (side, side, 3) pixels, if there is a picture.
        gold: What is annotated.
        systems: What each system finds, by its name.
    """

    id: str
    words: tuple[str, ...]
    context: str | None
    picture: npt.NDArray[np.uint8] | None
    gold: tuple[Finding, ...]
    systems: Mapping[str, tuple[Finding, ...]]

    def is_solved_by(self, name: str) -> bool:
        """Whether a system finds everything that is annotated and nothing else."""
        found = self.systems[name]
        return all(f.is_right for f in found) and len(found) == len(self.gold)

    def num_missed(self, name: str) -> int:
        """Annotated items that a system does not find."""
        return len(self.gold) - sum(finding.is_right for finding in self.systems[name])


@dataclass(frozen=True)
class Selection:
    """Posts to show.

    Attributes:
        cases: The posts.
        how: Why these, and how many others there are: a picture of successes must not pass for the
            rule.
    """

    cases: tuple[Case, ...]
    how: str


def cases(
    data: PreparedData,
    config: ExperimentConfig,
    systems: Mapping[str, Mapping[str, Prediction]],
    *,
    posts: Sequence[str] = (),
    num_posts: int = 2,
) -> Selection:
    """The posts to show.

    Args:
        data: The data set; its test split is shown.
        config: Tells the context set.
        systems: Predictions by post, by the system's name, in the order to be shown.
        posts: Ids of posts; empty: the first that the last system alone gets wholly right.
        num_posts: How many, where they are not named.

    Raises:
        InputError: a post that is not in the test split.
    """
    examples: dict[str, Example] = {}
    for example in data.splits["test"]:
        examples.setdefault(example.id, example)
    if unknown := [post for post in posts if post not in examples]:
        raise InputError(
            f"figure.posts: {unknown[0]!r} is not in the test split of {data.folder}, whose ids "
            f"begin with {', '.join(list(examples)[:3])}"
        )
    contexts = {} if config.data.contexts is None else data.contexts(config.data.contexts)
    found = [
        _case(examples[post], contexts, {n: s[post] for n, s in systems.items()})
        for post in (posts or examples)
    ]
    if posts:
        shown, how = found, "Posts named in the study's file."
    else:
        *others, last = systems
        found = [case for case in found if case.gold]
        alone: list[Case] = []
        beaten: list[Case] = []
        for case in found:
            is_solved = case.is_solved_by(last)
            if is_solved != any(map(case.is_solved_by, others)):
                (alone if is_solved else beaten).append(case)
        shown = alone[:num_posts]
        how = (
            f"The first {len(shown)} of {len(alone)} test posts that only {last} gets wholly "
            f"right; {len(beaten)} that {' or '.join(others)} gets wholly right and {last} "
            "does not."
        )
    pictured = [replace(c, picture=_picture(data, examples[c.id].image)) for c in shown]
    return Selection(tuple(pictured), how)


def _case(
    example: Example,
    contexts: Mapping[str, str],
    predictions: Mapping[str, Prediction],
) -> Case:
    gold = _findings(example, example.entities, example.relations, None)
    keys = frozenset(_keys(example.entities, example.relations))
    return Case(
        id=example.id,
        words=example.words,
        context=contexts.get(example.image or "") or None,
        picture=None,
        gold=gold,
        systems={
            name: _findings(example, prediction.entities, prediction.relations, keys)
            for name, prediction in predictions.items()
        },
    )


def _keys(entities: Sequence[Entity], relations: Sequence[Relation]) -> list[Any]:
    return [*entities, *(relation for relation in relations if relation.type != NONE)]


def _findings(
    example: Example,
    entities: Sequence[Entity],
    relations: Sequence[Relation],
    gold: frozenset[Any] | None,
) -> tuple[Finding, ...]:
    """Entities, then relations; those of type `None` are none."""

    def text(span: Span) -> str:
        return " ".join(example.words[span.start : span.end])

    found = [
        Finding(
            f"{entity.type or 'given'}: {text(entity.span)}",
            ((entity.start, entity.end, entity.type or ""),),
            gold is None or entity in gold,
        )
        for entity in sorted(entities)
    ]
    for relation in sorted(relations):
        if relation.type != NONE:
            words = f"{relation.type}: {text(relation.head)} → {text(relation.tail)}"
            found.append(Finding(words, (), gold is None or relation in gold))
    return tuple(found)


def _picture(data: PreparedData, image: str | None) -> npt.NDArray[np.uint8] | None:
    images = data.image_store()
    if images is None or image is None or image not in images.index:
        return None
    return np.asarray(images.array[images.index[image]])
