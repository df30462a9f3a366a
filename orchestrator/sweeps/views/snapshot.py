"""What a sweep looks like at one moment: a frozen snapshot that the driver makes.

Times are Unix seconds, durations seconds, scores percentages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.config.naming import describe
from orchestrator.sweeps.control.conductor import Conductor, Running
from orchestrator.sweeps.record.event_log import Ended
from orchestrator.tracking.state import TrackingState

TrialStatus = Literal["running", "finished", "pruned", "failed", "diverged"]


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
    tracking: TrackingState = field(default=TrackingState("off"))
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


class Snapshots:
    """Takes snapshots of a sweep; trials that have ended are converted once.

    Args:
        conductor: Its state.
        slots: Trials at once.
    """

    def __init__(self, conductor: Conductor, slots: int) -> None:
        self._conductor = conductor
        self._slots = slots
        self._started_at = time.time()
        self._ended: list[TrialView] = []
        self._num_before = len(conductor.history.ended)

    def take(self, tracking: TrackingState) -> SweepView:
        """The sweep at this moment."""
        history, conductor = self._conductor.history, self._conductor
        ends = list(history.ended.values())
        self._ended += [
            self._ended_view(end, is_new=place >= self._num_before)
            for place, end in enumerate(ends[len(self._ended) :], start=len(self._ended))
        ]
        running = tuple(map(self._running_view, conductor.running.values()))
        return SweepView(
            sweep=history.sweep.name,
            phase=running[0].phase if running else self._phase(),
            planned=tuple(history.protocol.planned().items()),
            running=running,
            ended=tuple(self._ended),
            slots=self._slots,
            started_at=self._started_at,
            now=time.time(),
            tracking=tracking,
            message=conductor.halted or conductor.message,
        )

    def _phase(self) -> str:
        return self._ended[-1].phase if self._ended else "search"

    def _running_view(self, running: Running) -> TrialView:
        event, report = running.event, running.report
        view = TrialView(
            number=event.number,
            name=f"{describe(event.values)} · seed {event.seed}",
            phase=event.phase,
            status="running",
            epoch=0,
            epochs=running.epochs,
            seconds=time.monotonic() - running.began,
        )
        if report is None:
            return view
        return replace(view, epoch=report.epoch, value=report.value, epoch_seconds=report.seconds)

    def _ended_view(self, end: Ended, *, is_new: bool) -> TrialView:
        history = self._conductor.history
        event = history.proposed[end.number]
        config = history.sweep.resolve(event.values)
        return TrialView(
            number=event.number,
            name=f"{describe(event.values)} · seed {event.seed}",
            phase=event.phase,
            status=end.status,
            epoch=end.epoch,
            epochs=config.optimisation.epochs,
            value=end.value,
            seconds=end.seconds if is_new else 0.0,
            reused=not is_new or end.found,
            reason=end.reason,
        )
