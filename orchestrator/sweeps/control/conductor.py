"""The driver's brain: which cell next, what a report means, when to stop. It knows nothing of Ray.

An executor (`runner`) asks `next()` for work, hands over what trials report, and says when a trial
is gone. Cells found finished in the store are settled here, without a trial.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.search.protocol import Signal
from orchestrator.search.standings import Verdict
from orchestrator.store.address import StorageLost
from orchestrator.store.averages import test_metrics
from orchestrator.store.cells import Cell, CellStore
from orchestrator.store.lease import holder_of
from orchestrator.sweeps.control.budget import Budget
from orchestrator.sweeps.control.retention import Retention
from orchestrator.sweeps.control.reuse import Reuse, StalePolicy
from orchestrator.sweeps.control.run_writer import RunWriter
from orchestrator.sweeps.control.trial_report import Report
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import RunStatus

CLAIM_POLL_SECONDS = 5.0


@dataclass
class Running:
    """A trial at work.

    Attributes:
        event: Its proposal.
        report: What it said last.
        pruned: It was told to stop as too weak.
        began: When it was given to a trial, on the monotonic clock.
        curve: Best validation F1 so far after each epoch.
        lost_seconds: Time that processes took which were lost.
    """

    event: Proposed
    report: Report | None = None
    pruned: bool = False
    began: float = field(default_factory=time.monotonic)
    curve: list[float] = field(default_factory=list)
    lost_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Time that the trial has occupied its resources, as far as it has said so."""
        return self.lost_seconds + (0.0 if self.report is None else self.report.seconds)


@dataclass(eq=False)
class Conductor:
    """Conducts one sweep.

    Attributes:
        history: The sweep's record.
        cells: The store.
        code: Fingerprint of the present training code.
        stale: What to do with cells of other code.
        on_change: Told the keys of run documents that are new or have new epochs.
        running: Trials at work, by number.
        halted: Why the sweep stops before its end, if it does.
        message: What it waits for, if anything.
    """

    history: History
    cells: CellStore
    code: str
    stale: StalePolicy = "refuse"
    on_change: Callable[[str], None] = lambda key: None
    running: dict[int, Running] = field(default_factory=dict, init=False)
    halted: str | None = field(default=None, init=False)
    message: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._sweep = self.history.sweep
        self._reuse = Reuse(self.history, self.cells, self.code, self.stale)
        self._budget = Budget(self.history)
        self.documents = RunWriter(self.cells, self.history, self.on_change)
        self._retention = Retention(self.cells, self.history)
        self._waiting = [p.number for p in self.history.protocol.unfinished()]
        self._claim_checked = 0.0

    # What next ------------------------------------------------------------------------------

    def next(self) -> Proposed | Signal:
        """Work for a trial, or whether to wait or to stop.

        Raises:
            StaleCellsError: A cell of other code would be mixed in.
        """
        while True:
            if self._over_budget():
                return Signal.WAIT if self.running else Signal.DONE
            if not self._waiting:
                following = self.history.propose()
                if isinstance(following, Signal):
                    return following
                self._waiting.append(following.number)
            event = self.history.proposed[self._waiting[0]]
            end = self._refused(event)
            standing = "known" if end is not None else self._take(event)
            if standing == "held":
                return Signal.WAIT
            self._waiting.pop(0)
            if standing != "new":
                end = end or self._reuse.known_end(event)
            if end is None:
                self._assign(event, is_new=standing == "new")
                return event
            self._begin(event)
            self._end(event, end)

    def cell_of(self, event: Proposed) -> Cell:
        """The cell of a proposal."""
        return self.history.cell(event.values, event.seed)

    def _refused(self, event: Proposed) -> Ended | None:
        """The end of a setting that is no valid experiment."""
        reason = self.history.refusal(event.values)
        if reason is None:
            return None
        return Ended("failed", reason=reason, number=event.number, at=self.history.clock())

    def _take(self, event: Proposed) -> Literal["new", "known", "held"]:
        """Claim a cell that has not ended: whether the storage had it before.

        `held`: somebody works on the very cell, a trial of ours or another sweep.
        """
        if any(running.event.cell == event.cell for running in self.running.values()):
            return "held"
        now = time.monotonic()
        if now - self._claim_checked < CLAIM_POLL_SECONDS and self.message is not None:
            return "held"
        is_new = self.cells.register(self.cell_of(event))
        if not is_new and self.cells.status(event.cell) in ("finished", "diverged"):
            self.message = None
            return "known"
        other = self.cells.claim(event.cell, self._sweep.name)
        is_ours = other == self._sweep.name
        if not is_ours and holder_of(self.cells.store, other) is None:  # its driver is gone
            self.cells.release(event.cell)
            self.cells.claim(event.cell, self._sweep.name)
            is_ours = True
        if is_ours:
            self.message = None
            return "new" if is_new else "known"
        self._claim_checked = now
        self.message = f"waiting for cell {event.cell}, which sweep {other} trains"
        return "held"

    def _assign(self, event: Proposed, *, is_new: bool) -> None:
        if not is_new:
            self.cells.reopen(event.cell)
            self._reuse.refuses(event.cell, self.cells.codes(event.cell))
            self.cells.clear_orphans(event.cell, needs_weights=event.test)
        self.running[event.number] = Running(event)
        self._begin(event)

    def _begin(self, event: Proposed) -> None:
        self.documents.cell_started(event)

    # What trials say ------------------------------------------------------------------------

    def report(self, number: int, report: Report) -> bool:
        """Take note of what a trial says; whether to stop it."""
        running = self.running[number]
        self._take_note(running, report)
        if report.value is not None and report.epoch == len(running.curve) + 1:
            running.curve.append(report.value)
        self.on_change(self.documents.key_of(running.event))
        if running.event.phase == "search" and report.value is not None:
            is_weak = self._reuse.pruner.observe(number, report.epoch, report.value)
            running.pruned = is_weak and not report.complete
        return running.pruned or self._over_time()

    def complete(self, number: int, report: Report | None = None, error: bool = False) -> None:
        """Take note that a trial is gone.

        Args:
            number: Its proposal.
            report: What it said last, if that was not told before.
            error: Its process was lost again and again.

        Raises:
            StorageLost: It could not use the storage.
        """
        running = self.running.pop(number)
        if report is not None:
            self._take_note(running, report)
        last = running.report
        state = "running" if last is None else last.state
        if state == "stopped":
            raise StorageLost(last.reason if last else "")
        if state == "superseded":  # the cell's attempt is not ours to end
            self._put_back(running, "another process works on the cell")
        elif running.pruned:
            if last is not None:
                last.write_uncommitted(self.cells.run_store(running.event.cell))
            self._leave(running, "pruned")
        elif last is not None and state != "running":
            self._leave(running, state, last.reason)
        elif error:
            self._leave(running, "failed", self._loss(running.event.cell))
        else:
            self.cells.let_go(running.event.cell)
            self._put_back(running, self.halted or "stopped")

    def _put_back(self, running: Running, reason: str) -> None:
        event = running.event
        self._waiting.append(event.number)
        self.history.interrupted(event.number, running.seconds)
        self.documents.cell_interrupted(event, self.history.clock(), reason)

    def lost_for_memory(self, number: int) -> None:
        """Take note that the machine ran out of memory: trying again would only repeat it."""
        event, last = self.running[number].event, self.running[number].report
        epochs = self.cells.epochs(event.cell)
        epoch = 1 + max(len(epochs), 0 if last is None else last.epoch)
        peaks = [record["metrics"].get("peak_memory_mb", 0.0) for record in epochs]
        peak = f", peak {max(peaks):,.0f} MiB before" if any(peaks) else ""
        size = self._sweep.resolve(event.values).optimisation.batch_size
        self._fail(
            event.cell,
            f"out of memory in epoch {epoch}: batch size {size}{peak}; the machine ran "
            "out and killed the process; lower optimisation.batch_size, resources.max_concurrent "
            "or runtime.num_workers",
        )

    def interrupt(self, reason: str, status: RunStatus = "killed") -> None:
        """Let go of every running trial and give its document a final status.

        Args:
            reason: Why; what was running goes on when the sweep is taken up again.
            status: The final status of the sweep's own document.
        """
        for number, running in self.running.items():
            self.cells.let_go(running.event.cell)
            self.history.interrupted(number, running.seconds)
        self.running.clear()
        self.documents.close_open(status, self.history.clock(), reason)

    def _loss(self, key: str) -> str:
        summary = self.cells.summary(key)
        if summary is not None and summary["status"] == "failed":
            return str(summary["reason"])
        return self._fail(key, "its process was lost four times")

    def _fail(self, key: str, reason: str) -> str:
        self.cells.settle(key, "failed", {"reason": reason, "sweep": self._sweep.name})
        return reason

    @staticmethod
    def _take_note(running: Running, report: Report) -> None:
        if running.report is not None and report.seconds < running.report.seconds:
            running.lost_seconds += running.report.seconds  # a process in place of a lost one
        running.report = report

    def _leave(self, running: Running, status: Verdict, reason: str | None = None) -> None:
        """End a proposal whose trial is gone."""
        event, last = running.event, running.report
        summary = json.loads(last.verdict) if last is not None and last.verdict else None
        if summary is None and status in ("finished", "diverged"):
            summary = self.cells.summary(event.cell)
        codes = sorted(self.cells.codes(event.cell)) if summary is None else summary["codes"]
        end = Ended(
            status, reason=reason, number=event.number, at=self.history.clock(), codes=codes
        )
        if last is not None:
            end = replace(
                end,
                epoch=last.epoch,
                value=last.value,
                best_epoch=last.best_epoch,
                trained=last.trained,
                seconds=running.seconds,
                curve=running.curve,
                alignment=summary.get("alignment") if summary and status == "finished" else None,
            )
        self._end(event, end, summary, left=event.number)

    def _end(
        self,
        event: Proposed,
        end: Ended,
        summary: Mapping[str, Any] | None = None,
        left: int | None = None,
    ) -> None:
        if event.phase == "search":
            self._reuse.pruner.end(event.number)
        if event.test and end.status == "finished":
            end = replace(end, test_f1=test_metrics(self.cells, event.cell).get("test/f1"))

        def settle() -> None:
            self.documents.cell_ended(event, end, summary)
            self.cells.release(event.cell, self._retention.apply(left))

        self.history.end(end, settle)

    def _over_budget(self) -> bool:
        """Whether no further cell may start; `halted` says why."""
        self.halted = self.halted or self._budget.cells_are_up(len(self.running))
        return self._over_time() or self.halted is not None

    def _over_time(self) -> bool:
        """Whether running trials must stop, too."""
        reason = self._budget.time_is_up(running.seconds for running in self.running.values())
        self.halted = self.halted or reason
        return reason is not None
