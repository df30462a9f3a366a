"""Which charts a report has, made from its content."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.config.conditions import is_conditional
from orchestrator.config.naming import short_names
from orchestrator.reports.charts.alignment_figures import gaps, retrieval, validation_curve
from orchestrator.reports.charts.charts import (
    Bar,
    Bars,
    Chart,
    Mark,
    Parallel,
    Plot,
    Role,
    Series,
    Thread,
)
from orchestrator.reports.charts.scales import axis_over, percent_axis
from orchestrator.reports.charts.seed_figures import (
    VAL,
    curves,
    losses,
    seeds,
    trial_label,
    validation_against_test,
)
from orchestrator.reports.charts.slices import (
    baseline_line,
    coordinate,
    dimension_axis,
    slices,
    values_of,
)
from orchestrator.reports.content import Content
from orchestrator.reports.trials import TrialState
from orchestrator.search.spread import spread
from orchestrator.tables.statistics import expected_maximum

MOST_POINTS = 200
_LOOKS: tuple[tuple[TrialState, Role, Mark], ...] = (
    ("done", "blue", "circle"),
    ("pruned", "orange", "triangle"),
    ("running", "green", "ring"),
    ("missing", "muted", "ring"),
    ("diverged", "purple", "cross"),
    ("failed", "purple", "cross"),
)


def charts_of(content: Content) -> list[Chart]:
    """The charts that have something to show, in the order of the page."""
    made: Iterable[Chart | None] = (
        history(content),
        parallel(content),
        *slices(content),
        importance(content),
        expected(content),
        seeds(content),
        validation_against_test(content),
        validation_curve(content),
        gaps(content),
        retrieval(content),
        curves(content),
        losses(content),
        cost(content),
    )
    return [chart for chart in made if chart is not None]


def history(content: Content) -> Plot | None:
    """Validation F1 of each trial of the search in the order of the proposals, and the best."""
    trials = content.drawn
    if not trials:
        return None
    series = []
    for state, role, mark in _LOOKS:
        some = [trial for trial in trials if trial.state == state]
        if some:
            points = [(float(t.entry), t.value or 0.0) for t in some]
            series.append(Series(state, points, role, mark, labels=[trial_label(t) for t in some]))
    best, steps = 0.0, []
    shown = {trial.number for trial in trials}
    for trial in content.scored:
        is_better = trial.state == "done" and (trial.value or 0.0) > best
        best = (trial.value or 0.0) if is_better else best
        if best and (is_better or trial.number in shown):
            steps.append((float(trial.entry), best))
    if len(steps) > 1:
        series.insert(0, Series("best so far", steps, "blue", line="step"))
    numbers = axis_over("configuration", [t.entry for t in trials], whole=True)
    series += baseline_line(content, numbers)
    without = len(content.searched()) - len(content.scored)
    caption = "Best validation F1 of each trial of the search, in the order in which they began."
    caption += content.not_drawn
    if without:
        caption += f" {without} without any score are not shown."
    return Plot(
        "history", "Optimisation history", caption,
        numbers,
        percent_axis(VAL, [t.value or 0.0 for t in trials]),
        tuple(series),
    )  # fmt: skip


def parallel(content: Content) -> Parallel | None:
    """Every trial of the search as a line over the dimensions and its score."""
    trials = [trial for trial in content.drawn if trial.state in ("done", "pruned")]
    if len(trials) < 2:
        return None
    space = content.sweep.space
    keys = list(content.importance.shares) if content.importance else list(space)
    names = short_names(list(space))
    axes = [dimension_axis(names[key], space[key], values_of(trials, key)) for key in keys]
    score = percent_axis("val F1 (%)", [trial.value or 0.0 for trial in trials])
    ranked = sorted(trial.value or 0.0 for trial in trials)
    winner = content.winner
    threads = tuple(
        Thread(
            places=(
                *(
                    axis.place(coordinate(axis, trial.values[key])) if key in trial.values else None
                    for key, axis in zip(keys, axes, strict=True)
                ),
                score.place(trial.value or 0.0),
            ),
            shade=ranked.index(trial.value or 0.0) / max(len(ranked) - 1, 1),
            label=trial_label(trial),
            is_best=winner is not None and trial.configuration == winner.configuration,
            is_cut=trial.state == "pruned",
        )
        for trial in trials
    )
    order = "most important first" if content.importance else "in the order of the space"
    caption = (
        f"One line a trial, from its setting to its score; {order}. Darker (on a dark page "
        "brighter) is better by rank, orange is the winner, dashed was pruned."
    )
    caption += content.not_drawn
    if is_conditional(space):
        caption += " A line has a gap at a dimension whose condition does not hold."
    return Parallel("parallel", "Parallel coordinates", caption, (*axes, score), threads)


def importance(content: Content) -> Bars | None:
    """Shares of the hyper-parameters."""
    found = content.importance
    if found is None:
        return None
    names = short_names(list(content.sweep.space))
    of = f"{found.num_trials} of " if found.num_trials < found.num_finished else ""
    caption = f"{found.method} over {of}{found.num_finished} finished trials of the search."
    if found.is_rough:
        caption += " So few trials give a hint at best."
    return Bars(
        "importance", "Hyper-parameter importance", caption, "share of importance (%)",
        tuple(
            Bar(names[key], 100 * share, f"{100 * share:.0f}%")
            for key, share in found.shares.items()
        ),
    )  # fmt: skip


def expected(content: Content) -> Plot | None:
    """Expected best validation F1 against the number of trials."""
    scores = [t.value or 0.0 for t in content.scored if t.state in ("done", "pruned")]
    if content.sweep.protocol.kind == "replicate":
        scores = [row.val_mean for row in content.outcome.rows if row.val_mean is not None]
    if len(scores) < 2:
        return None
    numbers = spread(range(1, len(scores) + 1), MOST_POINTS)
    best = expected_maximum(scores, numbers)
    points = [(float(number), float(value)) for number, value in zip(numbers, best, strict=True)]
    few = len(points) <= 40
    caption = (
        "What the best of so many trials can be expected to reach, had they been drawn at random "
        f"from these {len(scores)} (Dodge et al., 2019); a guided search is ahead of it. Pruned "
        "trials count with the score that they had."
    )
    return Plot(
        "expected", "Expected validation performance", caption,
        axis_over("number of trials", [x for x, _ in points], whole=True),
        percent_axis(f"expected best {VAL}", [y for _, y in points]),
        (
            Series(
                None, points, "blue", "circle" if few else None, "solid",
                [f"{x:.0f} trials: {y:.2f}%" for x, y in points] if few else [],
            ),
        ),
    )  # fmt: skip


def cost(content: Content) -> Bars | None:
    """Time that the trials of each phase occupied their resources."""
    seconds: dict[str, float] = {}
    numbers: dict[str, int] = {}
    for trial in content.trials:
        seconds[trial.phase] = seconds.get(trial.phase, 0.0) + trial.seconds
        numbers[trial.phase] = numbers.get(trial.phase, 0) + 1
    if not sum(seconds.values()):
        return None
    unit, name = (3600.0, "hours") if sum(seconds.values()) > 2 * 3600 else (60.0, "minutes")
    bars = tuple(
        Bar(phase, time / unit, f"{time / unit:.1f} ({numbers[phase]} trials)")
        for phase, time in seconds.items()
    )
    return Bars(
        "cost", "Cost by phase",
        "Time that trials occupied their resources in this sweep; found cells cost nothing.",
        f"trial time ({name})", bars,
    )  # fmt: skip
