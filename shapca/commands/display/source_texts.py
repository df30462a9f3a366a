"""What `shapca data sources` and `shapca data fetch` tell a user, in plain text."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from shapca.data.preparation.fetch import FetchResult
from shapca.data.preparation.sources import CHECKS, BenchmarkSource, source_of
from shapca.data.schema import SPLITS
from shapca.words import counted

_KNOWN = {True: "the known file", False: "NOT the known file", None: "no known hash"}


def source_lines(source: BenchmarkSource) -> Iterator[str]:
    """All that is known of where a benchmark is obtained."""
    yield f"{source.name} ({source.task}): {source.title}"
    yield f"  terms: {source.terms}"
    yield "  text and captions:"
    for repository in source.repositories:
        yield f"    {repository.url}"
        yield f"      {repository.folder or '(no files)'}: {repository.holds}; {repository.terms}"
        if repository.folder:
            yield (
                f"      shapca data fetch {source.name} --from {repository.url} "
                f"--commit {repository.commit} --out raw/{source.name}"
            )
        else:
            yield f"      shapca data fetch {source.name} --from FOLDER --out raw/{source.name}"
    yield f"  pictures: {source.images}; e.g. {source.image_example}"
    yield "  expected files (one folder):"
    for split, names in source.splits.items():
        others = "".join(f", or {name!r}" for name in names[1:])
        count = f", {source.counts[split]:,} examples" if source.counts else ""
        yield f"    {names[0]}{others}: {split}{count}"
    if source.optional:
        yield f"    if there: {', '.join(source.optional)}"
    yield f"  {source.prepare_command(f'raw/{source.name}')}"
    yield "  which checks:"
    yield from (f"    - {check}" for check in CHECKS)


def fetched_lines(result: FetchResult, out: Path) -> Iterator[str]:
    """What was fetched, how it compares with what is known, and what to do next."""
    source = source_of(result.name)
    for target, file in result.files.items():
        new = "" if target in result.added else " (already there)"
        yield f"{target}{new}: {file.sha256} {_KNOWN[file.known]}"
        commit = "" if file.commit is None else f" at {file.commit}"
        yield f"  {file.origin}{commit}, {file.path}, {file.size:,} bytes"
    for split in SPLITS:
        found, expected = result.counts[split], source.counts.get(split)
        same = "as expected" if found == expected else f"EXPECTED {expected:,}"
        same = "how many there should be is not known" if expected is None else same
        yield f"{split}: {found:,} examples, {same}"
    yield f"{out}: " + (
        "nothing new" if not result.added else f"{counted(len(result.added), 'file')} added"
    )
    if result.commit is not None:
        yield f"to get exactly these files again: --commit {result.commit}"
    yield ""
    yield f"terms: {source.terms}"
    yield f"pictures are not included: {source.images}; e.g. {source.image_example}"
    yield "then, with your captions or without --contexts:"
    yield f"  {source.prepare_command(shlex.quote(str(out)))}"
