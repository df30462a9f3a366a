"""A data set of one's own: files of tagged words, JSON lines or tables, with any label set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from shapca.config import Task
from shapca.data.formats import Format, Scheme
from shapca.data.preparation.readers.assembly import examples_of
from shapca.data.preparation.readers.conll import Layout, read_posts
from shapca.data.preparation.readers.records import RecordForm, check_columns, read_record
from shapca.data.preparation.readers.source import (
    RawPost,
    SourceData,
    numbered_lines,
    read_json,
    shown,
)
from shapca.data.preparation.readers.tables import PictureFile, read_rows, table_files
from shapca.data.schema import SPLITS, Labels
from shapca.errors import InputError

LABELS_FILE = "labels.json"
"""Task and label sets, where an exported folder keeps them."""
SPLIT_NAMES = {
    "train": ("train",),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
_ENDINGS: dict[Format, tuple[str, ...]] = {
    "conll": (".txt", ".conll", ".tsv", ".bio", ".iob", ".conllu"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "datasets": (".parquet", ".arrow"),
}


@dataclass(frozen=True)
class OwnFormat:
    """How a data set of one's own is read.

    Attributes:
        format: Of its files.
        task: Which task it serves; `None`: `mner`, or what an exported folder says.
        entity_types: The types that may occur, in order; `None`: those that occur in train.
        relation_types: The same of relations.
        split: Shares of train, valid and test, where one file holds all posts.
        seed: Of that split.
        layout: Of tagged words.
        scheme: Of their tags; `None`: the one that all keep to.
        form: Of records.
    """

    format: Format
    task: Task | None = None
    entity_types: tuple[str, ...] | None = None
    relation_types: tuple[str, ...] | None = None
    split: tuple[float, float, float] | None = None
    seed: int = 0
    layout: Layout = field(default_factory=Layout)
    scheme: Scheme | None = None
    form: RecordForm = field(default_factory=RecordForm)

    def to_json(self) -> dict[str, Any]:
        """As a manifest keeps it among its inputs."""
        form = dataclasses.replace(self.form, embed=None)
        tree = dataclasses.asdict(dataclasses.replace(self, form=form))
        del tree["form"]["embed"]
        return {key: value for key, value in tree.items() if value is not None}

    def read(self, sources: Sequence[Path]) -> SourceData:
        """Read one file or folder, or three files: train, valid and test.

        Raises:
            InputError: a split is missing, a line is not as expected (file:line), an id is there
                twice, or a type is not among the labels.
        """
        self._check_options()
        files = self._files(sources)
        folder = sources[0] if len(sources) == 1 and sources[0].is_dir() else None
        labels, more = self._labels_of(folder)
        pictures = PictureFile()
        posts = {key: list(self._posts(value, pictures)) for key, value in files.items()}
        if self.split is not None:
            posts = split_posts(posts["all"], self.split, self.seed)
        return dataclasses.replace(
            examples_of(
                posts,
                task=labels.task,
                entity_types=labels.entity_types or None,
                relation_types=labels.relation_types or None,
                scheme=self.scheme,
                one_source=self.split is not None,
            ),
            files=(*(file for value in files.values() for file in value), *more),
        )

    def _check_options(self) -> None:
        """Refuse what would not be looked at."""
        check_columns(self.form.columns)
        if self.format == "conll" and self.form != RecordForm():
            raise InputError(
                "--column, --ignore, --characters: of no use with --format conll; they are of "
                "jsonl and datasets"
            )
        if self.format != "conll" and self.layout != Layout():
            raise InputError(
                "--header, --separator, --word-column, --tag-column, --pos-column: of no use with "
                f"--format {self.format}; they are of conll"
            )
        if self.seed and self.split is None:
            raise InputError("--seed: of no use without --split")

    def _labels_of(self, folder: Path | None) -> tuple[Labels, list[Path]]:
        """Task and label sets as given, or as the folder's file says; and that file."""
        given = Labels(self.task or "mner", self.entity_types or (), self.relation_types or ())
        file = None if folder is None else folder / LABELS_FILE
        if file is None or not file.is_file():
            if given.task == "mner" and given.relation_types:
                raise InputError("--relations: of no use for the task mner; say --task mjere")
            return given, []
        record = read_json(file)
        try:
            labels = Labels.from_json(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{file}: expected an object with task, entity_types and relation_types"
            ) from error
        names = [*labels.entity_types, *labels.relation_types]
        if labels.task not in get_args(Task) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{file}: expected a task of {', '.join(get_args(Task))}, and names")
        for option, value, kept in (
            ("--task", self.task, labels.task),
            ("--labels", self.entity_types, labels.entity_types),
            ("--relations", self.relation_types, labels.relation_types),
        ):
            if value is not None and value != kept:
                raise InputError(f"{option}: {file} says {shown(kept)}; remove one of them")
        return labels, [file]

    def _files(self, sources: Sequence[Path]) -> dict[str, list[Path]]:
        """Files of each split; of `all` where one holds them all."""
        if len(sources) not in (1, 3):
            raise InputError("--source: expected a folder, one file, or TRAIN,VALID,TEST")
        for source in sources:
            if not source.exists():
                raise InputError(f"{source}: no such file or folder")
        if len(sources) == 3:
            if self.split is not None:
                raise InputError("--split: the splits are given as files already")
            return dict(zip(SPLITS, ([source] for source in sources), strict=True))
        (source,) = sources
        found = {split: self._in_folder(source, split) for split in SPLITS}
        if self.split is not None:
            alone = [source] if source.is_file() else found["train"]
            if found["valid"] or found["test"] or not alone:
                raise InputError(
                    f"{source}: --split takes one file, or a folder with a train split alone"
                )
            return {"all": alone}
        if source.is_file():
            raise InputError(
                f"{source}: one file for all splits; say how to part it, e.g. --split 0.8,0.1,0.1"
            )
        for split, files in found.items():
            if not files:
                there = ", ".join(sorted(file.name for file in source.iterdir())[:9]) or "nothing"
                names = " or ".join(SPLIT_NAMES[split])
                endings = ", ".join(_ENDINGS[self.format])
                raise InputError(
                    f"{source}: the {split} split is missing; expected {names} with {endings}, "
                    f"found {there}"
                )
        return found

    def _in_folder(self, source: Path, split: str) -> list[Path]:
        if source.is_file():
            return []
        if self.format == "datasets":
            return table_files(source, SPLIT_NAMES[split])
        files = [
            file
            for file in sorted(source.iterdir())
            if file.stem.casefold() in SPLIT_NAMES[split]
            and file.suffix.lower() in _ENDINGS[self.format]
        ]
        if len(files) > 1:
            both = " and ".join(repr(file.name) for file in files[:2])
            raise InputError(f"{source}: {both} both claim the {split} split; remove one")
        return files

    def _posts(self, files: Sequence[Path], pictures: PictureFile) -> Iterator[RawPost]:
        for file in files:
            if self.format == "conll":
                yield from read_posts(file, self.layout)
            elif self.format == "jsonl":
                yield from self._lines(file)
            else:
                form = dataclasses.replace(self.form, embed=pictures.embed)
                for number, row in read_rows(file):
                    row = {key: value for key, value in row.items() if value is not None}
                    yield read_record(row, f"{file}: row {number}", form)

    def _lines(self, file: Path) -> Iterator[RawPost]:
        empty = True
        for number, line in numbered_lines(file):
            if not line.strip():
                continue
            place, empty = f"{file}:{number}", False
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", error)
                raise InputError(
                    f"{place}: not JSON ({reason}); expected one object a line"
                ) from error
            yield read_record(record, place, self.form)
        if empty:
            raise InputError(f"{file}: no posts; expected one JSON object a line")


def split_posts(
    posts: Sequence[RawPost], shares: tuple[float, float, float], seed: int
) -> dict[str, list[RawPost]]:
    """Part posts by chance; those that share an image or all their words stay together.

    Equal posts, shares and seed give equal splits, in which posts keep their order.

    Raises:
        InputError: the shares do not add up to 1, or a split gets no post.
    """
    if not (min(shares) > 0 and abs(sum(shares) - 1) < 1e-6):
        raise InputError(f"--split {','.join(map(str, shares))}: expected three shares, 1 in all")
    groups: dict[int, list[int]] = {}
    for index, group in enumerate(_groups(posts)):
        groups.setdefault(group, []).append(index)

    def order(group: int) -> str:
        first = posts[group]
        return hashlib.sha256(json.dumps([seed, first.image, first.words]).encode()).hexdigest()

    wanted = dict(zip(SPLITS, (round(share * len(posts)) for share in shares), strict=True))
    chosen: dict[int, str] = {}
    sizes: Counter[str] = Counter()
    for group in sorted(groups, key=order):
        size = len(groups[group])
        fitting = (split for split in ("test", "valid") if sizes[split] + size <= wanted[split])
        split = next(fitting, "train")
        sizes[split] += size
        chosen |= dict.fromkeys(groups[group], split)
    parts: dict[str, list[RawPost]] = {split: [] for split in SPLITS}
    for index, post in enumerate(posts):
        parts[chosen[index]].append(post)
    if empty := [split for split in SPLITS if not parts[split]]:
        raise InputError(
            f"--split: {len(posts)} posts leave none for {empty[0]}; expected more posts or shares"
        )
    return parts


def _groups(posts: Sequence[RawPost]) -> list[int]:
    """For each post the first one that it hangs together with by images and words."""
    parent = list(range(len(posts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Any, int] = {}
    for index, post in enumerate(posts):
        for key in (post.words, post.image):
            if key is not None:
                one, other = root(index), root(first.setdefault(key, index))
                parent[max(one, other)] = min(one, other)
    return [root(index) for index in range(len(posts))]
