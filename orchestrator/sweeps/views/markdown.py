"""A sweep's outcome as Markdown, on top of its run in MLflow and of the experiment."""

from __future__ import annotations

import shlex
from urllib.parse import quote

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.sweeps.record.outcome import SweepOutcome, score
from orchestrator.sweeps.views.summary import NOTHING, against_lines, collapsed
from orchestrator.tables.formats import markdown

_MOST_ROWS = 10


def note(outcome: SweepOutcome, sweep: SweepConfig) -> str:
    """The outcome as Markdown, for the sweep's run in MLflow.

    Args:
        outcome: What the sweep came to.
        sweep: Its file.
    """
    lines = [
        headline(outcome),
        "",
        f"**{outcome.sweep}**: {markdown(outcome.reason or outcome.status)}. {_what_it_is(sweep)}",
        "",
        "| configuration | seeds | val F1 | test F1 |",
        "|---|---|---|---|",
    ]
    rows = list(outcome.rows[:_MOST_ROWS])
    if outcome.baseline is not None:
        rows.insert(0, outcome.baseline)
    if outcome.winner is not None:
        rows.insert(0, outcome.winner)
    for row in rows:
        name, is_reported = markdown(row.name), row in (outcome.winner, outcome.baseline)
        name = f"**{name}** ({row.phase})" if is_reported else name
        parts = [" ".join(map(str, row.val))]
        parts += [f"{seed} missing" for seed in row.missing]
        parts += [f"pruned at epoch {epoch}" for epoch in row.pruned.values()]
        seeds = "; ".join(part for part in parts if part)
        # Only what is reported has its test scores shown: nothing is chosen by them. A study
        # chooses nothing, and reports all of them.
        is_shown = is_reported or row.phase == "study"
        test = score(row.test_mean, row.test_std) if is_shown else ""
        lines.append(f"| {name} | {seeds} | {score(row.val_mean, row.val_std)} | {test} |")
    if len(outcome.rows) > _MOST_ROWS:
        lines.append(f"| and {len(outcome.rows) - _MOST_ROWS} more | | | |")
    lines += ["", "± is the sample standard deviation over the named seeds, in F1 points."]
    if outcome.num_collapsed:
        lines += ["", f"**{collapsed(outcome)}.**"]
    return "\n".join([*lines, "", *_how_to_go_on(outcome)])


def headline(outcome: SweepOutcome) -> str:
    """The result in one line, which is all that MLflow shows of a note before it is unfolded."""
    winner = outcome.winner
    if outcome.scores_nothing:
        return f"**{outcome.sweep}: {NOTHING}.**"
    if winner is None or winner.val_mean is None:
        return f"**{outcome.sweep}**: nothing to report yet."
    split, mean, std, seeds = (
        ("test", winner.test_mean, winner.test_std, winner.test)
        if winner.test
        else ("validation", winner.val_mean, winner.val_std, winner.val)
    )
    what = "winner" if winner.phase == "confirm" else "best so far, on the seeds that chose it"
    named = f"seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}"
    parts = [f"**{split} F1 {score(mean, std)}** ({named}), {what}: **{winner.name}**"]
    if outcome.against is not None or outcome.baseline is not None:
        parts += against_lines(outcome)[-1:]
    return " · ".join(parts)


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
    model = f"Its model: [{outcome.sweep}](#/models/{quote(outcome.sweep)}). "
    lines = [
        f"{model if outcome.model is not None else ''}Averages are the runs of kind "
        "`configuration`; their children are the single seeds. The button with the views' names "
        "shows averages with their runs, averages alone, or single runs, the best first; the "
        "buttons beside the search show them as a table or as charts. Tags to filter by: "
        "`phase`, `verdict`, `dataset`, `seed`, `kind`, and of studies `row`.",
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
