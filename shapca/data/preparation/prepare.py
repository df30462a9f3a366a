"""From a benchmark's public files to a prepared folder, and new context sets for one."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from shapca.config import NAME
from shapca.data import pos
from shapca.data.formats import FORMATS
from shapca.data.images import ImageStore, Progress
from shapca.data.manifest import IMAGE_INDEX, IMAGES, MANIFEST, Manifest, context_part, hash_file
from shapca.data.preparation.captions import ContextReport, import_contexts, report_of
from shapca.data.preparation.image_writing import Decode, decode_here
from shapca.data.preparation.leaks import leaks
from shapca.data.preparation.picture_sources import (
    find_pictures,
    image_ids,
    listing_hash,
    picture_warnings,
    work_key,
)
from shapca.data.preparation.readers import READERS, SourceData
from shapca.data.preparation.readers.own import OwnFormat
from shapca.data.preparation.writer import (
    IMAGE_JOURNAL,
    check_destination,
    write_context_set,
    write_manifest,
    write_prepared,
)
from shapca.data.prepared import PreparedData
from shapca.data.schema import POS_TAGS, SPLITS, STORED_SIZE, Example, Labels
from shapca.errors import InputError
from shapca.storage import hash_of
from shapca.storage.files import written_whole
from shapca.storage.locks import held
from shapca.storage.records import parse_json
from shapca.storage.work_folder import work_folder

PARTS_OF_SPEECH = ".pos.json"
"""Parts of speech of all posts; a file of the work folder alone."""

Tag = Callable[[Sequence[Sequence[str]], Progress | None], list[tuple[str, ...]]]
"""Finds the parts of speech of posts, one a word, as `pos.tag_words` does."""


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare` did.

    Attributes:
        manifest: Of the folder.
        already_there: The folder had been prepared from the same input; nothing was written.
    warnings: What to know before it is used.
    """

    manifest: Manifest
    already_there: bool = False
    warnings: tuple[str, ...] = ()


def prepare(
    name: str,
    source: Path | Sequence[Path],
    out: Path,
    *,
    own: OwnFormat | None = None,
    images: Path | None = None,
    contexts: Mapping[str, Sequence[Path]] | None = None,
    image_size: int = STORED_SIZE,
    overwrite: bool = False,
    progress: Progress | None = None,
    decode: Decode = decode_here,
    tag: Tag | None = None,
) -> PrepareResult:
    """Prepare a data set; the folder appears only when it is complete.

    Run again with the same input it finds its work done, and after an interruption or a kill it
    resumes after the pictures decoded so far; the result is that of an undisturbed run. Context
    sets that were added meanwhile stay, unless the folder is replaced.

    Args:
        name: A benchmark's (`READERS`); with `own` any name of letters, digits, `.`, `_`, `-`.
        source: Folder of the public files; with `own` also one file, or one each split.
        out: The folder to make.
        own: How files of one's own are read; `None`: those of the benchmark.
        images: Folder of the pictures, with any folders below it; `None`: prepare without images.
        contexts: Name of a context set to its caption files.
        image_size: Side of the stored squares in pixels.
        overwrite: Replace a folder that was prepared from other input.
        progress: Told of parts of speech and images done.
        decode: How pictures are decoded.
        tag: How parts of speech are found; `None`: in this process.

    Raises:
        InputError: unknown name, bad source, caption file or image folder, or `out` is taken.
    """
    contexts = contexts or {}
    _check_names(contexts)
    data = _read(name, source, own)
    if clash := sorted(set(contexts) & set(data.contexts)):
        raise InputError(f"contexts {clash[0]!r}: the source has a context set of this name")
    _check_names(data.contexts)
    wanted = image_ids(data.splits)
    notes = dict(data.notes)
    found = None if images is None else find_pictures(images, wanted, data, notes)
    if data.embedded:
        found = {**data.embedded, **(found or {})}
    imported = {
        **{key: (texts, report_of(texts, wanted)) for key, texts in data.contexts.items()},
        **{key: import_contexts(files, wanted) for key, files in contexts.items()},
    }
    inputs: dict[str, Any] = {
        "name": name,
        "source": {file.name: hash_file(file) for file in data.files},
        "contexts": {key: _hash_files(files) for key, files in contexts.items()},
        "images": None if found is None else listing_hash(found),
        "image_size": None if found is None else image_size,
        "tagger": pos.tagger_version(),
    }
    if own is not None:
        inputs["format"] = own.to_json()

    def warnings() -> tuple[str, ...]:
        pictures: list[str] = []
        if found is not None:
            broken = ImageStore.open(out / IMAGES, out / IMAGE_INDEX).broken
            pictures = picture_warnings(wanted, found, broken)
        return (*leaks(name, out, data.splits), *pictures)

    if not overwrite and (same := _same_input(out, inputs, data.labels)) is not None:
        _check_has_contexts(out, same, inputs["contexts"], contexts)
        return PrepareResult(same, already_there=True, warnings=warnings())
    check_destination(out, overwrite=overwrite)
    key = work_key(inputs, found)
    with work_folder(out, key=key, resumable=(IMAGES, IMAGE_JOURNAL, PARTS_OF_SPEECH)) as work:
        manifest = write_prepared(
            out,
            name=name,
            labels=data.labels,
            splits=with_parts_of_speech(data.splits, progress, work.path / PARTS_OF_SPEECH, tag),
            contexts={key: texts for key, (texts, _) in imported.items()},
            images=found,
            image_size=image_size,
            source_notes=notes,
            context_reports={key: report.to_json() for key, (_, report) in imported.items()},
            inputs=inputs,
            overwrite=overwrite,
            progress=progress,
            work=work,
            decode=decode,
        )
    return PrepareResult(manifest, warnings=warnings())


def _read(name: str, source: Path | Sequence[Path], own: OwnFormat | None) -> SourceData:
    sources = [source] if isinstance(source, Path) else list(source)
    if own is not None:
        if not re.fullmatch(NAME, name):
            raise InputError(f"{name!r}: expected a name of letters, digits, '.', '_' and '-'")
        return own.read(sources)
    if name not in READERS:
        raise InputError(
            f"{name!r}: unknown data set; expected one of {', '.join(READERS)}, or files of your "
            f"own with --format {', '.join(FORMATS)}"
        )
    if len(sources) != 1:
        raise InputError(f"--source: expected the folder of {name}'s public files")
    return READERS[name](sources[0])


def with_parts_of_speech(
    splits: Mapping[str, Sequence[Example]],
    progress: Progress | None = None,
    file: Path | None = None,
    tag: Tag | None = None,
) -> dict[str, tuple[Example, ...]]:
    """The same examples with `pos` filled in.

    Args:
        splits: The examples.
        progress: Told of the posts done.
        file: Where the tags of just these posts are kept, and read if they are there and whole.
        tag: How they are found; `None`: in this process.
    """
    if all(example.pos for split in SPLITS for example in splits[split]):  # the source has them
        return {split: tuple(splits[split]) for split in SPLITS}
    posts = [example.words for split in SPLITS for example in splits[split]]
    tagged = None if file is None else _kept_tags(file, posts)
    if tagged is None:
        tagged = (tag or pos.tag_words)(posts, progress)
        if file is not None:
            with written_whole(file) as handle:
                handle.write(json.dumps(tagged).encode())
    tags = iter(tagged)
    return {
        split: tuple(dataclasses.replace(example, pos=next(tags)) for example in splits[split])
        for split in SPLITS
    }


def _kept_tags(file: Path, posts: Sequence[Sequence[str]]) -> list[tuple[str, ...]] | None:
    """The tags that an interrupted run has kept of some posts; None where they are not whole."""
    try:
        kept = parse_json(file.read_bytes(), str(file), list[list[str]])
    except (FileNotFoundError, InputError):
        return None
    known = {*POS_TAGS}.issuperset(chain.from_iterable(kept))
    is_whole = known and list(map(len, kept)) == list(map(len, posts))
    return [tuple(tags) for tags in kept] if is_whole else None


def add_context_sets(
    folder: Path, sets: Mapping[str, Sequence[Path]], *, overwrite: bool = False
) -> dict[str, ContextReport]:
    """Add context sets to a prepared folder, all or none; its other parts and their hashes stay.

    Processes that add to one folder do so one after another.

    Args:
        folder: The prepared folder.
        sets: Name of a context set to its caption files.
        overwrite: Replace sets of these names.

    Returns:
        What each import met, by name.

    Raises:
        InputError: no prepared folder, a bad name or file, or another set has a name.
    """
    _check_names(sets)
    Manifest.load(folder)  # else there may be nothing to hold
    with held(folder):
        data = PreparedData.load(folder)
        manifest, wanted = data.manifest, image_ids(data.splits)
        imported = {name: import_contexts(files, wanted) for name, files in sets.items()}
        reports = {name: report for name, (_, report) in imported.items()}
        new = [name for name in sets if overwrite or name not in manifest.contexts]
        for name in sets.keys() - new:
            if data.contexts(name) != imported[name][0]:
                raise InputError(
                    f"{folder}: has another context set {name!r}; choose another name, or replace "
                    "it with --overwrite"
                )
        if new:
            hashes = {context_part(n): write_context_set(folder, n, imported[n][0]) for n in new}
            made_from = manifest.inputs.get("contexts", {}) | {n: _hash_files(sets[n]) for n in new}
            manifest = dataclasses.replace(
                manifest,
                contexts={**manifest.contexts, **{name: reports[name].to_json() for name in new}},
                inputs={**manifest.inputs, "contexts": made_from},
                parts={**manifest.parts, **hashes},
            )
            write_manifest(folder, manifest)
        return reports


def _same_input(out: Path, inputs: Mapping[str, Any], labels: Labels) -> Manifest | None:
    """The manifest of a folder prepared from just this but for contexts, if it holds what it says.

    Raises:
        InputError: a part is missing or was changed.
    """
    if not (out / MANIFEST).is_file():
        return None
    manifest = Manifest.load(out)
    kept = {key: value for key, value in manifest.inputs.items() if key != "contexts"}
    asked = {key: value for key, value in inputs.items() if key != "contexts"}
    if kept != asked or manifest.labels != labels:
        return None
    data = PreparedData(out, manifest)
    for part in manifest.parts:
        data.checked(part)
    return manifest


def _check_has_contexts(
    out: Path, manifest: Manifest, hashes: Mapping[str, str], contexts: Mapping[str, Sequence[Path]]
) -> None:
    """Preparing again is no way to add contexts, since it would drop those that were imported.

    Raises:
        InputError: the folder lacks one of the sets, or has another one of that name.
    """
    there = manifest.inputs.get("contexts", {})
    lacking = [name for name, value in hashes.items() if there.get(name) != value]
    if not lacking:
        return
    arguments = [f"{name}={','.join(map(str, contexts[name]))}" for name in lacking]
    command = shlex.join(["shapca", "contexts", "import", str(out), *arguments])
    if replaced := [name for name in lacking if name in there]:
        state = f"with other captions as {', '.join(replaced)}; to replace them"
        command += " --overwrite"
    else:
        state = "with fewer contexts; to add them"
    raise InputError(f"{out}: prepared from the same input, but {state}: {command}")


def _check_names(sets: Iterable[str]) -> None:
    if bad := [name for name in sets if not re.fullmatch(NAME, name)]:
        raise InputError(f"contexts {bad[0]!r}: expected letters, digits, '.', '_' and '-'")


def _hash_files(files: Sequence[Path]) -> str:
    return hash_of([hash_file(file) for file in files])
