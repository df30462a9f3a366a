"""Schemes of entity tags: which one a file keeps to, and the same entities in IOB2.

IOB2 begins every entity with `B-`; IOB1 only one that follows another of its type; BIOES and BILOU
mark the last word and single words too (`E`/`S`, `L`/`U`; BMES writes `M` for `I`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from shapca.data.formats import Scheme
from shapca.data.preparation.readers.source import RawPost, shown
from shapca.data.tags import is_orphan
from shapca.errors import InputError

_TAG = re.compile(r"O|[BIESLUM]-\S(?:.*\S)?")
_LAST_AND_SINGLE: dict[str, tuple[str, str, str]] = {
    "bioes": ("I", "E", "S"),
    "bilou": ("I", "L", "U"),
    "bmes": ("M", "E", "S"),
}
_OWN_SIGNS = {"E": ("bioes", "bmes"), "S": ("bioes", "bmes"), "L": ("bilou",), "U": ("bilou",),
              "M": ("bmes",)}  # fmt: skip


def find_scheme(posts: Iterable[RawPost]) -> Scheme:
    """The scheme that all tags keep to.

    Where IOB1 and IOB2 would read the same, it is called IOB2 if an entity begins with `B-`, and
    IOB1 otherwise.

    Raises:
        InputError: a tag of no scheme, tags of two schemes, or in IOB2 an `I-` that continues
            nothing (file:line).
    """
    signs: dict[str, str] = {}  # sign to the first place where it stands
    orphan = begin = None
    for post in posts:
        previous = "O"
        for word, tag in enumerate(post.tags or ()):
            check_tag(tag, post.place_of(word))
            signs.setdefault(tag[0], post.place_of(word))
            if is_orphan(tag, previous) and orphan is None:
                orphan = f"{post.place_of(word)}: {shown(tag)} after {shown(previous)}"
            if tag[0] == "B" and previous[2:] != tag[2:] and begin is None:
                begin = f"{post.place_of(word)}: {shown(tag)} after {shown(previous)}"
            previous = tag
    own = {sign: place for sign, place in signs.items() if sign in _OWN_SIGNS}
    if own:
        return _scheme_of_signs(signs, own)
    if orphan is not None and begin is not None:
        raise InputError(
            f"{orphan} continues nothing, yet {begin} begins an entity: neither IOB1 nor IOB2; "
            "mend it, or read it as a beginning with --scheme lenient"
        )
    return "iob1" if orphan is not None else "iob2"


def _scheme_of_signs(signs: dict[str, str], own: dict[str, str]) -> Scheme:
    fitting = set(_LAST_AND_SINGLE)
    for sign in own:
        fitting &= set(_OWN_SIGNS[sign])
    if "I" in signs:
        fitting -= {"bmes"}
    if not fitting:
        shown = ", ".join(f"{place} ({sign}-)" for sign, place in signs.items() if sign != "O")
        raise InputError(f"tags of more than one scheme: {shown}; expected one scheme throughout")
    return "bioes" if "bioes" in fitting else "bilou" if "bilou" in fitting else "bmes"


def check_tag(tag: str, place: str) -> None:
    """Refuse what is a tag of no scheme.

    Raises:
        InputError: it is neither `O` nor of the form `B-TYPE`.
    """
    if not _TAG.fullmatch(tag):
        raise InputError(
            f"{place}: unknown tag {shown(tag)}; expected O, or B-, I-, E-, S-, L-, U- or M- with "
            "a type"
        )


def as_iob2(post: RawPost, scheme: Scheme) -> tuple[str, ...]:
    """A post's tags in IOB2; those of `lenient` stay as they are.

    Raises:
        InputError: a tag that the scheme does not allow in its place (file:line).
    """
    tags = post.tags or ()
    for word, tag in enumerate(tags):
        check_tag(tag, post.place_of(word))
    if scheme in _LAST_AND_SINGLE:
        return tuple(_closed(post, tags, scheme))
    for word, (previous, tag) in enumerate(zip(("O", *tags), tags, strict=False)):
        if tag[0] not in "BIO":
            raise InputError(f"{post.place_of(word)}: tag {shown(tag)} is none of {scheme.upper()}")
        if scheme == "iob2" and is_orphan(tag, previous):
            place = post.place_of(word)
            raise InputError(
                f"{place}: {shown(tag)} after {shown(previous)} continues nothing; in "
                "IOB2 an entity begins with B- (--scheme lenient reads it as a beginning)"
            )
    if scheme != "iob1":
        return tags
    return tuple(
        f"B-{tag[2:]}" if is_orphan(tag, previous) else tag
        for previous, tag in zip(("O", *tags), tags, strict=False)
    )


def _closed(post: RawPost, tags: Sequence[str], scheme: str) -> Iterator[str]:
    """Tags of a scheme that marks the end of each entity."""
    inner, last, single = _LAST_AND_SINGLE[scheme]
    inside: str | None = None  # type of the entity that has begun and not ended
    for word, tag in enumerate((*tags, "O")):
        sign, kind = tag[0], tag[2:]
        place = post.place_of(min(word, len(tags) - 1))
        if sign not in ("O", "B", inner, last, single):
            raise InputError(f"{place}: tag {shown(tag)} is none of {scheme.upper()}")
        continues = sign in (inner, last)
        if continues != (inside is not None) or (continues and kind != inside):
            before = tags[word - 1] if word else "the beginning"
            now = "the end of the post" if word == len(tags) else shown(tag)
            raise InputError(
                f"{place}: {now} after {shown(before)}: in {scheme.upper()} an entity is "
                f"{single}-, or begins with B-, goes on with {inner}- and ends with {last}-, of "
                "one type"
            )
        if word < len(tags):
            yield f"I-{kind}" if continues else f"B-{kind}" if sign in ("B", single) else "O"
        inside = kind if sign in ("B", inner) else None
