"""Words of the synthetic posts: names, templates and captions of two domains, as read from assets.

A scene says what a post is about. Its *open* templates fit every scene, so that the text alone
cannot tell them apart; its *telling* templates and captions fit that scene only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from pydantic import TypeAdapter

ENTITY_TYPES = ("LOC", "MISC", "ORG", "PER")


@dataclass(frozen=True)
class PairScene:
    """Two entities and how they relate.

    Attributes:
        relation: Relation type, or `None` for two entities that do not relate.
        head: Type of entity `{a}`.
        tail: Type of entity `{b}`.
    """

    relation: str
    head: str
    tail: str


PAIR_SCENES = (
    PairScene("/per/per/couple", "PER", "PER"),
    PairScene("/per/per/peer", "PER", "PER"),
    PairScene("/per/org/member_of", "PER", "ORG"),
    PairScene("/per/loc/place_of_residence", "PER", "LOC"),
    PairScene("/per/misc/awarded", "PER", "MISC"),
    PairScene("/org/loc/locate_at", "ORG", "LOC"),
    PairScene("/misc/loc/held_on", "MISC", "LOC"),
    PairScene("None", "ORG", "MISC"),
)
RELATION_TYPES = tuple(sorted(scene.relation for scene in PAIR_SCENES if scene.relation != "None"))


@dataclass(frozen=True)
class Domain:
    """The language of one domain; `{a}` and `{b}` stand for names.

    Attributes:
        open_names: Names that any of the four types may bear.
        known_names: Names that one type alone bears, by type.
        open_posts: Posts about `{a}` that tell nothing of its type.
        telling_posts: Posts about `{a}` that tell its type, by type.
        asides: Endings that name a known entity `{b}`, by its type.
        open_pairs: Posts about `{a}` and `{b}` that tell nothing of them.
        telling_pairs: Posts that tell how `{a}` and `{b}` relate, by relation.
        subjects: What a caption says to show an entity type, by type.
        pair_subjects: What a caption says to show a relation, by relation.
        caption_frames: Captions around a subject `{s}`.
        empty_captions: Captions that say nothing.
    """

    open_names: tuple[str, ...]
    known_names: Mapping[str, tuple[str, ...]]
    open_posts: tuple[str, ...]
    telling_posts: Mapping[str, tuple[str, ...]]
    asides: Mapping[str, tuple[str, ...]]
    open_pairs: tuple[str, ...]
    telling_pairs: Mapping[str, tuple[str, ...]]
    subjects: Mapping[str, tuple[str, ...]]
    pair_subjects: Mapping[str, tuple[str, ...]]
    caption_frames: tuple[str, ...]
    empty_captions: tuple[str, ...]


_WORDS = tomllib.loads(
    (files("shapca") / "assets" / "synthetic-language.toml").read_text(encoding="utf-8")
)
PARTS_OF_SPEECH: Mapping[str, str] = _WORDS.pop("parts_of_speech")
"""A part of speech to its words."""
DOMAINS = TypeAdapter(dict[str, Domain]).validate_python(_WORDS)
"""The two domains by name: `street` and `festival`."""
