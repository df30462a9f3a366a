"""A sweep's outcome as Markdown, on top of its run in MLflow and of the experiment."""

from __future__ import annotations

import shlex

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.sweeps.record.outcome import SweepOutcome, score
from orchestrator.sweeps.views.summary import collapsed
from orchestrator.tables.formats import markdown

_MOST_ROWS = 10


def note(outcome: SweepOutcome, sweep: SweepConfig) -> str:
    """The outcome as Markdown, for the sweep's run in MLflow.

    Args:
        outcome: What the sweep came to.
        sweep: Its file.
    """
    lines = [
        f"**{outcome.sweep}**: {markdown(outcome.reason or outcome.status)}",
        "",
        _what_it_is(sweep),
        "",
        "| configuration | seeds | val F1 | test F1 |",
        "|---|---|---|---|",
    ]
    rows = list(outcome.rows[:_MOST_ROWS])
    if outcome.winner is not None:
        rows.insert(0, outcome.winner)
    for place, row in enumerate(rows):
        name = markdown(row.name)
        name = f"**{name}** ({row.phase})" if row is outcome.winner else name
        parts = [" ".join(map(str, row.val))]
        parts += [f"{seed} missing" for seed in row.missing]
        parts += [f"pruned at epoch {epoch}" for epoch in row.pruned.values()]
        seeds = "; ".join(part for part in parts if part)
        # Only the reported winner's test scores are shown: nothing is chosen by them. A study
        # chooses nothing, and reports all of them.
        is_shown = place == 0 or row.phase == "study"
        test = score(row.test_mean, row.test_std) if is_shown else ""
        lines.append(f"| {name} | {seeds} | {score(row.val_mean, row.val_std)} | {test} |")
    if len(outcome.rows) > _MOST_ROWS:
        lines.append(f"| and {len(outcome.rows) - _MOST_ROWS} more | | | |")
    lines += ["", "± is the sample standard deviation over the named seeds, in F1 points."]
    if outcome.num_collapsed:
        lines += ["", f"**{collapsed(outcome)}.**"]
    return "\n".join([*lines, "", *_how_to_go_on(outcome)])


def _what_it_is(sweep: SweepConfig) -> str:
    """One sentence on data, search and seeds."""
    experiment = next(sweep.experiments())
    names = {config.data.dataset for config in sweep.experiments()}
    data = "several data sets" if len(names) > 1 else experiment.data.dataset
    words = PROTOCOLS[sweep.protocol.kind].words(sweep)
    return f"`{experiment.task}` on `{data}`{words}"


def _how_to_go_on(outcome: SweepOutcome) -> list[str]:
    """Where the report is, and the command that makes it all again."""
    storage = shlex.quote(outcome.storage)
    lines = [
        "Averages are the runs of kind `configuration`; their children are the single seeds. The "
        'button "Views" shows averages with their runs, averages alone, or single runs, the best '
        "first. "
        "Tags to filter by: `phase`, `dataset`, `seed`, `kind`, and of studies `row`.",
        "",
        "The report is among the artifacts: `report/report.html`, with the winner's configuration "
        "in `report/winner.yaml`. To run it again (what is in the storage is not trained twice):",
        "",
        "```",
        f"orchestrator sweep sweep.yaml --storage {storage}   # report/sweep.yaml",
        f"orchestrator report {outcome.sweep} --storage {storage}",
    ]
    if outcome.model is not None:
        lines.append(f"shapca predict {shlex.quote(outcome.model)} --text '…'")
    return [*lines, "```"]
