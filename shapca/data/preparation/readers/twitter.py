"""MNER sets in the form of Yu et al., ACL 2020: `word<TAB>tag` lines after an `IMGID:<id>` line.

Twitter-15 (Zhang et al., AAAI 2018), Twitter-17 (Lu et al., ACL 2018), GMNER (Yu et al., ACL 2023;
posts of both in other splits), FMNERG (Wang et al., ACM MM 2023; GMNER's posts with coarse and with
fine types) and CMNER (Ji et al., 2024; Chinese, a character a word, several pictures a post).
The fourth type, `OTHER` in Twitter-15 and GMNER and `MISC` in the others, becomes `MISC` where the
types are fixed. Tags stay as annotated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shapca.data.preparation.readers.conll import Layout, read_posts
from shapca.data.preparation.readers.source import SourceData, shown, split_files, with_unique_ids
from shapca.data.preparation.readers.tag_schemes import check_tag
from shapca.data.schema import SPLITS, Example, Labels
from shapca.data.tags import lenient_entities, num_orphans
from shapca.errors import InputError

ENTITY_TYPES = ("LOC", "MISC", "ORG", "PER")
FILES = {
    "train": ("train.txt",),
    "valid": ("valid.txt", "val.txt", "dev.txt"),
    "test": ("test.txt",),
}


@dataclass(frozen=True)
class TaggedSet:
    """A data set of tagged words with orphan `I-` tags, which stay.

    Attributes:
        layout: How its lines are read.
        types: Entity types; empty: those that occur.
        renamed: Types under other names.
        many_images: Pictures are named `ID_…`, several a post.
    """

    layout: Layout
    types: tuple[str, ...] = ENTITY_TYPES
    renamed: Mapping[str, str] | None = None
    many_images: bool = False

    def __call__(self, source: Path) -> SourceData:
        """Read `train.txt`, `valid.txt` and `test.txt` of a folder.

        Raises:
            InputError: a split is missing, or a line is not as expected (file:line).
        """
        files = split_files(source, FILES)
        splits = {split: list(self._examples(file)) for split, file in files.items()}
        examples = [example for split in SPLITS for example in splits[split]]
        found = {entity.type for example in examples for entity in example.entities}
        return SourceData(
            labels=Labels("mner", entity_types=self.types or tuple(sorted(filter(None, found)))),
            splits=with_unique_ids(splits),
            files=tuple(files.values()),
            notes={"num_orphan_tags": sum(num_orphans(example.tags or ()) for example in examples)},
            many_images=self.many_images,
        )

    def _examples(self, file: Path) -> Iterator[Example]:
        new_names = {kind: kind for kind in self.types} | dict(self.renamed or {})
        known = ("O", *(f"{sign}-{kind}" for sign in "BI" for kind in new_names))
        for post in read_posts(file, self.layout):
            tags = []
            for word, tag in enumerate(post.tags or ()):
                if self.types and tag not in known:
                    expected = ", ".join(known)
                    place = post.place_of(word)
                    raise InputError(
                        f"{place}: unknown tag {shown(tag)}; expected one of {expected}"
                    )
                check_tag(tag, post.place_of(word))
                tags.append(tag if tag == "O" else tag[:2] + new_names.get(tag[2:], tag[2:]))
            yield Example(
                id=post.image or "",
                words=post.words,
                image=post.image,
                tags=tuple(tags),
                entities=lenient_entities(tags),
            )


_TWO_TAGS = ("word", "coarse tag", "fine tag")
TWITTER = TaggedSet(Layout("IMGID:", columns=("word", "tag")), renamed={"OTHER": "MISC"})
FMNERG = TaggedSet(Layout("IMGID:", tag_column=3, columns=_TWO_TAGS), types=())
FMNERG_COARSE = TaggedSet(Layout("IMGID:", tag_column=2, columns=_TWO_TAGS), types=())
CMNER = TaggedSet(Layout("WID:", columns=("word", "tag")), many_images=True)
