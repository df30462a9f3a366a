"""What the reported seeds do epoch by epoch: validation F1 with a band, and the alignment."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from orchestrator.reports.charts.charts import Plot, Role, Series
from orchestrator.reports.charts.scales import Axis, axis_over, percent_axis
from orchestrator.reports.charts.seed_figures import VAL
from orchestrator.reports.content import Content
from shapca.alignment.standing import COLLAPSED_BELOW, GAP, JOINT, standings

_ROLES: tuple[Role, ...] = ("blue", "orange", "green", "purple")


def validation_curve(content: Content) -> Plot | None:
    """Validation F1 of the winner, mean over its reported seeds with their spread."""
    series = []
    groups = [("winner", content.reported, _ROLES[1])]
    baseline, winner = content.outcome.baseline, content.winner
    if baseline and winner and baseline.configuration != winner.configuration:
        groups.insert(0, (baseline.name, content.of(baseline), _ROLES[2]))
    for name, trials, role in groups:
        points, band = _mean([trial.scores for trial in trials])
        if points:
            label = f"{name}, {len(trials)} seed{'s' if len(trials) > 1 else ''}"
            series.append(Series(label, points, role, line="solid", band=band))
    if not series:
        return None
    values = [y for one in series for pair in one.band for y in pair]
    return Plot(
        "validation_curve", "Validation curve",
        "Mean validation F1 after each epoch over the reported seeds that trained so long; the "
        "band is one standard deviation to either side.",
        _epochs(series), percent_axis(VAL, values), tuple(series),
    )  # fmt: skip


def gaps(content: Content) -> Plot | None:
    """How far the alignments of the reported seeds tell true pairs from others."""
    series = _alignment(content, lambda name: name.startswith(GAP))
    if not series:
        return None
    values = [y for one in series for pair in one.band for y in pair] + [0.0, COLLAPSED_BELOW]
    epochs = _epochs(series)
    limit = [(epochs.low, COLLAPSED_BELOW), (epochs.high, COLLAPSED_BELOW)]
    series.append(Series(f"collapsed below {COLLAPSED_BELOW:g}", limit, "muted", line="dashed"))
    return Plot(
        "alignment_gap", "Alignment: cosine gap",
        f"Mean cosine of true pairs less that of all others, validation split. {health(content)}",
        epochs, axis_over("cosine gap", values), tuple(series),
    )  # fmt: skip


def retrieval(content: Content) -> Plot | None:
    """How often the own partner is the nearest."""
    series = _alignment(content, lambda name: name.startswith("alignment_r1_"))
    if not series:
        return None
    values = [y for one in series for pair in one.band for y in pair]
    return Plot(
        "alignment_retrieval", "Alignment: retrieval",
        "Share of posts whose own partner is the nearest of the whole validation split (R@1).",
        _epochs(series), percent_axis("R@1 (%)", values), tuple(series),
    )  # fmt: skip


def health(content: Content) -> str:
    """What became of each alignment of the reported seeds, in a sentence; empty: none."""
    found: dict[str, list[str]] = {}
    for trial in content.reported:
        epochs = [
            dict(zip(trial.alignment, values, strict=True))
            for values in zip(*trial.alignment.values(), strict=True)
        ]
        for pair, standing in standings(epochs).items():
            found.setdefault(pair.replace("_", " and "), []).append(standing)
    words = {
        "collapsed": "collapsed (true pairs look like any other)",
        "trivial": "agree trivially (one pass reads both)",
        "aligned": "are aligned",
    }
    return " ".join(
        f"{pair[:1].upper()}{pair[1:]}: "
        + ", ".join(
            f"{words[kind]} in {ends.count(kind)} of {len(ends)} seeds"
            for kind in words
            if kind in ends
        )
        + "."
        for pair, ends in found.items()
    )


def _alignment(content: Content, is_wanted: Callable[[str], bool]) -> list[Series]:
    """Measurements of the alignment, each the mean over the reported seeds."""
    names = dict.fromkeys(
        name for trial in content.reported for name in trial.alignment if is_wanted(name)
    )
    series = []
    for place, name in enumerate(names):
        curves = [t.alignment[name] for t in content.reported if name in t.alignment]
        points, band = _mean(curves)
        title = name.removeprefix(GAP).removeprefix("alignment_r1_").removesuffix(JOINT)
        title = title.replace("_", " ") + (" (one pass)" if name.endswith(JOINT) else "")
        role = _ROLES[place % len(_ROLES)]
        line = "dashed" if place >= len(_ROLES) or name.endswith(JOINT) else "solid"
        series.append(Series(title, points, role, line=line, band=band))  # type: ignore[arg-type]
    return [one for one in series if one.points]


def _mean(
    curves: Sequence[Sequence[float]],
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Mean and mean ± standard deviation after each epoch, of the curves that got so far."""
    points, band = [], []
    for epoch in range(max(map(len, curves), default=0)):
        values = [curve[epoch] for curve in curves if epoch < len(curve)]
        values = [value for value in values if math.isfinite(value)]
        if values:
            mean, spread = fmean(values), stdev(values) if len(values) > 1 else 0.0
            points.append((float(epoch + 1), mean))
            band.append((mean - spread, mean + spread))
    return points, band


def _epochs(series: Sequence[Series]) -> Axis:
    return axis_over("epoch", [x for one in series for x, _ in one.points], whole=True)
