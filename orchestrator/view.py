"""What a sweep looks like at one moment: a frozen snapshot that the driver makes.

Times are Unix seconds, durations seconds, scores percentages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TrialStatus = Literal["running", "finished", "pruned", "failed", "diverged"]
TrackingStatus = Literal["off", "starting", "current", "publishing", "behind"]


@dataclass(frozen=True)
class TrialView:
    """One trial of a sweep.

    Attributes:
        number: its place in the sweep's order of proposals; tells trials apart.
        name: for people, e.g. `lr=1e-4 α=0.2 · seed 1`.
        phase: `search`, `shortlist`, `confirm`, `replicate`, `single`.
        status: `running`, or how it ended.
        epoch: epochs done.
        epochs: epochs at most.
        value: best validation F1 so far, none before the first epoch.
        seconds: time that this driver spent on it; 0 for a cell found finished in the store.
        reused: found finished in the store, not trained by this driver.
        reason: why it failed or diverged.
        epoch_seconds: the part of `seconds` that its `epoch` epochs took, without one under way;
            none: all of them.
    """

    number: int
    name: str
    phase: str
    status: TrialStatus
    epoch: int
    epochs: int
    value: float | None = None
    seconds: float = 0.0
    reused: bool = False
    reason: str | None = None
    epoch_seconds: float | None = None

    @property
    def known_seconds(self) -> float:
        """Time of the epochs that are done."""
        return self.seconds if self.epoch_seconds is None else self.epoch_seconds


@dataclass(frozen=True)
class TrackingState:
    """How far MLflow follows the store.

    Attributes:
        status: `off` (no tracking), `starting`, `current`, `publishing`, or `behind`: MLflow does
            not answer, or refuses a run.
        uri: where, without credentials.
        pending: runs that MLflow does not yet show as the store has them.
        error: what MLflow said last, without credentials.
    """

    status: TrackingStatus
    uri: str = ""
    pending: int = 0
    error: str | None = None


@dataclass(frozen=True)
class SweepView:
    """A sweep at one moment.

    Attributes:
        sweep: its name.
        phase: `search`, `shortlist`, `confirm`, `replicate`, `single`, `done`.
        planned: trials per phase that the protocol asks for in all, in the order of the phases;
            an upper bound where a phase may end early.
        running: trials at work.
        ended: every trial that has ended, in the order in which they ended; it only grows.
        slots: trials that run at once.
        started_at: when this driver began.
        now: when this snapshot was taken.
        tracking: how far MLflow follows.
        message: one line about the driver's state (budget reached, waiting for resources), if any.
    """

    sweep: str
    phase: str
    planned: tuple[tuple[str, int], ...]
    running: tuple[TrialView, ...]
    ended: tuple[TrialView, ...]
    slots: int
    started_at: float
    now: float
    tracking: TrackingState = TrackingState("off")
    message: str | None = None

    @property
    def total(self) -> int:
        """Trials that the protocol asks for in all."""
        return sum(number for _, number in self.planned)

    @property
    def best(self) -> TrialView | None:
        """The trial with the highest validation F1 so far, the earliest of equals."""
        scored = [trial for trial in (*self.ended, *self.running) if trial.value is not None]
        scored = [trial for trial in scored if trial.status not in ("failed", "diverged")]
        return max(scored, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    def count(self, status: TrialStatus) -> int:
        """Trials that ended so, or that run."""
        if status == "running":
            return len(self.running)
        return sum(trial.status == status for trial in self.ended)
