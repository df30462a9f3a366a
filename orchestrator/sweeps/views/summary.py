"""What a sweep came to, as tables for people and as JSON for programs."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome, score
from orchestrator.sweeps.views.progress import tracking_line
from shapca.commands.display.console import open_console
from shapca.commands.display.training_display import duration
from shapca.metrics.seed_scores import SeedScores
from shapca.words import counted

_MOST_ROWS = 20
NOTHING = (
    "every seed that finished scores 0, so there is no winner: nothing was learned; look at the "
    "training losses, then at the learning rates, the epochs, and the data (shapca data inspect)"
)


def print_outcome(
    outcome: SweepOutcome, console: Console | None = None, report: str | None = None
) -> None:
    """Print the table of configurations, the winner, its model and report, and what to do next."""
    console = console or open_console()
    console.print(configuration_table(outcome))
    lines = closing_lines(outcome)
    for line in lines if report is None else [*lines, Text(f"  report   {report}")]:
        console.print(line, soft_wrap=True, highlight=False)


def configuration_table(outcome: SweepOutcome) -> RenderableType:
    """Configurations, best first: mean ± sample standard deviation over the seeds named."""
    table = Table(title=f"{outcome.sweep}: configurations", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("configuration", overflow="fold")
    table.add_column("phase")
    table.add_column("seeds")
    table.add_column("val F1", justify="right", no_wrap=True)
    for row in outcome.rows[:_MOST_ROWS]:
        is_winner = outcome.winner is not None and row.configuration == (
            outcome.winner.configuration
        )
        table.add_row(
            str(row.entry),
            Text(row.name, style="bold" if is_winner else ""),
            row.phase,
            Text(seeds(row)),
            score(row.val_mean, row.val_std),
        )
    if len(outcome.rows) <= _MOST_ROWS:
        return table
    return Group(table, Text(f"and {len(outcome.rows) - _MOST_ROWS} more", style="dim"))


def closing_lines(outcome: SweepOutcome) -> list[Text]:
    """The winner with its test scores, its model, failures by name, and the next commands."""
    lines = [_ending(outcome)]
    if outcome.num_collapsed:
        lines.append(Text(collapsed(outcome), style="yellow"))
    winner = outcome.winner
    lines += winner_lines(outcome)
    if not any(row.val for row in outcome.rows):
        lines.append(Text("no configuration has finished", style="red"))
    elif outcome.scores_nothing:
        lines.append(Text(NOTHING, style="bold red"))
    reported = [row for row in (winner, outcome.baseline) if row is not None]
    has_missing = not {"failed", "diverged"}.isdisjoint(outcome.counts)
    for row in (*reported, *(outcome.rows if has_missing else ())):
        lines += [
            Text(f"missing: {row.name} · seed {seed}: {reason}", style="red")
            for seed, reason in row.missing.items()
        ]
    if outcome.status != "finished":
        lines.append(Text("to resume, run the same command again"))
    return lines + _tracking_lines(outcome)


def seeds(row: ConfigurationResult) -> str:
    """The seeds of a mean by name, missing ones marked: `3 (1 2 3)`, `2 (1 3; 2 missing)`."""
    if row.pruned and not row.val and not row.missing:
        return f"pruned at epoch {next(iter(row.pruned.values()))}"
    named = " ".join(map(str, row.val))
    missing = " ".join(map(str, row.missing))
    parts = [part for part in (named, f"{missing} missing" if missing else "") if part]
    return f"{len(row.val)} ({'; '.join(parts)})"


def outcome_json(outcome: SweepOutcome) -> dict[str, Any]:
    """The outcome for programs; scores in percent, standard deviations with n - 1."""
    against = outcome.against
    record = {
        **vars(outcome),
        "seconds": round(outcome.seconds, 3),
        "winner": None if outcome.winner is None else row_json(outcome.winner),
        "baseline": None if outcome.baseline is None else row_json(outcome.baseline),
        "against": None if against is None else known(asdict(against)),
        "configurations": [row_json(row) for row in outcome.rows],
        "tracking": asdict(outcome.tracking),
    }
    del record["rows"]
    return record


def known(record: dict[str, Any]) -> dict[str, Any]:
    """A record for programs: what is not known is null, where a figure would be NaN."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }


def row_json(row: ConfigurationResult) -> dict[str, Any]:
    """One configuration for programs."""
    val, test = SeedScores(list(row.val.values())), SeedScores(list(row.test.values()))
    return {
        "name": row.name,
        "phase": row.phase,
        "configuration": row.configuration,
        "values": dict(row.values),
        "num_seeds": len(row.val),
        "val_f1": {str(seed): value for seed, value in row.val.items()},
        "val_f1_mean": val.mean,
        "val_f1_std": val.std,
        "test_f1": {str(seed): value for seed, value in row.test.items()},
        "test_f1_mean": test.mean,
        "test_f1_std": test.std,
        "pruned": {str(seed): epoch for seed, epoch in row.pruned.items()},
        "missing": {str(seed): reason for seed, reason in row.missing.items()},
        "cells": {str(seed): cell for seed, cell in row.cells.items()},
    }


def storage_option(storage: str) -> str:
    """The `--storage` option that leads back to a storage, as a shell takes it."""
    return f" --storage {shlex.quote(storage)}"


def _ending(outcome: SweepOutcome) -> Text:
    words = {
        "finished": "done",
        "budget": outcome.reason or "out of budget",
        "interrupted": outcome.reason or "interrupted",
    }[outcome.status]
    counts = ", ".join(
        f"{number} {what}" for what, number in outcome.counts.items() if number and what != "reused"
    )
    reused = outcome.counts.get("reused", 0)
    text = Text(f"{outcome.sweep}: {words} in {duration(outcome.seconds)}")
    text.append(f"; trials: {counts or 'none'}")
    return text.append(f"; {reused} of them needed no training" if reused else "")


def collapsed(outcome: SweepOutcome) -> str:
    """How many trials aligned nothing, and what can be done about it."""
    return (
        f"the alignment collapsed in {counted(outcome.num_collapsed, 'trial')}: true pairs are not "
        "told from others; where alignment.negatives is sum, set it to mean or softmax, else try "
        "more epochs or another temperature"
    )


def winner_lines(outcome: SweepOutcome) -> list[Text]:
    """The winner's scores with the seeds that they average, and its model; none while none is.

    Of a winner whose confirm seeds all failed there are none: that is said in their place.
    """
    winner = outcome.winner
    if winner is None:
        return []
    if winner.is_unconfirmed:
        failed = " ".join(map(str, winner.missing))
        return [
            Text.assemble(("not confirmed: ", "bold red"), f"all seeds failed ({failed})"),
            Text(f"  winner   {winner.name}"),
            Text("  to try them again: the same command with --retry-failed"),
        ]
    kind = "confirmed winner" if winner.phase == "confirm" else "best so far"
    lines = [
        Text.assemble((f"{kind}: ", "bold"), winner.name),
        Text(f"  val F1   {score(winner.val_mean, winner.val_std)}   seeds: {seeds(winner)}"),
    ]
    if winner.test:
        named = " ".join(map(str, winner.test))
        text = Text(f"  test F1  {score(winner.test_mean, winner.test_std)}", style="bold green")
        lines.append(text.append(f"   seeds: {len(winner.test)} ({named})", style="not bold"))
    if winner.phase == "confirm" and winner.missing:
        lines.append(Text("  to try the missing seeds again: the same command with --retry-failed"))
    lines += [Text(f"  {line}", style="bold") for line in against_lines(outcome)]
    if len(winner.val) > 1:
        lines.append(Text("  ± is the sample standard deviation over those seeds", style="dim"))
    if outcome.model is not None:
        lines.append(Text(f"  model    {outcome.model}"))
        model = shlex.quote(outcome.model)
        lines.append(Text(f"  try it   shapca predict {model} --text '…'", style="dim"))
    return lines


def against_lines(outcome: SweepOutcome) -> list[str]:
    """The baseline's test score and the winner's difference to it; none where there is none."""
    winner, baseline, found = outcome.winner, outcome.baseline, outcome.against
    if winner is None or baseline is None:
        return []
    if winner.configuration == baseline.configuration:
        return [f"the baseline ({baseline.name}) won: nothing that was tried is better"]
    lines = [f"baseline {baseline.name}: test F1 {score(baseline.test_mean, baseline.test_std)}"]
    if found is None:
        return lines if baseline.test else [f"baseline {baseline.name}: not tested"]
    shown = f"winner − {baseline.name} = {found.mean:+.2f}"
    if math.isnan(found.p_value):
        return [*lines, f"{shown} (one seed: nothing is known of its interval)"]
    seeds = " ".join(map(str, found.seeds))
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    interval = f"95% interval {found.low:+.2f} to {found.high:+.2f}, {p_value}"
    return [*lines, f"{shown} ({interval}; seeds {seeds}, {found.num_examples} posts)"]


def _tracking_lines(outcome: SweepOutcome) -> list[Text]:
    tracking = outcome.tracking
    if tracking.status == "off":
        return []
    is_server = tracking.uri.startswith(("http://", "https://"))
    is_default = tracking.uri.startswith("sqlite:")
    address = "" if is_default else f" --tracking-uri {shlex.quote(tracking.uri)}"
    option = storage_option(outcome.storage)
    lines = []
    if tracking.status == "behind":
        runs = counted(tracking.pending, "run")
        reason = f" ({tracking.error})" if tracking.error else ""
        sync = f"orchestrator sync {outcome.sweep}{option}{address}"
        lines.append(Text(f"MLflow is behind by {runs}{reason}; to catch up: {sync}", style="red"))
    elif tracking.status != "current":
        lines.append(Text(tracking_line(tracking)))
    shown = f"  MLflow   {tracking.uri}" if is_server else f"  MLflow   orchestrator ui{option}"
    return [*lines, Text(shown + ("" if is_server else address))]
