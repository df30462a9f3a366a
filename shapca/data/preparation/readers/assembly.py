"""From raw posts to examples with one label set: ids, tags of one scheme, types, pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shapca.config import Task
from shapca.data.checks import problem_of_labels
from shapca.data.decoding import Embedded
from shapca.data.formats import Scheme
from shapca.data.preparation.readers.source import (
    RawPost,
    SourceData,
    checked_image,
    notes_of_names,
    shown,
)
from shapca.data.preparation.readers.tag_schemes import as_iob2, find_scheme
from shapca.data.schema import NONE, SPLITS, Entity, Example, Labels, Relation
from shapca.data.tags import lenient_entities, num_orphans
from shapca.errors import InputError

LONGEST_LIST = 500
"""Characters of a list of types that a message shows."""


def examples_of(
    posts: Mapping[str, Sequence[RawPost]],
    *,
    task: Task,
    entity_types: tuple[str, ...] | None,
    relation_types: tuple[str, ...] | None,
    scheme: Scheme | None,
    one_source: bool,
) -> SourceData:
    """Make one data set of the posts of all splits.

    Args:
        posts: By split.
        task: Which task it serves.
        entity_types: Types that may occur; `None`: those that occur.
        relation_types: The same of relations.
        scheme: Of the tags; `None`: the one that all keep to.
        one_source: The splits were one file, whose types are all known.

    Raises:
        InputError: an id twice, a type that the labels or train lack, or something that the task
            cannot hold (file:line).
    """
    assembly = _Assembly(task)
    every = [post for split in SPLITS for post in posts[split]]
    tagged = [post for post in every if post.tags is not None]
    if tagged and scheme is None:
        scheme = find_scheme(tagged)
    if len({bool(post.pos) for post in every}) > 1:
        lacking = next(post.place for post in every if not post.pos)
        raise InputError(f"{lacking}: no 'pos', yet other posts have it; expected all or none")
    splits = {
        split: tuple(e for post in posts[split] for e in assembly.rows(post, split, scheme))
        for split in SPLITS
    }
    seen = {split: _types(splits[split]) for split in SPLITS}
    known = SPLITS if one_source else ("train",)
    first = [set().union(*(seen[split][which] for split in known)) for which in (0, 1)]
    labels = Labels(
        task,
        _listed(entity_types, first[0], seen, 0, assembly) if task != "mre" else (),
        _listed(relation_types, first[1], seen, 1, assembly) if task != "mner" else (),
    )
    if problem := problem_of_labels(labels):
        names = ", ".join([*labels.entity_types, *labels.relation_types])
        raise InputError(f"labels {names}: {problem}")
    if not labels.entity_types and not labels.relation_types:
        what = "relation" if task == "mre" else "entity"
        raise InputError(f"{every[0].place.rpartition(':')[0]}: not one {what} in any split")
    notes = {"tag_scheme": scheme.upper()} if tagged and scheme is not None else {}
    return SourceData(
        labels=labels,
        splits=splits,
        files=(),
        notes={**notes, **assembly.notes()},
        paths=assembly.paths,
        embedded=assembly.embedded,
        contexts=assembly.contexts,
    )


class _Assembly:
    """What is gathered over all posts."""

    def __init__(self, task: Task) -> None:
        self._task: Task = task
        self._ids: dict[str, str] = {}  # id to place
        self._images: dict[str, str] = {}  # image id to the place that first names it
        self._counts: Counter[str] = Counter()
        self._differing: list[str] = []
        self._places: dict[str, str] = {}  # type to the place where it first occurs
        self.paths: dict[str, str] = {}
        self.embedded: dict[str, Embedded] = {}
        self.contexts: dict[str, dict[str, str]] = {}

    def rows(self, post: RawPost, split: str, scheme: Scheme | None) -> Iterator[Example]:
        """A post's examples: one, or of MRE one a pair."""
        number = len(self._ids) + 1
        name = post.id or f"{split}-{number}"
        self._counts["further_images"] += post.further_images
        self._differing += post.differing_names
        image = self._image(post, name)
        tags: tuple[str, ...] | None = None
        if self._task == "mner":
            tags, entities = self._tagged(post, scheme)
            rows: list[tuple[tuple[Entity, ...], tuple[Relation, ...]]] = [(entities, ())]
        elif post.tags is not None:
            raise InputError(f"{post.place}: 'tags' for the task {self._task}; expected 'entities'")
        elif self._task == "mre":
            rows = list(self._pairs(post))
        else:
            rows = [self._joint(post)]
        for index, (entities, relations) in enumerate(rows, start=1):
            row_id = name if index == 1 else f"{name}#{index}"
            if (other := self._ids.setdefault(row_id, post.place)) != post.place:
                raise InputError(f"{post.place}: the id {shown(row_id)} is taken by {other}")
            for kind in (*(e.type for e in entities), *(r.type for r in relations)):
                self._places.setdefault(f"{split} {kind}", post.place)
            yield Example(row_id, post.words, post.pos, image, tags, entities, relations)

    def place_of(self, split: str, kind: str) -> str:
        """Where a type first occurs in a split."""
        return self._places[f"{split} {kind}"]

    def notes(self) -> dict[str, Any]:
        """What was met, for the manifest."""
        counts = {f"num_{key}": value for key, value in sorted(self._counts.items()) if value}
        return {**counts, **notes_of_names(self._differing)}

    def _tagged(
        self, post: RawPost, scheme: Scheme | None
    ) -> tuple[tuple[str, ...], tuple[Entity, ...]]:
        if post.relations:
            raise InputError(
                f"{post.place}: has relations; say --task mjere where entities and relations are "
                "to be found, --task mre where the entities are given"
            )
        if post.tags is not None:
            tags = as_iob2(post, scheme or "iob2")
            self._counts["orphan_tags"] += num_orphans(tags)
            return tags, lenient_entities(tags)
        if not post.has_entities:
            raise InputError(
                f"{post.place}: neither 'tags' nor 'entities'; expected an empty list where there "
                "are none"
            )
        marked = ["O"] * len(post.words)
        taken = [False] * len(post.words)
        for entity in sorted(post.entities, key=lambda entity: entity.span):
            self._check_typed(entity, post.place)
            if any(taken[entity.start : entity.end]):
                raise InputError(
                    f"{post.place}: the entity [{entity.start}, {entity.end}) (words) overlaps "
                    "another, which tags cannot hold"
                )
            for word in range(entity.start, entity.end):
                taken[word] = True
                marked[word] = f"{'B' if word == entity.start else 'I'}-{entity.type}"
        return tuple(marked), lenient_entities(marked)

    def _pairs(self, post: RawPost) -> Iterator[tuple[tuple[Entity, ...], tuple[Relation, ...]]]:
        if not post.relations:
            raise InputError(
                f"{post.place}: no relation; expected one a pair of given entities, of type "
                f"{NONE!r} where they have none"
            )
        self._counts["unread_entity_types"] += sum(e.type is not None for e in post.entities)
        self._counts["further_pairs"] += len(post.relations) - 1
        for relation in post.relations:
            pair = (relation.head, relation.tail)
            spans = dict.fromkeys((*(e.span for e in post.entities if e.span in pair), *pair))
            yield tuple(Entity(*span, None) for span in spans), (relation,)

    def _joint(self, post: RawPost) -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
        types: dict[tuple[int, int], str | None] = {}
        for entity in post.entities:
            self._check_typed(entity, post.place)
            if types.setdefault(entity.span, entity.type) != entity.type:
                raise InputError(
                    f"{post.place}: words [{entity.start}, {entity.end}) are both "
                    f"{shown(types[entity.span])} and {shown(entity.type)}; expected one type a "
                    "span"
                )
        for relation in post.relations:
            for span in (relation.head, relation.tail):
                if span not in types:
                    raise InputError(
                        f"{post.place}: a relation with words [{span.start}, {span.end}), which "
                        "are no entity of the post"
                    )
        entities, relations = dict.fromkeys(post.entities), dict.fromkeys(post.relations)
        self._counts["repeated_annotations"] += (
            len(post.entities) + len(post.relations) - len(entities) - len(relations)
        )
        return tuple(entities), tuple(relations)

    def _check_typed(self, entity: Entity, place: str) -> None:
        if entity.type is None:
            raise InputError(
                f"{place}: the entity [{entity.start}, {entity.end}) (words) has no type"
            )

    def _image(self, post: RawPost, name: str) -> str | None:
        image = post.image
        if image is None and not post.contexts:
            return None
        if image is None:
            image = name  # contexts are kept by image: this one is missing
            checked_image(name, f"{post.place}: has a context and no image; of its id as one")
            if image in self._images:
                raise InputError(
                    f"{post.place}: has a context and no image, and its id {shown(name)} is an "
                    f"image's at {self._images[image]}; give it another id"
                )
        place = self._images.setdefault(image, post.place)
        if post.path is not None and self.paths.setdefault(image, post.path) != post.path:
            raise InputError(
                f"{post.place}: the image {shown(post.path)} has the name of "
                f"{shown(self.paths[image])} ({place}); expected a name of its own"
            )
        if post.picture is not None:
            other = self.embedded.setdefault(image, post.picture)
            if (other.crc32, other.size) != (post.picture.crc32, post.picture.size):
                raise InputError(
                    f"{post.place}: another picture than that of {place}, yet both have the image "
                    f"id {shown(image)}"
                )
        for key, text in post.contexts.items():
            if self.contexts.setdefault(key, {}).setdefault(image, text) != text:
                raise InputError(
                    f"{post.place}: another context {shown(key)} than the one at {place} for the "
                    f"same image {shown(image)}"
                )
        return image


def _types(examples: Iterable[Example]) -> tuple[set[str], set[str]]:
    """Entity and relation types that occur."""
    entities: set[str] = set()
    relations: set[str] = set()
    for example in examples:
        entities |= {entity.type for entity in example.entities if entity.type is not None}
        relations |= {relation.type for relation in example.relations}
    return entities, relations - {NONE}


def _listed(
    given: tuple[str, ...] | None,
    first: set[str],
    seen: Mapping[str, tuple[set[str], set[str]]],
    which: int,
    assembly: _Assembly,
) -> tuple[str, ...]:
    """The types of a data set, all that occur being among them.

    Raises:
        InputError: a type that is not among those given, or that train lacks.
    """
    option = ("--labels", "--relations")[which]
    listed = tuple(sorted(first)) if given is None else given
    for split in SPLITS:
        for kind in sorted(seen[split][which] - set(listed)):
            unknown = f"{assembly.place_of(split, kind)}: type {shown(kind)}"
            expected = ", ".join(listed)[:LONGEST_LIST] or "none"
            if given is not None:
                raise InputError(f"{unknown}; expected one of {option}: {expected}")
            raise InputError(
                f"{unknown} does not occur in train, which has {expected}; where that is meant, "
                f"list all types with {option}"
            )
    return listed
