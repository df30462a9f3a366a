"""Which charts a report has, made from its content."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.naming import describe, short_names, shown
from orchestrator.outcome import ConfigurationResult
from orchestrator.report.charts import (
    Bar,
    Bars,
    Chart,
    Line,
    Mark,
    Parallel,
    Plot,
    Role,
    Series,
    Thread,
)
from orchestrator.report.content import MOST_CURVES, Content, Trial, TrialState
from orchestrator.report.scales import Axis, axis_over, percent_axis
from orchestrator.space import ChoiceDimension, Dimension, Scalar
from orchestrator.statistics import expected_maximum

VAL = "validation F1 (%)"
TEST = "test F1 (%)"
MOST_ROWS = 12
_LOOKS: tuple[tuple[TrialState, Role, Mark], ...] = (
    ("done", "blue", "circle"),
    ("pruned", "orange", "triangle"),
    ("running", "green", "ring"),
    ("missing", "muted", "ring"),
    ("diverged", "purple", "cross"),
    ("failed", "purple", "cross"),
)


def charts_of(content: Content) -> list[Chart]:
    """The charts that there is something to show for, in the order of the page."""
    made: Iterable[Chart | None] = (
        history(content),
        parallel(content),
        importance(content),
        expected(content),
        seeds(content),
        validation_against_test(content),
        curves(content),
        losses(content),
        cost(content),
    )
    return [chart for chart in made if chart is not None]


def history(content: Content) -> Plot | None:
    """Validation F1 of each trial of the search in the order of the proposals, and the best."""
    trials = [trial for trial in content.searched() if trial.value is not None]
    if not trials:
        return None
    series = []
    for state, role, mark in _LOOKS:
        some = [trial for trial in trials if trial.state == state]
        if some:
            points = [(float(t.number), t.value or 0.0) for t in some]
            series.append(Series(state, points, role, mark, labels=[_trial_label(t) for t in some]))
    best, steps = 0.0, []
    for trial in trials:
        if trial.state == "done" and (trial.value or 0.0) > best:
            best = trial.value or 0.0
        if best:
            steps.append((float(trial.number), best))
    if len(steps) > 1:
        series.insert(0, Series("best so far", steps, "blue", line="step"))
    without = len(content.searched()) - len(trials)
    caption = "Best validation F1 of each trial of the search, in the order in which they began."
    if without:
        caption += f" {without} without any score are not shown."
    return Plot(
        "history", "Optimisation history", caption,
        axis_over("trial", [t.number for t in trials], whole=True),
        percent_axis(VAL, [t.value or 0.0 for t in trials]),
        tuple(series),
    )  # fmt: skip


def parallel(content: Content) -> Parallel | None:
    """Every trial of the search as a line over the dimensions and its score."""
    trials = [trial for trial in content.searched() if trial.value is not None]
    trials = [trial for trial in trials if trial.state in ("done", "pruned")]
    if len(trials) < 2:
        return None
    space = content.sweep.space
    keys = list(content.importance.shares) if content.importance else list(space)
    names = short_names(list(space))
    axes = [_dimension_axis(names[key], space[key]) for key in keys]
    score = percent_axis("val F1 (%)", [trial.value or 0.0 for trial in trials])
    ranked = sorted(trial.value or 0.0 for trial in trials)
    winner = content.winner
    threads = tuple(
        Thread(
            places=(
                *(
                    axis.place(_coordinate(space[key], trial.values[key]))
                    for key, axis in zip(keys, axes, strict=True)
                ),
                score.place(trial.value or 0.0),
            ),
            shade=ranked.index(trial.value or 0.0) / max(len(ranked) - 1, 1),
            label=_trial_label(trial),
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
    return Parallel("parallel", "Parallel coordinates", caption, (*axes, score), threads)


def importance(content: Content) -> Bars | None:
    """Shares of the hyper-parameters."""
    found = content.importance
    if found is None:
        return None
    names = short_names(list(content.sweep.space))
    caption = f"{found.method} over {found.num_trials} finished trials of the search."
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
    scores = [
        trial.value
        for trial in content.searched()
        if trial.value is not None and trial.state in ("done", "pruned")
    ]
    if content.sweep.protocol.kind == "replicate":
        scores = [row.val_mean for row in content.outcome.rows if row.val_mean is not None]
    if len(scores) < 2:
        return None
    best = expected_maximum(scores)
    points = [(float(number), float(value)) for number, value in enumerate(best, start=1)]
    few = len(points) <= 40
    caption = (
        "What the best of so many trials can be expected to reach, had they been drawn at random "
        f"from these {len(points)} (Dodge et al., 2019); a guided search is ahead of it. Pruned "
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


def seeds(content: Content) -> Plot | None:
    """Scores of every seed of the configurations that have several."""
    rows: list[tuple[str, dict[int, float], Role, Mark, str]] = []
    winner = content.winner
    if winner is not None and content.is_confirmed:
        if winner.test:
            rows.append(("winner, test", dict(winner.test), "orange", "diamond", "test F1"))
        rows.append(("winner, fresh", dict(winner.val), "blue", "circle", "val F1"))
    for rank, row in enumerate(content.outcome.rows, start=1):
        if content.is_listed and row.test and len(rows) < MOST_ROWS:
            rows.append((f"#{rank}", dict(row.test), "orange", "diamond", "test F1"))
        elif len(row.val) > 1 and len(rows) < MOST_ROWS:
            is_winner = winner is not None and row.configuration == winner.configuration
            name = f"#{rank} selection" if is_winner else f"#{rank}"
            rows.append((name, dict(row.val), "muted", "circle", "val F1"))
            if is_winner and row.test and not content.is_confirmed:
                rows.append((f"#{rank} test", dict(row.test), "orange", "diamond", "test F1"))
    rows = [row for row in rows if row[1]]
    if not rows:
        return None
    series = []
    values: list[float] = []
    for place, (_, scores, role, mark, what) in enumerate(rows):
        y = float(len(rows) - 1 - place)
        mean = sum(scores.values()) / len(scores)
        values += scores.values()
        if len(scores) > 1:
            span = [(min(scores.values()), y), (max(scores.values()), y)]
            series.append(Series(None, span, role, line="thin"))
        series.append(
            Series(
                None, [(value, y) for value in scores.values()], role, mark,
                labels=[f"seed {seed}: {what} {value:.2f}%" for seed, value in scores.items()],
            )
        )  # fmt: skip
        series.append(Series(None, [(mean, y - 0.24), (mean, y + 0.24)], role, line="solid"))
    # Entries of the legend that belong to no row of their own.
    legend: list[Series] = [Series("validation", (), "blue", "circle")]
    if any(mark == "diamond" for *_, mark, _ in rows):
        legend.append(Series("test", (), "orange", "diamond"))
    legend.append(Series("mean", (), "muted", line="solid"))
    caption = (
        "Each seed by itself; the upright stroke is the mean. #n is the row of the table of "
        "configurations."
    )
    names = tuple(name for name, *_ in reversed(rows))
    return Plot(
        "seeds", "Seeds", caption, percent_axis("F1 (%)", values),
        Axis("", -0.6, len(rows) - 0.4, names=names), tuple(legend + series),
    )  # fmt: skip


def validation_against_test(content: Content) -> Plot | None:
    """Test F1 over validation F1, of the seeds whose test split was scored."""
    winner = content.winner
    if winner is None or not winner.test:
        return None
    both = [
        (seed, winner.val[seed], test) for seed, test in winner.test.items() if seed in winner.val
    ]
    if not both:
        return None
    values = [value for _, val, test in both for value in (val, test)]
    axis = percent_axis(VAL, values)
    caption = (
        "Only the reported seeds are ever scored on the test split, once each. On the dashed line "
        "both scores are equal."
    )
    return Plot(
        "validation_test", "Validation against test", caption, axis,
        Axis(TEST, axis.low, axis.high),
        (
            Series("equal", [(axis.low, axis.low), (axis.high, axis.high)], "muted", line="dashed"),
            Series(
                "winner", [(val, test) for _, val, test in both], "orange", "diamond",
                labels=[f"seed {s}: val {v:.2f}%, test {t:.2f}%" for s, v, t in both],
            ),
        ),
    )  # fmt: skip


def curves(content: Content) -> Plot | None:
    """Validation F1 after each epoch."""
    series = _curves(content, lambda trial: trial.scores, "val F1 {:.2f}%")
    if not series:
        return None
    shown_, total = sum(bool(trial.scores) for trial in content.trials), len(content.trials)
    caption = "Validation F1 after each epoch."
    if shown_ < total:
        caption += f" {shown_} of {total} trials: the best {MOST_CURVES}, the winner's, open ones."
    points = [point for one in series for point in one.points]
    return Plot(
        "curves", "Learning curves", caption,
        axis_over("epoch", [x for x, _ in points], whole=True),
        percent_axis(VAL, [y for _, y in points]), series,
    )  # fmt: skip


def losses(content: Content) -> Plot | None:
    """Training loss of each epoch."""
    series = _curves(content, lambda trial: trial.losses, "loss {:.3g}")
    if not series:
        return None
    points = [point for one in series for point in one.points]
    return Plot(
        "losses", "Training loss",
        "Mean loss of each epoch; settings with other weights of the alignment have another loss.",
        axis_over("epoch", [x for x, _ in points], whole=True),
        axis_over("training loss", [y for _, y in points]), series,
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


def _curves(content: Content, of, words: str) -> tuple[Series, ...]:  # type: ignore[no-untyped-def]
    winner = content.winner
    others: list[Series] = []
    own: list[Series] = []
    for trial in content.trials:
        values = of(trial)
        if not values:
            continue
        is_winner = winner is not None and trial.configuration == winner.configuration
        is_reported = is_winner and winner is not None and trial.cell in winner.cells.values()
        points = [(float(epoch), value) for epoch, value in enumerate(values, start=1)]
        label = f"{_trial_label(trial)}; last {words.format(values[-1])}"
        role: Role = "orange" if is_reported else "muted"
        line: Line = "solid" if is_reported else "dashed" if trial.state == "pruned" else "thin"
        name = None
        kind = own if is_reported else others
        if not any(one.role == role and one.line == line for one in kind):
            name = (
                "winner, reported seeds"
                if is_reported
                else "pruned"
                if trial.state == "pruned"
                else "other trials"
            )
        kind.append(Series(name, points, role, line=line, labels=[label]))
    return (*others, *own)


def _dimension_axis(name: str, dimension: Dimension) -> Axis:
    if isinstance(dimension, ChoiceDimension):
        places = tuple(shown(value) for value in dimension.values)
        return Axis(name, -0.3, len(places) - 0.7, names=places)
    return Axis(
        name, dimension.low, dimension.high, log=dimension.log, whole=dimension.type == "int"
    )


def _coordinate(dimension: Dimension, value: Scalar) -> float:
    if isinstance(dimension, ChoiceDimension):
        return float([repr(v) for v in dimension.values].index(repr(value)))
    return float(value)  # type: ignore[arg-type]


def _trial_label(trial: Trial) -> str:
    value = "" if trial.value is None else f": val F1 {trial.value:.2f}%"
    state = "" if trial.state == "done" else f" ({trial.state})"
    return (
        f"#{trial.number} {trial.phase}, {describe(trial.values)}, seed {trial.seed}{value}{state}"
    )


def rank_of(content: Content, row: ConfigurationResult) -> int:
    """The row's place in the table of configurations, from 1."""
    return 1 + list(content.outcome.rows).index(row)
