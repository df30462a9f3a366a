"""Precision, recall and F1 of the winner over its seeds, whole and by type, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.reports.content import Content
from orchestrator.tables.table import Column, Row, Table, TableCell
from shapca.commands.display.tables import STRICT, repeated_strict

_WHAT = {
    "mner": "entities, as the field counts them",
    "mre": "relations",
    "mjere": "relations with both entities",
}
_OTHERS = {
    STRICT: "entities, strictly",
    "entity_": "entities",
    "directed_": "directed relations",
}
_SCORES = (("precision", "P"), ("recall", "R"), ("f1", "F1"))


def score_table(content: Content) -> Table | None:
    """The table; None where nothing has finished."""
    winner, experiment = content.winner, content.experiment
    if winner is None or experiment is None:
        return None
    split: Literal["test", "valid"] = "test" if content.scores["test"] else "valid"
    found = content.scores[split]
    if not found:
        return None
    rows: list[Row] = []
    notes = f"{winner.name}. A type that is neither annotated nor found has no score."
    for prefix, group in {"": _WHAT[experiment.task], **_OTHERS}.items():
        if not any(f"{prefix}f1" in scores for scores in found.values()):
            continue
        rows.append(_row(prefix, "all", None, group, found, winner.cells))
        if prefix == STRICT and repeated_strict(found.values()):
            notes += " Strict scores by type are the same."
            continue
        types = dict.fromkeys(
            name.removeprefix(f"{prefix}f1_")
            for scores in found.values()
            for name in scores
            if name.startswith(f"{prefix}f1_")
        )
        rows += [_row(prefix, kind, kind, group, found, winner.cells) for kind in sorted(types)]
    where = "test" if split == "test" else "validation"
    return Table(
        name="scores",
        title=f"{content.name}: precision, recall and F1 of the winner by type, {where} split (%)",
        columns=tuple(Column(name, title, better=None) for name, title in _SCORES),
        rows=tuple(rows),
        heading="Type",
        notes=(notes,),
        scored_on=f"on the {where} split",
    )


def _row(
    prefix: str,
    title: str,
    kind: str | None,
    group: str,
    found: Mapping[int, Mapping[str, float]],
    cells: Mapping[int, str],
) -> Row:
    shown = {}
    for score, _ in _SCORES:
        name = f"{prefix}{score}" if kind is None else f"{prefix}{score}_{kind}"
        by_seed = {seed: scores[name] for seed, scores in found.items() if name in scores}
        if by_seed:
            missing = {seed: "no such score" for seed in found if seed not in by_seed}
            shown[score] = TableCell.measured(
                "missing" if missing else "done", by_seed, missing=missing, cells=dict(cells)
            )
    return Row(f"{prefix}{title}", title, shown, group)
