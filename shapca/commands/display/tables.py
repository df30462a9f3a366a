"""What the commands print as tables for people: counts of data, and scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from shapca.data.schema import SPLITS
from shapca.words import counted

if TYPE_CHECKING:
    from shapca.data.manifest import Manifest
    from shapca.data.preparation.inspect import DataReport, SplitReport

FIRST = ("f1", "precision", "recall")
STRICT = "strict_"


def print_manifest(
    console: Console,
    folder: Path,
    manifest: Manifest,
    *,
    already_there: bool = False,
    warnings: Sequence[str] = (),
) -> None:
    """Print the counts of a folder that was just prepared, and what was met on the way."""
    table = _split_table(f"{manifest.name} ({manifest.labels.task})")
    for key in manifest.counts[SPLITS[0]]:
        counts = [f"{manifest.counts[split][key]:,}" for split in SPLITS]
        table.add_row(key.replace("_", " "), *counts)
    console.print(table)
    for name, report in manifest.contexts.items():
        print_context_report(console, name, report)
    print_counts(console, "source", manifest.source_notes)
    lines = list(warnings)
    if manifest.image_size is None and (num := sum(c["images"] for c in manifest.counts.values())):
        lines.append(
            f"prepared without --images: all {counted(num, 'picture')} are missing; a model of "
            "this data needs image.encoder=none"
        )
    for line in lines:
        console.print(f"warning: {line}", soft_wrap=True, markup=False, highlight=False)
    what = "already prepared from the same input" if already_there else "prepared"
    console.print(f"{folder}: {what}", soft_wrap=True, markup=False, highlight=False)


def print_context_report(console: Console, name: str, report: Mapping[str, Any]) -> None:
    """Print in one line what an import of captions met, with examples of what went unused."""
    print_counts(console, f"contexts {name}", report, always=("num_captions",))


def print_counts(
    console: Console, heading: str, counts: Mapping[str, Any], always: Sequence[str] = ()
) -> None:
    """Print `num_x` counts in one line, each with the examples under `x`, and remarks.

    Args:
        console: Where to.
        heading: Begins the line.
        counts: Nothing is printed of those that are 0.
        always: Keys that are printed nevertheless.
    """
    parts = []
    for key, value in counts.items():
        what = key.removeprefix("num_").replace("_", " ")
        if isinstance(value, str):
            parts.append(f"{what} {value}")
        elif key.startswith("num_") and (value or key in always):
            shown = ", ".join(map(str, counts.get(key.removeprefix("num_"), ())))
            parts.append(f"{value:,} {what}" + (f" ({shown} …)" if shown else ""))
    if parts:
        line = f"{heading}: " + ", ".join(parts)
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def print_report(console: Console, report: DataReport) -> None:
    """Print what `shapca data inspect` counts."""
    console.print(_count_table(report))
    longest = {key: n for split in SPLITS for key, n in report.splits[split].longest.items()}
    for name, values in (
        ("distinct texts in two splits", report.shared_texts),
        ("images in two splits", report.shared_images),
        ("longest texts (words)", longest),
    ):
        line = ", ".join(f"{key} {value:,}" for key, value in values.items())
        console.print(f"{name}: {line}", soft_wrap=True, markup=False, highlight=False)
    for set_name, met in report.contexts.items():
        print_context_report(console, set_name, met)
    for image, reason in report.broken_images.items():
        console.print(f"broken image {image}: {reason}", soft_wrap=True, markup=False)


def _count_table(report: DataReport) -> Table:
    """One row a count, one column a split; a count that does not apply has no row."""
    table = _split_table(f"{report.name} ({report.task})")
    splits = [report.splits[split] for split in SPLITS]
    types = sorted({name for split in splits for name in split.entities_by_type})
    kinds = sorted({name for split in splits for name in split.relations_by_type})
    columns = [_named_counts(split, types, kinds) for split in splits]
    for name, first in columns[0].items():
        if first is not None:
            table.add_row(name, *(f"{column[name]:,}" for column in columns))
    return table


def _named_counts(
    split: SplitReport, types: Sequence[str], kinds: Sequence[str]
) -> dict[str, int | None]:
    counts: dict[str, int | None] = {
        "examples": split.num_examples,
        "words": split.num_words,
        "zero-width words": split.num_zero_width_words,
        "entities": split.num_entities,
    }
    counts |= {f"  {name}": split.entities_by_type.get(name, 0) for name in types}
    counts["entities, strict IOB2"] = split.num_strict_entities
    counts["orphan I- tags"] = split.num_orphan_tags
    if kinds:
        counts["relations without None"] = split.num_relations
        counts |= {f"  {name}": split.relations_by_type.get(name, 0) for name in kinds}
        counts |= {
            "head after tail": split.num_tail_first,
            "head and tail overlap": split.num_overlapping,
            "relations back from the table": split.num_recovered_relations,
            "posts in several rows": split.num_split_posts,
        }
    counts |= {"images": split.num_images, "images missing": split.num_missing_images}
    for name, context in split.contexts.items():
        counts |= {
            f"contexts {name}": context.num_captions,
            f"contexts {name}, empty": context.num_empty,
            f"contexts {name}, missing": context.num_missing,
            f"contexts {name}, longest (words)": context.longest,
        }
    if (encoded := split.encoded) is not None:
        counts |= {
            "texts, longest (sub-words)": encoded.longest_text,
            "texts cut": encoded.num_cut_texts,
            "words cut": encoded.num_cut_words,
            "words without a sub-word": encoded.num_unknown_words,
        }
        for name in encoded.longest_context:
            counts |= {
                f"contexts {name}, longest (sub-words)": encoded.longest_context[name],
                f"contexts {name}, cut": encoded.num_cut_contexts[name],
            }
    return counts


def _split_table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for split in SPLITS:
        table.add_column(split, justify="right")
    return table


def repeated_strict(scores: Collection[Mapping[str, float]]) -> set[str]:
    """Names of the strict scores by type where none of them differs from its other; else none.

    Args:
        scores: Several times the metrics by name.
    """
    names = {name for metrics in scores for name in metrics} - set(FIRST)
    strict = {f"{STRICT}{name}" for name in names} & names
    is_repeated = all(
        metrics.get(name) == metrics.get(name.removeprefix(STRICT))
        for metrics in scores
        for name in strict
    )
    return strict if is_repeated else set()


def score_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """A table of scores in percent; strict ones by type where they differ.

    Args:
        scores: Heading of a column to metrics by name.
    """
    table = Table("metric", box=None, pad_edge=False)
    for heading in scores:
        table.add_column(heading, justify="right")
    names = {name for metrics in scores.values() for name in metrics} - set(FIRST)
    repeated = repeated_strict(scores.values())
    for name in (*FIRST, *sorted(names - repeated)):
        values = (metrics.get(name) for metrics in scores.values())
        table.add_row(name, *("" if value is None else f"{value:.2f}" for value in values))
    if repeated:
        table.add_row(f"{STRICT}… by type: the same")
    return table
