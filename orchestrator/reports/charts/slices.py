"""The score against each dimension of the space, and the line of the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.config.dimensions import ChoiceDimension, Dimension, Scalar
from orchestrator.config.naming import short_names, shown
from orchestrator.reports.charts.charts import Mark, Plot, Role, Series
from orchestrator.reports.charts.scales import Axis, percent_axis, with_room
from orchestrator.reports.charts.seed_figures import VAL, trial_label
from orchestrator.reports.content import Content
from orchestrator.reports.trials import Trial
from orchestrator.sweeps.record.outcome import DEFAULTS

_LOOKS: tuple[tuple[str, Role, Mark], ...] = (
    ("done", "blue", "circle"), ("pruned", "blue", "ring"), ("winner", "orange", "diamond"),
)  # fmt: skip


def slices(content: Content) -> list[Plot]:
    """One plot a dimension that a trial with a score has."""
    winner = content.winner
    trials = [t for t in content.drawn if t.state in ("done", "pruned")]
    if not trials:
        return []
    scores = percent_axis(VAL, [t.value or 0.0 for t in trials])
    space = content.sweep.space
    plots = []
    for key, name in short_names(list(space)).items():
        shown_values = values_of(trials, key)
        if not shown_values:
            continue
        axis = with_room(dimension_axis(name, space[key], shown_values))
        series = baseline_line(content, axis)
        for what, role, mark in _LOOKS:
            some = [
                trial
                for trial in trials
                if key in trial.values
                and what == _group(winner is not None and trial.configuration, content, trial.state)
            ]
            if some:
                points = [(coordinate(axis, t.values[key]), t.value or 0.0) for t in some]
                labels = [trial_label(trial) for trial in some]
                series.append(Series(what, points, role, mark, labels=labels))
        caption = "Best validation F1 of each trial of the search; hollow ones were pruned."
        caption += content.not_drawn
        if absent := len(trials) - len(shown_values):
            caption += f" {absent} without this dimension are not shown."
        plots.append(Plot(f"slice_{key}", f"Slice: {name}", caption, axis, scores, tuple(series)))
    return plots


def values_of(trials: Sequence[Trial], key: str) -> list[Scalar]:
    """Values of a dimension, of the trials that have it."""
    return [trial.values[key] for trial in trials if key in trial.values]


def _group(configuration: str | bool, content: Content, state: str) -> str:
    is_winner = content.winner is not None and configuration == content.winner.configuration
    return "winner" if is_winner and state == "done" else state


def baseline_line(content: Content, over: Axis) -> list[Series]:
    """The baseline's score as a line over an axis; none where there is no baseline."""
    value = content.baseline_value
    if value is None:
        return []
    name = "baseline" if content.sweep.protocol.first[0] else DEFAULTS
    ends = [(over.low, value), (over.high, value)]
    return [Series(f"{name} ({value:.2f})", ends, "green", line="dashed")]


def dimension_axis(name: str, dimension: Dimension, values: Sequence[Scalar]) -> Axis:
    """The axis of a dimension, wide enough for what was tried beyond its bounds, too."""
    if isinstance(dimension, ChoiceDimension):
        places = tuple(dict.fromkeys(map(shown, (*dimension.values, *values))))
        return Axis(name, -0.3, len(places) - 0.7, names=places)
    found = [float(value) for value in values if isinstance(value, int | float)]
    low, high = min(dimension.low, *found), max(dimension.high, *found)
    is_log = dimension.log and low > 0
    return Axis(name, low, high, log=is_log, whole=dimension.type == "int")


def coordinate(axis: Axis, value: Scalar) -> float:
    """Where a value lies on its axis."""
    return float(axis.names.index(shown(value))) if axis.names else float(value)  # type: ignore[arg-type]
