"""What a prepared folder says of itself: task, labels, counts, and the hash of every part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from shapca.config import ExperimentConfig
from shapca.data.checks import problem_of_labels
from shapca.data.schema import SPLITS, Labels, first_problem
from shapca.errors import InputError
from shapca.storage import hash_of
from shapca.storage.files import refuse_link

MANIFEST = "manifest.json"
IMAGES = "images.npy"
IMAGE_INDEX = "images.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        name: The data set's name, e.g. `twitter2017`.
        labels: Task and label sets.
        counts: Per split: examples, words, entities, relations, images (distinct ids) and
            missing_images (ids without a readable picture).
        image_size: Side of the stored squares in pixels; `None` where no images are stored.
        contexts: Per context set, the counts of its import (`ContextReport`).
        source_notes: What the reader met, e.g. `num_orphan_tags`; `x` names the first of `num_x`.
        inputs: Hashes of what the folder was prepared from, so that the same command knows it.
        parts: Relative file name to SHA-256 (hexadecimal).
        format: Version of the folder's layout.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    labels: Labels
    counts: Mapping[str, Mapping[str, int]]
    image_size: int | None = None
    contexts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source_notes: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def parts_read_by(self, config: ExperimentConfig) -> dict[str, str]:
        """The parts that a run with this config reads, with their hashes."""
        names = [*map(split_part, SPLITS)]
        if config.data.contexts is not None:
            names.append(context_part(config.data.contexts))
        if config.image.encoder != "none":
            names += [IMAGES, IMAGE_INDEX]
        return {name: self.parts[name] for name in names}

    def text_hash(self) -> str:
        """Hash of the three splits and the labels, whatever contexts and images stand beside."""
        splits = {split_part(split): self.parts[split_part(split)] for split in SPLITS}
        return hash_of({"labels": self.labels.to_json(), "splits": splits})

    def context_hash(self, name: str) -> str:
        """Hash of one context set."""
        return self.parts[context_part(name)]

    def image_hash(self) -> str | None:
        """Hash of the stored images and their index; `None` where no images are stored."""
        if IMAGES not in self.parts:
            return None
        return hash_of({part: self.parts[part] for part in (IMAGES, IMAGE_INDEX)})

    def to_json(self) -> dict[str, Any]:
        """As `manifest.json` keeps it."""
        return {**vars(self), "labels": self.labels.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_json`."""
        return cls(**{**record, "labels": Labels.from_json(record["labels"])})

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read `manifest.json` of a prepared folder.

        Raises:
            InputError: the folder or its manifest is missing, damaged or of another version.
        """
        file = refuse_link(folder / MANIFEST)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a prepared data set")
        if not file.is_file():
            raise InputError(
                f"{folder}: not a prepared data set (it has no {MANIFEST}); "
                "make one with `shapca data prepare` or `shapca data synthesise`"
            )
        try:
            record = json.loads(file.read_bytes())
            if isinstance(record, dict) and record.get("format") != FORMAT:
                raise InputError(
                    f"{file}: layout version {record.get('format')!r}, expected {FORMAT}; "
                    "prepare the data set again"
                )
            manifest = _MANIFEST.validate_json(file.read_bytes(), strict=True)
        except InputError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{file}: damaged ({first_problem(error)}); prepare the data set again"
            ) from error
        for part in (*manifest.parts, *map(context_part, manifest.contexts)):
            if Path(part).is_absolute() or ".." in Path(part).parts or "\0" in part:
                raise InputError(
                    f"{file}: {part!r} leads out of the folder; expected its own files"
                )
        if problem := problem_of_labels(manifest.labels):
            raise InputError(f"{file}: damaged (labels: {problem}); prepare the data set again")
        wanted = [*map(split_part, SPLITS), *map(context_part, manifest.contexts)]
        if manifest.parts.keys() & {IMAGES, IMAGE_INDEX}:
            wanted += [IMAGES, IMAGE_INDEX]
        if lacking := [part for part in wanted if part not in manifest.parts]:
            raise InputError(
                f"{file}: damaged (no hash of {', '.join(lacking)}); prepare the data set again"
            )
        return manifest


_MANIFEST = TypeAdapter(Manifest)


def split_part(split: str) -> str:
    """File name of a split inside a prepared folder."""
    return f"{split}.jsonl"


def context_part(name: str) -> str:
    """File name of a context set inside a prepared folder."""
    return f"contexts/{name}.jsonl"


def hash_file(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
