"""The one writer of prepared folders: complete, or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapca.data.images import ImageSource, Progress, write_images
from shapca.data.manifest import (
    IMAGE_INDEX,
    IMAGES,
    MANIFEST,
    Manifest,
    context_part,
    hash_file,
    split_part,
)
from shapca.data.schema import NONE, POS_TAGS, SPLITS, STORED_SIZE, Example, Labels
from shapca.errors import InputError


def write_prepared(
    out: Path,
    *,
    name: str,
    labels: Labels,
    splits: Mapping[str, Sequence[Example]],
    contexts: Mapping[str, Mapping[str, str]] | None = None,
    images: ImageSource | None = None,
    image_size: int = STORED_SIZE,
    source_notes: Mapping[str, int] | None = None,
    context_reports: Mapping[str, Mapping[str, Any]] | None = None,
    inputs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Write a prepared folder; it appears under its name only when it is complete.

    Args:
        out: the folder to make. It must not exist, be empty, or (with `overwrite`) be a prepared
            folder, which is then replaced as a whole.
        name: the data set's name.
        labels: task and label sets.
        splits: train, valid and test examples, parts of speech filled in.
        contexts: name of a context set to {image id: text}.
        images: image id to file or (H, W, 3) uint8 array; none: a data set without images.
        image_size: side of the stored squares in pixels.
        source_notes: counts to keep in the manifest.
        context_reports: per context set, counts to keep in the manifest.
        inputs: hashes of what the data was made from, to keep in the manifest.
        overwrite: replace a prepared folder.
        progress: told of the images' progress.

    Returns:
        The manifest written.

    Raises:
        InputError: `out` is taken or cannot be made, or not one image could be read.
        ValueError: the examples break the schema (a programming error of a reader).
    """
    contexts = contexts or {}
    check_examples(splits, labels)
    check_destination(out, overwrite=overwrite)
    partial = _partial_folder(out)
    try:
        for split in SPLITS:
            lines = (example.to_json() for example in splits[split])
            _write_lines(partial / split_part(split), lines)
        for set_name, texts in contexts.items():
            write_context_set(partial, set_name, texts)
        readable: set[str] = set()
        if images is not None:
            known = {example.image for split in SPLITS for example in splits[split]}
            if unknown := sorted(set(images) - known):
                raise ValueError(f"images that no example has: {unknown[:5]}")
            written = write_images(
                partial / IMAGES, partial / IMAGE_INDEX, images, image_size, progress
            )
            readable = set(written.ids)
            if not readable:
                raise InputError(
                    f"not one of the {len(images)} pictures could be read; "
                    f"the first: {next(iter(written.broken.items()), 'none was given')}"
                )
        manifest = Manifest(
            name=name,
            labels=labels,
            counts={split: _counts(splits[split], readable) for split in SPLITS},
            image_size=None if images is None else image_size,
            contexts={key: dict((context_reports or {}).get(key, {})) for key in contexts},
            source_notes=dict(source_notes or {}),
            inputs=dict(inputs or {}),
            parts={
                file.relative_to(partial).as_posix(): hash_file(file)
                for file in sorted(partial.rglob("*"))
                if file.is_file()
            },
        )
        write_manifest(partial, manifest)
        _move_into_place(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def check_examples(splits: Mapping[str, Sequence[Example]], labels: Labels) -> None:
    """Hold examples against the schema.

    Raises:
        ValueError: a split is missing, an id repeats, or a span, tag or type does not fit.
    """
    if set(splits) != set(SPLITS):
        raise ValueError(f"splits {sorted(splits)}, expected {sorted(SPLITS)}")
    seen: set[str] = set()
    for example in (example for split in SPLITS for example in splits[split]):
        num_words = len(example.words)
        spans = [entity.span for entity in example.entities]
        spans += [span for relation in example.relations for span in (relation.head, relation.tail)]
        problem = None
        if example.id in seen:
            problem = "the id is taken by another example"
        elif not num_words or not all(example.words):
            problem = "no words, or an empty one"
        elif len(example.pos) != num_words or not set(example.pos) <= set(POS_TAGS):
            problem = "expected one known part of speech a word"
        elif example.tags is not None and len(example.tags) != num_words:
            problem = "expected one tag a word"
        elif not all(0 <= start < end <= num_words for start, end in spans):
            problem = f"a span out of range: {spans}"
        elif not {e.type for e in example.entities} <= {None, *labels.entity_types}:
            problem = "an entity type that the labels lack"
        elif not {r.type for r in example.relations} <= {NONE, *labels.relation_types}:
            problem = "a relation type that the labels lack"
        if problem:
            raise ValueError(f"example {example.id!r}: {problem}")
        seen.add(example.id)


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Refuse to write over anything but, with `overwrite`, a prepared folder.

    Raises:
        InputError: `out` is taken.
    """
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
    file = folder / context_part(name)
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    _write_lines(temporary, ({"image": key, "text": texts[key]} for key in sorted(texts)))
    os.replace(temporary, file)
    return hash_file(file)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace `manifest.json` in one step."""
    temporary = folder / f".{MANIFEST}.partial"
    content = json.dumps(manifest.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
    temporary.write_text(content + "\n", encoding="utf-8")
    os.replace(temporary, folder / MANIFEST)


def _write_lines(file: Path, records: Iterator[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as handle:
        for record in records:
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")


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


def _partial_folder(out: Path) -> Path:
    """A fresh folder beside `out`, on the same file system, so that a rename completes the work."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.partial-"))
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror or error})") from error
    partial.chmod(0o777 & ~_umask())
    return partial


def _move_into_place(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        os.rename(partial, out)
        return
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old-"))
    os.rename(out, old / out.name)
    os.rename(partial, out)
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
