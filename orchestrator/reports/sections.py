"""The parts of a report's page that are text and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.config.naming import short_names, shown
from orchestrator.reports.content import Content, Trial
from orchestrator.reports.markup import (
    Cell,
    Child,
    Html,
    element,
    fact_list,
    number,
    state_chip,
    table,
)
from orchestrator.sweeps.record.outcome import ConfigurationResult, score
from orchestrator.sweeps.views.summary import seeds as seeds_in_words
from orchestrator.tables.statistics import on_the_scale
from shapca.commands.display.training_display import duration
from shapca.metrics.seed_scores import SeedScores
from shapca.words import counted

_STATES = {
    "complete": "complete",
    "running": "still running",
    "stopped": "stopped before its end; run the same command again to resume it",
}


def head(content: Content, parts: Sequence[tuple[str, str]]) -> Html:
    """Name, what kind of sweep it is, how it stands, and links to the parts by key and title."""
    sweep, ended = content.sweep, sum(t.state not in ("running", "missing") for t in content.trials)
    experiment = content.experiment
    data = "" if experiment is None else f"{experiment.task} on {experiment.data.dataset} · "
    planned = sum(content.planned.values())
    line = (
        f"{data}protocol {sweep.protocol.kind}, sampler {sweep.protocol.sampler}, "
        f"scheduler {sweep.scheduler.kind} · {ended} of at most {planned} trials ended · "
        f"{duration(content.outcome.seconds)}"
    )
    notices: list[tuple[str, str]] = []
    if content.state != "complete":
        by = f" by {content.holder}" if content.holder else ""
        text = f"The sweep is {_STATES[content.state]}{by}: what follows is what there is so far."
        notices.append(("warn", text))
    if content.num_stale:
        text = (
            f"{counted(content.num_stale, 'trial')} stale: made by other training code than the "
            f"present one ({content.code})."
        )
        notices.append(("warn", text))
    if content.winner is not None and content.winner.missing:
        names = ", ".join(f"seed {s}: {why}" for s, why in content.winner.missing.items())
        notices.append(("bad", f"Missing from the winner's mean: {names}"))
    links = [element("a", title, href=f"#{key}") for key, title in parts]
    return element(
        "header",
        element("h1", content.name),
        element("p", line, class_="line"),
        element("nav", links, aria_label="Sections"),
        [element("p", text, class_=f"notice {kind}") for kind, text in notices],
    )


def hero(content: Content) -> Html:
    """The winner and its scores."""
    winner = content.winner
    if content.is_listed or winner is None:
        text = "No configuration has finished."
        if content.is_listed:
            text = "Every listed configuration on every seed; nothing is chosen."
        return element("section", element("p", text), class_="card", style="margin-top:18px")
    names = short_names(list(winner.values))
    setting = element(
        "ul",
        [
            element("li", f"{names[key]} ", element("b", shown(value)), title=key)
            for key, value in winner.values.items()
        ],
        class_="setting",
    )
    if winner.is_unconfirmed:
        kind = "Winner, not confirmed: all its fresh seeds failed"
    elif content.is_confirmed:
        kind = "Confirmed winner, on fresh seeds"
    else:
        kind = "Best so far, on the seeds that selected it: its score is flattered by the selection"
    what, scores, mean, std = "validation", winner.val, winner.val_mean, winner.val_std
    if winner.test:
        what, scores, mean, std = "test", winner.test, winner.test_mean, winner.test_std
    left = [
        element("div", kind, class_="label"),
        _big(mean, std),
        element("div", f"{what} F1, {_seed_words(scores)}", class_="soft"),
        setting,
    ]
    facts: list[tuple[str, Child]] = []
    if winner.test:
        facts += [("test F1 by seed", _by_seed(winner.test))]
        facts += [("95% interval", _interval(winner.test))]
    val = f"{score(winner.val_mean, winner.val_std)}, by seed {_by_seed(winner.val)}"
    facts += [("validation F1", val), ("configuration", element("code", winner.configuration))]
    if content.outcome.model is not None:
        facts.append(("model", element("code", content.outcome.model)))
    if num_stale := sum(trial.is_stale for trial in content.of(winner)):
        facts.append(("state", state_chip("stale", f"{num_stale} of its seeds are stale")))
    return element(
        "section",
        element("div", element("div", left), fact_list(facts), class_="card hero"),
        style="margin-top:18px",
        id="winner",
    )


def configurations(content: Content) -> Html | None:
    """Every configuration; a click on a heading sorts."""
    outcome, winner = content.outcome, content.winner
    if not outcome.rows:
        return None
    names = short_names(list(content.sweep.space))
    headings: list[tuple[str, str | None]] = [("#", "n"), ("state", None), ("phase", None)]
    headings += [("val F1 (%)", "n"), ("± std", "n"), ("seeds", None), ("test F1 (%)", "n")]
    headings += [("listed as", None)] if content.is_listed else []
    headings += [(names[key], "n") for key in content.sweep.space]
    headings += [("epochs", "n"), ("time (s)", "n"), ("configuration", None)]
    rows, best = [], []
    for place, row in enumerate(outcome.rows):
        is_winner = winner is not None and row.configuration == winner.configuration
        best += [place] if is_winner else []
        trials = content.of(row)
        # Only the reported winner's test scores are shown: nothing is chosen by them. Where
        # configurations are listed nothing is chosen, and all are reported.
        test = row if content.is_listed else winner if is_winner else None
        rows.append(
            [
                Cell(str(place + 1), place + 1, "n"),
                Cell(state_chip(*row_state(row, trials))),
                Cell(row.phase),
                number(row.val_mean if row.val else _pruned_value(trials)),
                number(row.val_std),
                Cell(seeds_in_words(row), len(row.val), "name"),
                _test_cell(test),
                *([Cell(row.name, None, "name")] if content.is_listed else []),
                *(
                    Cell(shown(row.values[key]), _sort_value(row.values[key]), "n")
                    for key in content.sweep.space
                ),
                Cell(str(sum(t.epoch for t in trials)), sum(t.epoch for t in trials), "n"),
                number(sum(trial.seconds for trial in trials), 0),
                Cell(element("code", row.configuration)),
            ]
        )
    words = "± is the sample standard deviation over the named seeds."
    if not content.is_listed:
        words = f"Best first. {words} Only the winner is ever scored on the test split."
    if content.is_confirmed:
        words += " Its val F1 here is that of the selection; the confirmed one stands above."
    return element(
        "div", element("p", words, class_="soft small"), table(headings, rows, best=best)
    )


def ends(content: Content) -> Html | None:
    """Trials that did not finish, with the reason."""
    trials = [trial for trial in content.trials if trial.state != "done"]
    if not trials:
        return element("p", "None: every trial ran to its end.", class_="soft")
    rows = [
        [
            Cell(str(trial.number), trial.number, "n"),
            Cell(state_chip(trial.state)),
            Cell(trial.phase),
            Cell(trial.setting, None, "name"),
            Cell(str(trial.seed), trial.seed, "n"),
            Cell(f"{trial.epoch}/{trial.epochs}", trial.epoch, "n"),
            number(trial.value),
            Cell(_reason(trial), None, "wrap"),
        ]
        for trial in trials
    ]
    headings = [
        ("#", "n"), ("state", None), ("phase", None), ("setting", None), ("seed", "n"),
        ("epoch", "n"), ("val F1 (%)", "n"), ("reason", None),
    ]  # fmt: skip
    return table(headings, rows)


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


def _big(mean: float | None, std: float | None) -> Html:
    parts: list[Child] = [f"{mean:.2f}" if mean is not None else "–"]
    if std is not None:
        parts.append(element("span", f" ± {std:.2f}", class_="std"))
    return element("div", parts, element("span", "%", class_="unit"), class_="score")


def _seed_words(scores: Mapping[int, float]) -> str:
    if len(scores) == 1:
        return f"seed {next(iter(scores))} alone"
    named = ", ".join(map(str, scores))
    return f"mean ± sample standard deviation over seeds {named}"


def _by_seed(scores: Mapping[int, float]) -> str:
    return " · ".join(f"{seed}: {value:.2f}" for seed, value in scores.items())


def _interval(scores: Mapping[int, float]) -> str:
    interval = SeedScores(list(scores.values())).interval
    if interval is None:
        return "not known from one seed"
    return f"{on_the_scale(*interval)}: Student's t over {len(scores)} seeds, this test set"


def _test_cell(winner: ConfigurationResult | None) -> Cell:
    if winner is None:
        return Cell(state_chip("n/a"), "", "n")
    if not winner.test:
        return Cell(state_chip("missing", "not yet"), "", "n")
    return Cell(score(winner.test_mean, winner.test_std), winner.test_mean, "n")


def _pruned_value(trials: Sequence[Trial]) -> float | None:
    """What a configuration without a finished seed had reached when it was stopped."""
    return max((t.value for t in trials if t.value is not None), default=None)


def _reason(trial: Trial) -> str:
    if trial.reason is not None:
        return trial.reason
    return {
        "pruned": f"stopped early after epoch {trial.epoch}: too weak for its rung",
        "running": "at work",
        "missing": "begun, to be resumed",
    }.get(trial.state, "")


def _sort_value(value: object) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return repr(float(value))
