"""Charts of seeds and of learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from orchestrator.reports.charts.charts import Line, Mark, Plot, Role, Series
from orchestrator.reports.charts.scales import Axis, axis_over, percent_axis
from orchestrator.reports.content import Content
from orchestrator.reports.trials import MOST_CURVES, Trial

VAL = "validation F1 (%)"
TEST = "test F1 (%)"
MOST_ROWS = 12
_LOOKS: tuple[tuple[Mark, str], ...] = (("circle", "val F1"), ("diamond", "test F1"))


def seeds(content: Content) -> Plot | None:
    """Scores of every seed of the configurations that have several."""
    rows: list[tuple[str, Mapping[int, float], Role]] = []  # orange: scores of the test split
    winner = content.winner
    if winner is not None and content.is_confirmed:
        if winner.test:
            rows.append(("winner, test", winner.test, "orange"))
        rows.append(("winner, fresh", winner.val, "blue"))
    baseline = content.outcome.baseline
    if baseline is not None and winner and baseline.configuration != winner.configuration:
        rows.append((f"{baseline.name}, test", baseline.test, "orange"))
        rows.append((f"{baseline.name}, fresh", baseline.val, "blue"))
    trials = Counter(trial.configuration for trial in content.trials)
    several = {configuration for configuration, number in trials.items() if number > 1}
    for row in content.outcome.rows:
        name = f"#{row.entry}"
        if len(rows) >= MOST_ROWS or not (several or content.is_listed):
            break
        several.discard(row.configuration)
        if content.is_listed and row.test:
            rows.append((name, row.test, "orange"))
        elif len(row.val) > 1:
            is_winner = winner is not None and row.configuration == winner.configuration
            rows.append((f"{name} selection" if is_winner else name, row.val, "muted"))
            if is_winner and row.test and not content.is_confirmed:
                rows.append((f"{name} test", row.test, "orange"))
    rows = [row for row in rows if row[1]]
    if not rows:
        return None
    series = []
    values: list[float] = []
    for place, (_, scores, role) in enumerate(rows):
        mark, what = _LOOKS[role == "orange"]
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
    legend = [Series("validation", (), "blue", "circle")]
    if any(role == "orange" for *_, role in rows):
        legend.append(Series("test", (), "orange", "diamond"))
    legend.append(Series("mean", (), "muted", line="solid"))
    caption = (
        "Each seed by itself; the upright stroke is the mean. #n is the configuration's number."
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
    axis = percent_axis(VAL, [y for one in series for _, y in one.points])
    return _over_epochs("curves", "Learning curves", caption, axis, series)


def losses(content: Content) -> Plot | None:
    """Training loss of each epoch."""
    series = _curves(content, lambda trial: trial.losses, "loss {:.3g}")
    if not series:
        return None
    caption = (
        "Mean loss of each epoch; settings with other weights of the alignment have another loss."
    )
    axis = axis_over("training loss", [y for one in series for _, y in one.points])
    return _over_epochs("losses", "Training loss", caption, axis, series)


def _over_epochs(key: str, title: str, caption: str, y: Axis, series: tuple[Series, ...]) -> Plot:
    epochs = axis_over("epoch", [x for one in series for x, _ in one.points], whole=True)
    return Plot(key, title, caption, epochs, y, series)


def _curves(
    content: Content, of: Callable[[Trial], Sequence[float]], words: str
) -> tuple[Series, ...]:
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
        label = f"{trial_label(trial)}; last {words.format(values[-1])}"
        role: Role = "orange" if is_reported else "muted"
        line: Line = "solid" if is_reported else "dashed" if trial.state == "pruned" else "thin"
        kind = own if is_reported else others
        name = "winner, reported seeds" if is_reported else "other trials"
        if line == "dashed":
            name = "pruned"
        is_new = not any(one.role == role and one.line == line for one in kind)
        kind.append(Series(name if is_new else None, points, role, line=line, labels=[label]))
    return (*others, *own)


def trial_label(trial: Trial) -> str:
    """What a trial says of itself when it is pointed at."""
    value = "" if trial.value is None else f": val F1 {trial.value:.2f}%"
    state = "" if trial.state == "done" else f" ({trial.state})"
    return f"{trial.called}, {trial.phase}, {trial.setting}{value}{state}"
