"""The one writer of prepared folders: complete, or not there at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shapca.data.checks import first_repeated, problem_of, problem_of_labels
from shapca.data.images import ImageSource, Progress
from shapca.data.manifest import (
    IMAGE_INDEX,
    IMAGES,
    MANIFEST,
    Manifest,
    context_part,
    hash_file,
    split_part,
)
from shapca.data.preparation.image_writing import Decode, decode_here, write_images
from shapca.data.schema import SPLITS, STORED_SIZE, Example, Labels
from shapca.errors import InputError
from shapca.storage.files import below, written_whole
from shapca.storage.work_folder import WorkFolder, work_folder

IMAGE_JOURNAL = ".images.journal"
"""Which pictures are decoded; a file of the work folder alone."""


def write_prepared(
    out: Path,
    *,
    name: str,
    labels: Labels,
    splits: Mapping[str, Sequence[Example]],
    contexts: Mapping[str, Mapping[str, str]] | None = None,
    images: ImageSource | None = None,
    image_size: int = STORED_SIZE,
    source_notes: Mapping[str, Any] | None = None,
    context_reports: Mapping[str, Mapping[str, Any]] | None = None,
    inputs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    work: WorkFolder | None = None,
    decode: Decode = decode_here,
) -> Manifest:
    """Write a prepared folder; it appears under its name only when it is complete.

    Args:
        out: The folder to make. It must not exist, be empty, or (with `overwrite`) be a prepared
            folder, which is then replaced as a whole.
        name: The data set's name.
        labels: Task and label sets.
        splits: Train, valid and test examples, parts of speech filled in.
        contexts: Name of a context set to {image id: text}.
        images: Image id to file, embedded picture or (H, W, 3) uint8 array; `None`: a data set
            without images.
        image_size: Side of the stored squares in pixels.
        source_notes: Counts and remarks to keep in the manifest.
        context_reports: Per context set, counts to keep in the manifest.
        inputs: Hashes of what the data was made from, to keep in the manifest.
        overwrite: Replace a prepared folder.
        progress: Told of the images' progress.
        work: A folder of work for `out` that names its input, so that decoded pictures outlive an
            interruption; `None`: an interruption leaves nothing.
        decode: How pictures are decoded.

    Returns:
        The manifest written.

    Raises:
        InputError: `out` is taken or cannot be made, or not one image could be read.
        ValueError: the examples break the schema (a programming error of a reader).
    """
    contexts = contexts or {}
    check_examples(splits, labels)
    known = {example.image for split in SPLITS for example in splits[split]}
    if unknown := sorted(set(images or ()) - known):
        raise ValueError(f"images that no example has: {unknown[:5]}")
    check_destination(out, overwrite=overwrite)
    with ExitStack() as stack:
        resumable = work is not None
        work = work or stack.enter_context(work_folder(out))
        for split in SPLITS:
            lines = (example.to_json() for example in splits[split])
            _write_lines(work.path / split_part(split), lines)
        for set_name, texts in contexts.items():
            write_context_set(work.path, set_name, texts)
        readable: set[str] = set()
        if images is not None:
            store = write_images(
                work.path / IMAGES,
                work.path / IMAGE_INDEX,
                images,
                image_size,
                progress,
                journal_file=work.path / IMAGE_JOURNAL if resumable else None,
                on_written=work.keep_from_now_on if resumable else None,
                decode=decode,
            )
            if not store.index:
                raise InputError(
                    f"not one of the {len(images)} pictures could be read; "
                    f"the first: {next(iter(store.broken.items()), 'none was given')}"
                )
            readable = set(store.index)
        manifest = Manifest(
            name=name,
            labels=labels,
            counts={split: _counts(splits[split], readable) for split in SPLITS},
            image_size=None if images is None else image_size,
            contexts={key: dict((context_reports or {}).get(key, {})) for key in contexts},
            source_notes=dict(source_notes or {}),
            inputs=dict(inputs or {}),
            parts=_part_hashes(work.path, progress),
        )
        write_manifest(work.path, manifest)
        work.move_into_place()
        return manifest


def _part_hashes(folder: Path, progress: Progress | None) -> dict[str, str]:
    """SHA-256 of every part; names of work files begin with a dot."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name[0] != "."]
    hashes = {}
    for number, file in enumerate(sorted(files), start=1):
        hashes[file.relative_to(folder).as_posix()] = hash_file(file)
        if progress is not None:
            progress("checksums", number, len(files))
    return hashes


def check_examples(splits: Mapping[str, Sequence[Example]], labels: Labels) -> None:
    """Hold examples against the schema.

    Raises:
        ValueError: a split is missing, an id repeats, or a span, tag or type does not fit.
    """
    if set(splits) != set(SPLITS):
        raise ValueError(f"splits {sorted(splits)}, expected {sorted(SPLITS)}")
    if problem := problem_of_labels(labels):
        raise ValueError(f"labels: {problem}")
    examples = [example for split in SPLITS for example in splits[split]]
    if (repeated := first_repeated(example.id for example in examples)) is not None:
        raise ValueError(f"example {repeated!r}: the id is taken by another example")
    for example in examples:
        if problem := problem_of(example, labels):
            raise ValueError(f"example {example.id!r}: {problem}")


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Refuse to write over anything but, with `overwrite`, a prepared folder.

    Raises:
        InputError: `out` is taken.
    """
    if out.name in ("", ".."):
        raise InputError(f"{out}: expected the name of a folder to make")
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise InputError(f"{out}: expected a folder to write to, found something else")
    if not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise InputError(
            f"{out}: the folder is not empty and holds no prepared data set; choose another --out"
        )
    if not overwrite:
        raise InputError(
            f"{out}: holds a data set prepared from other input; "
            "choose another --out, or replace it with --overwrite"
        )


def write_context_set(folder: Path, name: str, texts: Mapping[str, str]) -> str:
    """Write `contexts/<name>.jsonl` in one step, ordered by image id, and return its SHA-256."""
    file = below(folder, context_part(name))
    file.parent.mkdir(exist_ok=True)
    _write_lines(file, ({"image": key, "text": texts[key]} for key in sorted(texts)))
    return hash_file(file)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace `manifest.json` in one step."""
    content = json.dumps(manifest.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
    with written_whole(folder / MANIFEST) as handle:
        handle.write(content.encode() + b"\n")


def _write_lines(file: Path, records: Iterator[dict[str, Any]]) -> None:
    with written_whole(file) as handle:
        for record in records:
            handle.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _counts(examples: Sequence[Example], readable: set[str]) -> dict[str, int]:
    images = {example.image for example in examples if example.image is not None}
    return {
        "examples": len(examples),
        "words": sum(len(example.words) for example in examples),
        "entities": sum(len(example.entities) for example in examples),
        "relations": sum(len(example.relations) for example in examples),
        "images": len(images),
        "missing_images": len(images - readable),
    }
