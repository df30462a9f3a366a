"""Posts of the synthetic data: words, annotation and captions, without their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shapca.config import Task
from shapca.data.schema import Entity, Relation, Span
from shapca.data.synthetic.language import (
    DOMAINS,
    ENTITY_TYPES,
    PAIR_SCENES,
    PARTS_OF_SPEECH,
    Domain,
    PairScene,
)

OPEN_TEXTS = 0.75
"""Share of posts whose text does not tell what they are about."""
ASIDES = 0.4
"""Share of posts that end by naming a known entity."""
SWAPPED_PAIRS = 0.2
"""Share of symmetric pairs whose head comes second."""
EMPTY_CAPTIONS = 0.03
"""Share of pictures whose caption is an empty text."""
CAPTION_SETS: Mapping[str, float] = {"captions": 0.45, "detailed": 0.8}
"""Context sets, and the share of captions that tell what a picture shows; the rest is useless."""

SYMMETRIC = ("/per/per/couple", "/per/per/peer")
_TAG_OF_WORD = {word: tag for tag, words in PARTS_OF_SPEECH.items() for word in words.split()}


@dataclass(frozen=True)
class Post:
    """A post, and what its picture shows.

    Attributes:
        words: W words.
        pos: Their parts of speech.
        entities: Typed spans, from left to right.
        pair: Head and tail of the scene's relation; `None` in MNER.
        aside: The known entity at the end, if any.
        scene: What text, caption and picture are about: an entity type or a pair scene.
        captions: Per context set, the picture's caption.
    """

    words: tuple[str, ...]
    pos: tuple[str, ...]
    entities: tuple[Entity, ...]
    pair: tuple[Span, Span] | None
    aside: Entity | None
    scene: str | PairScene
    captions: Mapping[str, str]

    @property
    def tags(self) -> tuple[str, ...]:
        """BIO tags of the words."""
        tags = ["O"] * len(self.words)
        for start, end, kind in self.entities:
            tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
        return tuple(tags)

    @property
    def relation(self) -> Relation | None:
        """How the scene's pair relates; `None` in MNER."""
        if self.pair is None or not isinstance(self.scene, PairScene):
            return None
        return Relation(*self.pair, self.scene.relation)


def write_posts(task: Task, domain: Domain, generator: np.random.Generator) -> Iterator[Post]:
    """Posts without end, in rounds in which every scene occurs once."""
    scenes: Sequence[str | PairScene] = ENTITY_TYPES if task == "mner" else PAIR_SCENES
    while True:
        for index in generator.permutation(len(scenes)):
            yield _write_post(scenes[index], domain, generator)


def _write_post(scene: str | PairScene, domain: Domain, generator: np.random.Generator) -> Post:
    is_open = generator.random() < OPEN_TEXTS
    names = generator.choice(len(domain.open_names), size=2, replace=False)
    slots = {slot: domain.open_names[name] for slot, name in zip("ab", names, strict=True)}
    if isinstance(scene, str):
        types = {"a": scene}
        templates = domain.open_posts if is_open else domain.telling_posts[scene]
    else:
        types = {"a": scene.head, "b": scene.tail}
        templates = domain.open_pairs if is_open else domain.telling_pairs[scene.relation]
    template = _one_of(templates, generator)
    if generator.random() < ASIDES:
        types["c"] = _one_of(ENTITY_TYPES, generator)
        slots["c"] = _one_of(domain.known_names[types["c"]], generator)
        template += " " + _one_of(domain.asides[types["c"]], generator).replace("{b}", "{c}")
    words, pos, spans = _fill(template, slots)
    entities = {slot: Entity(*spans[slot], types[slot]) for slot in spans}
    pair = None
    if isinstance(scene, PairScene):
        pair = spans["a"], spans["b"]
        if scene.relation in SYMMETRIC and generator.random() < SWAPPED_PAIRS:
            pair = pair[::-1]
    return Post(
        words=words,
        pos=pos,
        entities=tuple(sorted(entities.values())),
        pair=pair,
        aside=entities.get("c"),
        scene=scene,
        captions=_write_captions(scene, domain, generator),
    )


def _write_captions(
    scene: str | PairScene, domain: Domain, generator: np.random.Generator
) -> dict[str, str]:
    """One caption a context set; a set that tells more tells all that another tells."""
    chance = generator.random()
    subjects = (
        domain.subjects[scene] if isinstance(scene, str) else domain.pair_subjects[scene.relation]
    )
    telling = _one_of(domain.caption_frames, generator).replace("{s}", _one_of(subjects, generator))
    useless = _one_of(domain.empty_captions, generator)
    if generator.random() < EMPTY_CAPTIONS:
        return dict.fromkeys(CAPTION_SETS, "")
    return {name: telling if chance < share else useless for name, share in CAPTION_SETS.items()}


def _fill(
    template: str, slots: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Span]]:
    """Put names into a template: words, parts of speech, and where each name stands."""
    words: list[str] = []
    pos: list[str] = []
    spans: dict[str, Span] = {}
    for word in template.split():
        if word.startswith("{"):
            slot = word[1]
            name = slots[slot].split()
            spans[slot] = Span(len(words), len(words) + len(name))
            words += name
            pos += ["PROPN"] * len(name)
        else:
            words.append(word)
            pos.append(_TAG_OF_WORD[word])
    return tuple(words), tuple(pos), spans


def _one_of(choices: Sequence[str], generator: np.random.Generator) -> str:
    return choices[int(generator.integers(len(choices)))]


def vocabulary() -> list[str]:
    """Every word of all synthetic posts and captions, lower-case and sorted."""
    words = set(_TAG_OF_WORD)
    for domain in DOMAINS.values():
        texts = [*domain.open_names, *domain.open_posts, *domain.open_pairs]
        texts += [*domain.caption_frames, *domain.empty_captions]
        for group in (
            domain.known_names, domain.telling_posts, domain.asides, domain.telling_pairs,
            domain.subjects, domain.pair_subjects,
        ):  # fmt: skip
            texts += [text for choices in group.values() for text in choices]
        words |= {word.lower() for text in texts for word in text.split() if "{" not in word}
    return sorted(words)
