"""The report as one HTML page: no network, light and dark, on a desk and on a phone.

`assets/report.html` says what stands where; nothing can be injected there, as text is escaped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.config.naming import short_names, shown
from orchestrator.reports import origin
from orchestrator.reports.charts.charts import Chart
from orchestrator.reports.charts.drawing import element_of
from orchestrator.reports.content import Content
from orchestrator.reports.errors import Confusion, Mark
from orchestrator.reports.scores import score_table
from orchestrator.reports.trials import Trial
from orchestrator.search.importance import FEWEST_TRIALS
from orchestrator.sweeps.record.outcome import ConfigurationResult, score
from orchestrator.sweeps.views.summary import NOTHING, against_lines, seeds
from orchestrator.tables.formats import EMPTY, figures, marks
from orchestrator.tables.statistics import on_the_scale, t_interval
from orchestrator.tables.table import Table
from shapca.commands.display.training_display import duration
from shapca.words import counted

_STATES = {
    "running": "still running",
    "stopped": "stopped before its end; run the same command again to resume it",
}
_SEARCH = ("history", "expected", "parallel", "importance", "cost")
_SEEDS = ("seeds", "validation_curve", "validation_test", "curves", "losses")
_ALIGNMENT = ("alignment_gap", "alignment_retrieval")
MOST_ROWS = 1000
"""Rows of a table; a page of more is of no use to anybody, and trials.csv has all."""
NUM_COLOURS = 6
"""Colours of types; further types begin again, and every span has its type written."""


def page_of(content: Content, charts: Sequence[Chart], tables: Sequence[Table] = ()) -> bytes:
    """The page.

    Args:
        content: What it shows.
        charts: Its charts.
        tables: A study's.
    """
    by_key = {chart.key: chart for chart in charts}
    names = short_names(content.sweep.space)
    page = _environment().get_template("report.html").render(
        content=content,
        tables=tables,
        names=names,
        space_columns=[(name, "n") for name in names.values()],
        search_charts=[by_key[key] for key in _SEARCH if key in by_key],
        slice_charts=[chart for chart in charts if chart.key.startswith("slice_")],
        seed_charts=[by_key[key] for key in _SEEDS if key in by_key],
        alignment_charts=[by_key[key] for key in _ALIGNMENT if key in by_key],
        score_tables=[table for table in (score_table(content),) if table is not None],
        made_at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(content.made_at)),
    )  # fmt: skip
    return f"{page.strip()}\n".encode()


def result_tables(tables: Sequence[Table]) -> str:
    """A study's tables one below the other, each with its caption and remarks, as HTML."""
    return _environment().get_template("tables.html").render(tables=tables)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("orchestrator.reports", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (
        against_lines, colour, counted, duration, figures, interval, marks, pieces, reached, reason,
        result_tables, row_state, score, seeds, shown, origin.sweep_command, origin.sweep_yaml,
        origin.winner_commands, origin.winner_yaml,
    )  # fmt: skip
    environment.globals |= {function.__name__: function for function in words}
    environment.globals |= {"EMPTY": EMPTY, "FEWEST_TRIALS": FEWEST_TRIALS, "STATES": _STATES}
    environment.globals |= {"NOTHING": NOTHING, "MOST_ROWS": MOST_ROWS}
    environment.globals["svg"] = element_of
    return environment


def row_state(row: ConfigurationResult, trials: Sequence[Trial]) -> tuple[str, str]:
    """State of a configuration, and the same in words."""
    if any(trial.is_stale for trial in trials):
        return "stale", "stale"
    states = {trial.state for trial in trials}
    if row.missing:
        return "failed", f"{len(row.missing)} missing"
    for state in ("running", "missing"):
        if state in states:
            return state, state
    if row.pruned:
        return "pruned", "pruned"
    return "done", "done"


def interval(scores: Mapping[int, float]) -> str:
    """What a mean over seeds could have been."""
    found = t_interval(scores.values())
    if found is None:
        return "not known from one seed"
    return f"{on_the_scale(*found)}: Student's t over {len(scores)} seeds, this test set"


def reached(trials: Sequence[Trial]) -> float | None:
    """What a configuration without a finished seed had reached when it was stopped."""
    return max((t.value for t in trials if t.value is not None), default=None)


def pieces(words: Sequence[str], marks: Sequence[Mark]) -> list[tuple[str, Mark | None]]:
    """A post's text in pieces, each with the entity that it is, if it is one."""
    found: list[tuple[str, Mark | None]] = []
    at = 0
    for mark in marks:
        if mark.start > at:
            found.append((" ".join(words[at : mark.start]), None))
        found.append((" ".join(words[mark.start : mark.end]), mark))
        at = max(at, mark.end)
    return [*found, *([(" ".join(words[at:]), None)] if at < len(words) else [])]


def colour(kind: str, confusions: Sequence[Confusion]) -> int:
    """Number of the colour of a type."""
    types = sorted({one for confusion in confusions for one in confusion.types})
    return types.index(kind) % NUM_COLOURS if kind in types else 0


def reason(trial: Trial) -> str:
    """Why a trial did not finish."""
    if trial.reason is not None:
        return trial.reason
    return {
        "pruned": f"stopped early after epoch {trial.epoch}: too weak for its rung",
        "running": "at work",
        "missing": "begun, to be resumed",
    }.get(trial.state, "")
