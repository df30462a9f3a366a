"""How long a sweep still takes, as far as it can be told from the trials seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.sweeps.record.trial_view import TrialView
from orchestrator.sweeps.views.snapshot import SweepView


@dataclass(frozen=True)
class TimeLeft:
    """Seconds until the end.

    Attributes:
        expected: If trials to come take as long as those of their phase did so far.
        at_most: If none of them is pruned or stops early.
    """

    expected: float
    at_most: float


def time_left(view: SweepView) -> TimeLeft | None:
    """Time left; None while no epoch of this driver's own has shown how long one takes.

    Trials found finished in the store cost nothing and teach nothing. Phases follow each other, so
    a phase takes at least as long as its longest trial. Replicated cells are only tested in the
    end, which takes no time worth speaking of.
    """
    trained = [t for t in (*view.ended, *view.running) if not t.found and t.epoch and t.seconds]
    if not trained:
        return None
    per_epoch = sum(t.known_seconds for t in trained) / sum(t.epoch for t in trained)
    epochs = max(trial.epochs for trial in trained)
    expected = at_most = 0.0
    phases = dict(view.planned)
    if "replicate" in phases:
        phases.pop("confirm", None)
    for phase, planned in phases.items():
        ended = [trial for trial in view.ended if trial.phase == phase]
        running = [trial for trial in view.running if trial.phase == phase]
        to_come = max(0, planned - len(ended) - len(running))
        whole = epochs * per_epoch
        usual = _usual_seconds(ended, whole)
        expected += _phase_seconds(
            [max(usual - t.seconds, per_epoch) for t in running], to_come, usual, view.slots
        )
        rest = [  # of the epoch under way, part may be done
            max((t.epochs - t.epoch) * per_epoch - (t.seconds - t.known_seconds), 0.0)
            for t in running
        ]
        at_most += _phase_seconds(rest, to_come, whole, view.slots)
    return TimeLeft(min(expected, at_most), at_most)


def _usual_seconds(ended: Sequence[TrialView], otherwise: float) -> float:
    """Mean duration of the trials that this driver trained to an end."""
    seconds = [
        trial.seconds
        for trial in ended
        if not trial.found and trial.status in ("finished", "pruned")
    ]
    return fmean(seconds) if seconds else otherwise


def _phase_seconds(running: Sequence[float], to_come: int, each: float, slots: int) -> float:
    """Duration of a phase whose trials share the slots."""
    shared = (sum(running) + to_come * each) / slots
    return max(shared, max(running, default=0.0), each if to_come else 0.0)
