"""Posts of a test split with what systems find in them, for a picture side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, Example, Prediction, Span
from shapca.errors import InputError


@dataclass(frozen=True)
class Finding:
    """An entity or relation, as it is annotated or found.

    Attributes:
        text: For people: `PER Kevin Durant`, `present_in: Kevin Durant → Oracle Arena`.
        is_right: It is annotated, or it is the annotation.
    """

    text: str
    is_right: bool


@dataclass(frozen=True)
class Case:
    """One post.

    Attributes:
        id: Of the post.
        words: Its text.
        kinds: Types of the words that are annotated as entities, by the word's place.
        context: The bridging context, if any.
        picture: (side, side, 3) pixels, if there is a picture.
        gold: What is annotated.
        systems: What each system finds, by its name.
    """

    id: str
    words: tuple[str, ...]
    kinds: Mapping[int, str]
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
        told_apart = [c for c in found if c.is_solved_by(last) != any(map(c.is_solved_by, others))]
        alone = [case for case in told_apart if case.is_solved_by(last)]
        beaten = len(told_apart) - len(alone)
        shown = alone[:num_posts]
        how = (
            f"The first {len(shown)} of {len(alone)} test posts that only {last} gets wholly "
            f"right; {beaten} that {' or '.join(others)} gets wholly right and {last} "
            "does not."
        )
    pictured = [replace(c, picture=_picture(data, examples[c.id].image)) for c in shown]
    return Selection(tuple(pictured), how)


def _case(
    example: Example, contexts: Mapping[str, str], predictions: Mapping[str, Prediction]
) -> Case:
    return Case(
        id=example.id,
        words=example.words,
        kinds={
            place: entity.type or ""
            for entity in sorted(example.entities)
            for place in range(entity.start, entity.end)
        },
        context=contexts.get(example.image or "") or None,
        picture=None,
        gold=_findings(example, example),
        systems={name: _findings(example, found) for name, found in predictions.items()},
    )


def _findings(example: Example, found: Example | Prediction) -> tuple[Finding, ...]:
    """Entities, then relations; those of type `None` are none."""

    def text(span: Span) -> str:
        return " ".join(example.words[span.start : span.end])

    annotated = {*example.entities, *example.relations}
    findings = [
        Finding(f"{entity.type or 'given'}: {text(entity.span)}", entity in annotated)
        for entity in sorted(found.entities)
    ]
    return tuple(findings) + tuple(
        Finding(
            f"{relation.type}: {text(relation.head)} → {text(relation.tail)}",
            relation in annotated,
        )
        for relation in sorted(found.relations)
        if relation.type != NONE
    )


def _picture(data: PreparedData, image: str | None) -> npt.NDArray[np.uint8] | None:
    images = data.image_store()
    if images is None or image is None or image not in images.index:
        return None
    return np.asarray(images.array[images.index[image]])
