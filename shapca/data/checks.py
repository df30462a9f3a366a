"""What every prepared data set keeps to, held when it is written and again when it is read."""

from __future__ import annotations

from collections.abc import Iterable

from shapca.data.images import image_id
from shapca.data.schema import NONE, POS_TAGS, Example, Labels
from shapca.data.tags import lenient_entities


def problem_of_labels(labels: Labels) -> str | None:
    """What is wrong with label sets; `None` where nothing is."""
    names = [*labels.entity_types, *labels.relation_types]
    if not all(name and name == name.strip() and name.isprintable() for name in names):
        return "a type that is empty, or has control characters or blanks around it"
    if len(set(names)) < len(names):
        return "a type twice, or of entities and relations alike"
    if NONE in names:
        return f"a type {NONE!r}, which means that there is none"
    if labels.task == "mner" and labels.relation_types:
        return "relation types, yet the task is mner"
    if labels.task == "mre" and labels.entity_types:
        return "entity types, yet the task is mre"
    return None


def problem_of(example: Example, labels: Labels) -> str | None:
    """What is wrong with an example; `None` where nothing is."""
    num_words = len(example.words)
    spans = [entity.span for entity in example.entities]
    spans += [span for relation in example.relations for span in (relation.head, relation.tail)]
    if not example.id or example.id != example.id.strip() or not example.id.isprintable():
        return "an id that is empty, or has control characters or blanks around it"
    if not num_words or not all(example.words):
        return "no words, or an empty one"
    if len(example.pos) != num_words or not set(example.pos) <= set(POS_TAGS):
        return "expected one known part of speech a word"
    if example.tags is not None and len(example.tags) != num_words:
        return "expected one tag a word"
    if not all(0 <= start < end <= num_words for start, end in spans):
        return f"a span out of range: {[tuple(span) for span in spans]}"
    if not {entity.type for entity in example.entities} <= {None, *labels.entity_types}:
        return "an entity type that the labels lack"
    if not {relation.type for relation in example.relations} <= {NONE, *labels.relation_types}:
        return "a relation type that the labels lack"
    if example.image is not None and (reason := _problem_of_image(example.image)):
        return reason
    if example.tags is not None:
        if not set(example.tags) <= set(labels.tags):
            return "a tag that the labels lack"
        if lenient_entities(example.tags) != example.entities:
            return "entities that are not those of the tags"
    return None


def _problem_of_image(image: str) -> str | None:
    try:
        image_id(image)
    except ValueError as error:
        return str(error)
    return None


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that was there before; `None` where each is there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
