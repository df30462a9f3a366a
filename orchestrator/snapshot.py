"""From the conductor's state to what the progress view shows."""

from __future__ import annotations

import time
from dataclasses import replace

from orchestrator.conductor import Conductor, Running
from orchestrator.events import Ended
from orchestrator.naming import describe
from orchestrator.view import SweepView, TrackingState, TrialView


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
