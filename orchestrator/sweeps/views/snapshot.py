"""What a sweep looks like at one moment: a frozen snapshot that the driver makes.

Times are Unix seconds, durations seconds, scores percentages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from orchestrator.sweeps.control.conductor import Conductor, Running
from orchestrator.sweeps.record.event_log import Ended, ended_since
from orchestrator.sweeps.record.trial_view import TrialStatus, TrialView, trial_view
from orchestrator.tracking.state import TrackingState


@dataclass(frozen=True)
class SweepView:
    """A sweep at one moment.

    Attributes:
        sweep: Its name.
        phase: `search`, `shortlist`, `confirm`, `replicate`, `single`, `done`.
        planned: Trials per phase that the protocol asks for in all, in the order of the phases;
            an upper bound where a phase may end early.
        running: Trials at work.
        ended: Every trial that has ended, in the order in which they ended; it only grows.
        slots: Trials that run at once.
        started_at: When this driver began.
        now: When this snapshot was taken.
        tracking: How far MLflow follows.
        message: One line about the driver's state (budget reached, waiting for resources), if any.
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


@dataclass
class Snapshots:
    """Takes snapshots of a sweep; trials that have ended are converted once.

    Attributes:
        conductor: Its state.
        slots: Trials at once.
    """

    conductor: Conductor
    slots: int

    def __post_init__(self) -> None:
        self._started_at = time.time()
        self._ended: list[TrialView] = []
        self._num_before = len(self.conductor.history.ended)

    def take(self, tracking: TrackingState) -> SweepView:
        """The sweep at this moment."""
        history, conductor = self.conductor.history, self.conductor
        num_known = len(self._ended)
        self._ended += [
            self._ended_view(end, is_new=place >= self._num_before)
            for place, end in enumerate(ended_since(history.ended, num_known), start=num_known)
        ]
        running = tuple(map(self._running_view, conductor.running.values()))
        newest = (*running, *self._ended[-1:])
        return SweepView(
            sweep=history.sweep.name,
            phase=newest[0].phase if newest else "search",
            planned=tuple(history.protocol.planned().items()),
            running=running,
            ended=tuple(self._ended),
            slots=self.slots,
            started_at=self._started_at,
            now=time.time(),
            tracking=tracking,
            message=conductor.halted or conductor.message,
        )

    def _running_view(self, running: Running) -> TrialView:
        view = trial_view(self.conductor.history, running.event)
        view = replace(view, seconds=time.monotonic() - running.began)
        report = running.report
        if report is None:
            return view
        return replace(view, epoch=report.epoch, value=report.value, epoch_seconds=report.seconds)

    def _ended_view(self, end: Ended, *, is_new: bool) -> TrialView:
        """An ended trial; one that ended before this driver began has cost it nothing."""
        history = self.conductor.history
        view = trial_view(history, history.proposed[end.number], end)
        return view if is_new else replace(view, seconds=0.0, found=True)
