"""What the runs of a sweep are called in MLflow, what each came to, and which stands first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.config.naming import describe
from orchestrator.config.sweep import LISTED
from orchestrator.search.standings import Proposal
from orchestrator.sweeps.record.event_log import Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import DEFAULTS, score
from orchestrator.tracking.run_document import RunDocument
from shapca.runs.epochs import SELECTION

RESULT, VERDICT, RANK = "result", "verdict", "rank"


def called(history: History, event: Proposal) -> str:
    """Short for a configuration: its number, or what it is once its fresh seeds are reported.

    Its parameters stand beside it.
    """
    if LISTED in event.values:
        return event.setting
    protocol = history.protocol
    if event.phase == "confirm":
        winner, baseline = protocol.winner(), protocol.baseline()
        if winner is not None and winner.configuration == event.configuration:
            return "winner"
        if baseline is not None and baseline.configuration == event.configuration:
            return baseline_name(history)
    return f"#{event.entry}"


def baseline_name(history: History) -> str:
    """`defaults`, or the point that the sweep's file gives."""
    given = history.sweep.protocol.first[0]
    return describe(given) if given else DEFAULTS


def cell_name(history: History, event: Proposal, verdict: str = "finished") -> str:
    """The name of a cell's run, e.g. `winner · seed 11`, `#4 · seed 1 · pruned`."""
    end = "" if verdict == "finished" else f" · {verdict}"
    return f"{called(history, event)} · seed {event.seed}{end}"


def average_name(history: History, event: Proposal, num_seeds: int) -> str:
    """The name of an average's run, e.g. `winner`, `#4 · mean of 2 seeds`."""
    name = called(history, event)
    is_numbered = name.startswith("#") or event.phase != "confirm"
    return f"{name} · mean of {num_seeds} seeds" if is_numbered else name


def result_of(metrics: Mapping[str, float], verdict: str, reason: str = "") -> str:
    """What a run came to, in a few words that stand beside its name.

    Args:
        metrics: Its final figures.
        verdict: How it ended.
        reason: Why it was pruned or failed.
    """
    if verdict == "pruned":
        value = metrics.get(SELECTION)
        return reason if value is None else f"{value:.2f} val, {reason}"
    if verdict != "finished":
        return f"{verdict}: {reason}"[:200]
    for split, name in (("test", "test/f1"), ("val", SELECTION)):
        if name in metrics:
            return f"{metrics[name]:.2f} {split}"
        if f"{name}_mean" in metrics:
            shown = score(metrics[f"{name}_mean"], metrics.get(f"{name}_std"))
            num_seeds = int(metrics["num_seeds"])
            return f"{shown} {split} ({num_seeds} seed{'s' if num_seeds > 1 else ''})"
    return ""


def described(event: Proposal, document: RunDocument) -> str:
    """A run's description: what it is, and where it leads."""
    what = "Mean over the seeds of its runs, which stand below it"
    if document.kind == "cell":
        what = f"One training run, seed {event.seed}"
    lines = [
        f"{what}: configuration #{event.entry} of the sweep, phase {document.tags['phase']}.",
        f"Setting: `{event.setting}`",
    ]
    if (result := document.tags.get(RESULT)) is not None:
        lines.insert(0, f"**F1 {result}**" if result[:1].isdigit() else f"**{result}**")
    if document.cell is not None:
        lines.append(f"Its files: `cells/{document.cell}` in the storage.")
    return "\n\n".join(lines)


def ranked(history: History) -> Iterator[tuple[Proposed, int | None]]:
    """Everything that has a run, the best first: what is reported, then what was selected.

    Yields:
        A proposal with the number of seeds for the average that it enters, and with None for its
        own run.
    """
    protocol, proposed = history.protocol, history.proposed
    reported = [protocol.confirmation(), protocol.confirmed(protocol.baseline())]
    # Of a sweep that was extended another winner may have been confirmed before.
    former = protocol.standings("confirm")
    selected = [standing for standing, _ in protocol.ranking()]
    found = [standing for standing in (*reported, *former) if standing is not None]
    for standing in (*found, *selected):
        events = [proposed[number] for _, number in sorted(standing.numbers.items())]
        yield events[-1], len(standing.scores)
        for event in events:
            yield event, None
