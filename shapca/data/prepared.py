"""Prepared data sets on disk, read part by part, every part checked against its hash.

A prepared folder holds `train.jsonl`, `valid.jsonl`, `test.jsonl` (one `Example` a line),
`contexts/<name>.jsonl` (one `{"image": id, "text": caption}` a line), `images.npy` with
`images.json`, and `manifest.json`. A part is checked against its hash when it is first read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from shapca.config import ExperimentConfig
from shapca.data.checks import first_repeated, problem_of
from shapca.data.images import ImageStore
from shapca.data.manifest import (
    IMAGE_INDEX,
    IMAGES,
    MANIFEST,
    Manifest,
    context_part,
    hash_file,
    split_part,
)
from shapca.data.schema import SPLITS, Example, Labels, first_problem
from shapca.errors import InputError
from shapca.storage.files import below

Line = TypeVar("Line")


class _Splits(Mapping[str, tuple[Example, ...]]):
    """The three splits, each read when first asked for."""

    def __init__(self, data: PreparedData) -> None:
        self._data = data
        self._read: dict[str, tuple[Example, ...]] = {}

    def __getitem__(self, split: str) -> tuple[Example, ...]:
        if split not in SPLITS:
            raise KeyError(split)
        if split not in self._read:
            self._read[split] = self._data.read_split(split)
        return self._read[split]

    def __iter__(self) -> Iterator[str]:
        return iter(SPLITS)

    def __len__(self) -> int:
        return len(SPLITS)


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set, read part by part as it is asked for.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        verify: Whether a part is checked against its hash before it is read.
    """

    folder: Path
    manifest: Manifest
    verify: bool = True
    _context_sets: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool = True) -> PreparedData:
        """Open a prepared folder; with `verify` the text parts are checked at once.

        Raises:
            InputError: no prepared folder, or a part that is missing or was changed.
        """
        data = cls(Path(folder), Manifest.load(Path(folder)), verify)
        for split in SPLITS:
            data.checked(split_part(split))
        return data

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.manifest.name

    @property
    def labels(self) -> Labels:
        """Task and label sets."""
        return self.manifest.labels

    @cached_property
    def splits(self) -> Mapping[str, tuple[Example, ...]]:
        """Train, valid and test examples."""
        return _Splits(self)

    def read_split(self, split: str) -> tuple[Example, ...]:
        """The examples of a split, read anew.

        Raises:
            InputError: its file is missing or was changed, or does not keep to the schema: a hash
                shows that a file is the one that was meant, not that it is sound.
        """
        file = self.checked(split_part(split))
        examples = tuple(_read_lines(file, Example.from_line))
        for number, example in enumerate(examples, start=1):
            if problem := problem_of(example, self.labels):
                raise _damaged(file, number, f"post {example.id!r}: {problem}")
        if (repeated := first_repeated(example.id for example in examples)) is not None:
            raise InputError(f"{file}: damaged (the id {repeated!r} twice); prepare it again")
        return examples

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the context sets."""
        return tuple(sorted(self.manifest.contexts))

    def contexts(self, name: str) -> dict[str, str]:
        """A context set: image id to text, which may be empty.

        Raises:
            InputError: no such set, or its file is missing or was changed.
        """
        self._require_contexts(name)
        if name not in self._context_sets:
            file = self.checked(context_part(name))
            lines = _read_lines(file, _read_context)
            self._context_sets[name] = {line.image: line.text for line in lines}
        return self._context_sets[name]

    def image_store(self) -> ImageStore | None:
        """The stored pictures; `None` where the data set was prepared without images.

        Raises:
            InputError: a file is missing or was changed.
        """
        if IMAGES not in self.manifest.parts:
            return None
        store = ImageStore.open(self.checked(IMAGES), self.checked(IMAGE_INDEX))
        if store.size != self.manifest.image_size:
            raise InputError(
                f"{store.array_file}: squares of {store.size} pixels, {MANIFEST} says "
                f"{self.manifest.image_size}; prepare the data set again"
            )
        return store

    def part_hashes(self, config: ExperimentConfig) -> dict[str, str]:
        """Hashes of those parts that a run with this config reads: `text`, `contexts`, `images`.

        Raises:
            InputError: the config asks for another task, a context set or images not there.
        """
        if config.task != self.labels.task:
            raise InputError(f"{self.folder}: a data set for {self.labels.task}, not {config.task}")
        hashes = {"text": self.manifest.text_hash()}
        if config.data.contexts is not None:
            self._require_contexts(config.data.contexts)
            hashes["contexts"] = self.manifest.context_hash(config.data.contexts)
        if config.image.encoder != "none":
            images = self.manifest.image_hash()
            if images is None:
                raise InputError(
                    f"{self.folder}: prepared without images, yet image.encoder is "
                    f"{config.image.encoder}; prepare it with --images, or set image.encoder=none"
                )
            hashes["images"] = images
        return hashes

    def checked(self, part: str) -> Path:
        """The file of a part, checked against the manifest.

        Raises:
            InputError: the file is missing, is a link or was changed.
        """
        file = below(self.folder, part)
        if part not in self.manifest.parts or not file.is_file():
            raise InputError(f"{file}: missing; prepare the data set again (with --overwrite)")
        if self.verify:
            stat = file.stat()
            found = _hash_once(file.absolute(), stat.st_size, stat.st_mtime_ns)
            if found != self.manifest.parts[part]:
                raise InputError(
                    f"{file}: changed since it was prepared (its SHA-256 differs from "
                    f"{MANIFEST}); prepare the data set again (with --overwrite)"
                )
        return file

    def _require_contexts(self, name: str) -> None:
        if name not in self.manifest.contexts:
            available = ", ".join(self.context_names) or "none"
            raise InputError(
                f"{self.folder}: no context set {name!r} (data.contexts); available: {available}"
            )


@lru_cache(maxsize=256)
def _hash_once(file: Path, size: int, modified: int) -> str:
    """A file's hash, computed once a process as long as its size and time stay the same."""
    return hash_file(file)


@dataclass(frozen=True)
class _ContextLine:
    image: str
    text: str


_CONTEXT = TypeAdapter(_ContextLine)


def _read_context(line: bytes) -> _ContextLine:
    return _CONTEXT.validate_json(line, strict=True)


def _read_lines(file: Path, parse: Callable[[bytes], Line]) -> Iterator[Line]:
    try:
        with file.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    yield parse(line)
                except ValueError as error:
                    raise _damaged(file, number, first_problem(error)) from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error


def _damaged(file: Path, number: int, problem: str) -> InputError:
    return InputError(f"{file}:{number}: damaged ({problem}); prepare the data set again")
