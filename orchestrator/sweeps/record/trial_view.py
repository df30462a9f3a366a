"""One trial of a sweep as it is shown: what was proposed, and what has come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History

TrialStatus = Literal["running", "finished", "pruned", "failed", "diverged"]


@dataclass(frozen=True, kw_only=True)
class TrialView(Proposed):
    """One trial of a sweep.

    Attributes:
        epochs: Epochs at most.
        status: `running`, or how it ended.
        epoch: Epochs done.
        value: Best validation F1 so far in percent; None before the first epoch.
        best_epoch: Its epoch.
        seconds: Time that it occupied its resources.
        epoch_seconds: The part of `seconds` that its `epoch` epochs took, without one under way;
            None: all of them.
        trained: Epochs that this sweep trained of it.
        found: It was known before, and nothing was trained.
        reason: Why it failed or diverged.
    """

    epochs: int
    status: TrialStatus = "running"
    epoch: int = 0
    value: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    epoch_seconds: float | None = None
    trained: int = 0
    found: bool = False
    reason: str | None = None

    @property
    def known_seconds(self) -> float:
        """Time of the epochs that are done."""
        return self.seconds if self.epoch_seconds is None else self.epoch_seconds


_SAID = ("status", "epoch", "value", "best_epoch", "seconds", "trained", "found", "reason")


def trial_view(history: History, event: Proposed, end: Ended | None = None) -> TrialView:
    """A trial by its record.

    Args:
        history: The sweep's record.
        event: The trial's proposal.
        end: How it ended; None while it runs.
    """
    return TrialView(**trial_fields(history, event, end))


def trial_fields(history: History, event: Proposed, end: Ended | None) -> dict[str, Any]:
    """What a `TrialView` of a trial holds, by name."""
    is_valid = bool(end and end.epoch) or history.is_valid(event)  # what was trained was valid
    fields = {**vars(event), "epochs": history.epochs(event.values) if is_valid else 0}
    if end is not None:
        for name in _SAID:
            fields[name] = getattr(end, name)
    return fields
