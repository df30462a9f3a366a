"""The text part of a benchmark, taken from a public repository or a folder, with hashes to show.

Pictures are left to the user: they are not in these repositories.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shapca.data.manifest import hash_file
from shapca.data.preparation.readers import READERS
from shapca.data.preparation.sources import BenchmarkSource, source_of
from shapca.data.preparation.trees import FolderTree, open_tree
from shapca.data.schema import SPLITS
from shapca.errors import InputError
from shapca.storage.files import below, written_whole
from shapca.storage.work_folder import work_folder

RECORD = "SOURCE.json"
"""What a fetched folder says of its files."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class FetchedFile:
    """One file of a fetched folder.

    Attributes:
        origin: The repository or folder it is from.
        commit: The commit's hash; `None` for a plain folder.
        path: Its path there.
        sha256: Hash of its content.
        size: Bytes.
        known: Whether it is the file known under this name (`BenchmarkSource.hashes`); `None` where
            no hash is known.
    """

    origin: str
    commit: str | None
    path: str
    sha256: str
    size: int
    known: bool | None


@dataclass(frozen=True)
class FetchResult:
    """What a fetched folder holds.

    Attributes:
        name: The benchmark.
        commit: The commit's hash of this time; `None` for a plain folder.
        files: Our file name to what it is, those of earlier times too.
        added: Names of the files that are new.
        counts: Examples of each split, as read.
    """

    name: str
    commit: str | None
    files: Mapping[str, FetchedFile]
    added: tuple[str, ...]
    counts: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As `shapca data fetch --json` prints it."""
        return asdict(self)


def fetch(
    name: str,
    address: str,
    out: Path,
    *,
    commit: str | None = None,
    folder: str | None = None,
) -> FetchResult:
    """Take a benchmark's text, and the captions beside it, from a tree of files.

    The folder appears when its three splits are there and can be read. A folder that was fetched
    before takes up what it lacks, e.g. captions from another repository; its own files stay.

    Args:
        name: `twitter2015`, `twitter2017`, `mnre` or `jmere`.
        address: A folder, a local git repository, or a git address.
        out: The folder to make, or one that was fetched before.
        commit: Hash of the commit to take; `None`: the newest one.
        folder: Folder of the splits inside the tree, where it holds several.

    Raises:
        InputError: unknown name or address, no such commit, a tree without the expected files or
            with links in their place, files that cannot be read as this benchmark, or an `out`
            that holds something else.
    """
    source = source_of(name)
    folder = None if folder is None else folder.removeprefix("./").strip("/").removesuffix(".")
    before = _fetched_before(out, name)
    with work_folder(out) as work:
        tree = open_tree(address, commit, work.path / "repository")
        chosen = choose_files(source, tree, folder=folder, need_splits=not before)
        found = {}
        for target, path in chosen.items():
            content = tree.read(path)
            if content.startswith(_LFS_POINTER):
                raise InputError(
                    f"{tree.origin}/{path}: a Git LFS pointer, not the file itself; fetch the "
                    "repository with Git LFS and give its folder to --from"
                )
            (work.path / target).parent.mkdir(exist_ok=True)
            (work.path / target).write_bytes(content)
            digest, expected = hashlib.sha256(content).hexdigest(), source.hashes.get(target)
            known = None if expected is None else digest == expected
            found[target] = FetchedFile(tree.origin, tree.commit, path, digest, len(content), known)
        shutil.rmtree(work.path / "repository", ignore_errors=True)
        added = tuple(target for target in found if target not in before)
        for target in found.keys() & before.keys():
            if found[target].sha256 != before[target].sha256:
                raise InputError(
                    f"{out / target}: {tree.origin} has another file of this name (SHA-256 "
                    f"{found[target].sha256[:12]}…, here {before[target].sha256[:12]}…); choose "
                    "another --out"
                )
        files = dict(sorted({**found, **before}.items()))
        if before:
            _add(work.path, out, added, found)
            if added:
                _write_record(out, name, files)
            shutil.rmtree(work.path)
            counts = _counts(name, out)
        else:
            counts = _counts(name, work.path)
            _write_record(work.path, name, files)
            work.move_into_place()
    return FetchResult(name, tree.commit, files, added, counts)


def choose_files(
    source: BenchmarkSource, tree: FolderTree, *, folder: str | None, need_splits: bool
) -> dict[str, str]:
    """Our names of the files to take, and their paths in a tree.

    Raises:
        InputError: a file that is needed is missing, is a link, or is there more than once.
    """
    listing = tree.files()
    splits = _choose_splits(source, tree, listing, folder)
    if splits is None and need_splits:
        raise InputError(_what_was_expected(source, tree, listing, folder))
    chosen = dict(splits or {})
    for target, names in source.optional.items():
        paths = [path for path in listing if PurePosixPath(path).name in names]
        if folder is not None and len(paths) > 1:
            paths = [path for path in paths if path.startswith(f"{folder}/")] or paths
        if len(paths) > 1:
            paths = [path for path in paths if path.rpartition("/")[0] in source.folders] or paths
        if len(paths) > 1:
            raise InputError(
                f"{tree.origin}: {' and '.join(sorted(paths)[:2])} both may be {target}; name the "
                "folder to take with --folder"
            )
        chosen.update((target, path) for path in paths)
    if not chosen:
        raise InputError(_what_was_expected(source, tree, listing, folder))
    for path in chosen.values():
        if listing[path] != "file":
            raise InputError(
                f"{tree.origin}/{path}: a {listing[path]}, expected a plain file (links are not "
                "followed)"
            )
    return chosen


def _choose_splits(
    source: BenchmarkSource, tree: FolderTree, listing: Mapping[str, Any], folder: str | None
) -> dict[str, str] | None:
    """Paths of the three splits, all of one folder; `None` where no folder has them."""
    complete = _folders_with_splits(source, listing)
    if folder is not None:
        complete = {key: value for key, value in complete.items() if key == folder}
    elif "" in complete:  # the tree is the folder
        complete = {"": complete[""]}
    else:
        marks = source.marks or ("",)
        complete = {
            key: value
            for key, value in complete.items()
            if any(mark in key.lower() for mark in marks)
        }
    if len(complete) > 1 and source.folders & complete.keys():
        complete = {key: value for key, value in complete.items() if key in source.folders}
    if len(complete) > 1:
        raise InputError(
            f"{tree.origin}: {len(complete)} folders hold the splits of {source.name}: "
            f"{', '.join(sorted(complete))}; name one with --folder"
        )
    return next(iter(complete.values()), None)


def _folders_with_splits(
    source: BenchmarkSource, listing: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Folders that hold all three splits, each with our file names and their paths."""
    by_folder: dict[str, dict[str, str]] = {}
    for path in listing:
        folder, _, name = path.rpartition("/")
        by_folder.setdefault(folder, {})[name] = path
    complete = {}
    for folder, files in by_folder.items():
        present = {
            source.splits[split][0]: [files[name] for name in source.splits[split] if name in files]
            for split in SPLITS
        }
        if all(len(paths) == 1 for paths in present.values()):
            complete[folder] = {target: paths[0] for target, paths in present.items()}
    return complete


def _what_was_expected(
    source: BenchmarkSource, tree: FolderTree, listing: Mapping[str, Any], folder: str | None
) -> str:
    names = "; ".join(
        f"{split}: " + " or ".join(repr(name) for name in source.splits[split]) for split in SPLITS
    )
    where = "in one folder" if folder is None else f"in the folder {folder!r}"
    marks = f", with {' or '.join(source.marks)} in its path" if source.marks else ""
    message = (
        f"{tree.origin}: the splits of {source.name} are not in its {len(listing):,} files; "
        f"expected {where}{marks if folder is None else ''}: {names}"
    )
    others = sorted(_folders_with_splits(source, listing))
    if others:
        message += f". Folders that hold files of these names: {', '.join(others[:5])}; " + (
            "name the right one with --folder"
        )
    return message


def _counts(name: str, folder: Path) -> dict[str, int]:
    """Examples of each split; reading them shows that they are this benchmark."""
    splits = READERS[name](folder).splits
    return {split: len(splits[split]) for split in SPLITS}


def _fetched_before(out: Path, name: str) -> dict[str, FetchedFile]:
    """The files of a folder that was fetched before; empty where there is none yet.

    Raises:
        InputError: the folder holds something else, another benchmark or changed files.
    """
    if out.name in ("", ".."):
        raise InputError(f"{out}: expected the name of a folder to make")
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return {}
    try:
        record = json.loads((out / RECORD).read_bytes())
        files = {key: FetchedFile(**value) for key, value in record["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{out}: holds something else than a fetched data set; choose another --out"
        ) from error
    if record["name"] != name:
        raise InputError(f"{out}: holds {record['name']}, not {name}; choose another --out")
    if unknown := sorted(files.keys() - set(source_of(name).tree)):
        raise InputError(f"{out / RECORD}: {unknown[0]!r} is no file of {name}")
    for target, described in files.items():
        if not (out / target).is_file() or hash_file(out / target) != described.sha256:
            raise InputError(
                f"{out / target}: changed or missing since it was fetched; remove {out} and fetch "
                "it again"
            )
    return files


def _add(work: Path, out: Path, added: Iterable[str], described: Mapping[str, FetchedFile]) -> None:
    for target in added:
        place = below(out, target)
        if os.path.lexists(place) and hash_file(place) != described[target].sha256:
            raise InputError(f"{place}: was not fetched and would be replaced; move it away")
    for target in added:
        (out / target).parent.mkdir(exist_ok=True)
        os.replace(work / target, out / target)


def _write_record(folder: Path, name: str, files: Mapping[str, FetchedFile]) -> None:
    record = {"name": name, "files": {key: asdict(value) for key, value in files.items()}}
    with written_whole(folder / RECORD) as handle:
        handle.write(json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")
