"""The one thread that writes to MLflow: it follows the store; no outage reaches the driver.

Metrics go out in batches. A run needs one call that carries metrics when it ends; calls before that
are made only as far as all calls together stay below one per EPOCHS_PER_CALL epoch reports, or
when nothing was sent for `idle_seconds`, so that a slow sweep can still be watched. While MLflow
does not answer, attempts back off and work waits in the store, not in memory.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.tracking.client.addresses import redact
from orchestrator.tracking.client.client import TrackingRefusedError, TrackingUnavailableError
from orchestrator.tracking.journal import Plan
from orchestrator.tracking.projection import Projection
from orchestrator.tracking.state import TrackingState, TrackingStatus
from shapca.errors import InputError
from shapca.storage import ObjectStore

# The last thing sent is a model, as large as its weights; an outage ends the waiting at once.
LAST_PUBLISHING_SECONDS = 300.0
EPOCHS_PER_CALL = 10


@dataclass
class SyncReport:
    """What `Publisher.reconcile` did.

    Attributes:
        num_runs: Runs that the sweep has.
        num_published: Runs that MLflow lacked or had otherwise.
        num_epochs: Epoch records sent.
        num_duplicates: Runs that MLflow had twice, now in its bin.
        num_ended: Runs without a document that MLflow took for running, now ended.
        num_cut: Values longer than MLflow keeps, cut.
        refused: Run key → why MLflow refuses it.
    """

    num_runs: int = 0
    num_published: int = 0
    num_epochs: int = 0
    num_duplicates: int = 0
    num_ended: int = 0
    num_cut: int = 0
    refused: dict[str, str] = field(default_factory=dict)


class Publisher:
    """Keeps MLflow in line with a sweep's documents and its cells' epoch records.

    Args:
        store: The storage.
        sweep: Name of the sweep.
        experiment: Name of the MLflow experiment.
        tracking_uri: Where MLflow keeps its runs.

    Attributes:
        state: How far MLflow follows, for the progress view; may be read from any thread.
        idle_seconds: Send waiting epochs when nothing was sent for so long.
        gather_seconds: Wait so long after news for more of it.
        first_retry: Seconds before the first new attempt in an outage; doubled at each.
        last_retry: Seconds between attempts at most.

    Raises:
        InputError: the tracking URI is of no use. Nothing is contacted here.
    """

    idle_seconds = 60.0
    gather_seconds = 1.0
    first_retry = 1.0
    last_retry = 60.0

    def __init__(self, store: ObjectStore, sweep: str, experiment: str, tracking_uri: str) -> None:
        self._projection = Projection(store, sweep, experiment, tracking_uri)
        self._tracking = self._projection.tracking
        self._uri = redact(self._tracking.uri)
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._dirty: set[str] = set()  # keys with news, guarded by the lock
        self.state = TrackingState("starting", self._uri)
        # The thread's own.
        self._is_first = True
        self._refused: dict[str, str] = {}
        self._epochs_seen: dict[str, int] = {}
        self._num_epochs_seen = 0
        self._last_send = 0.0

    @property
    def metric_calls(self) -> int:
        """Calls so far that carried metrics."""
        return self._tracking.metric_calls

    def reconcile(self) -> SyncReport:
        """Bring MLflow wholly into line, in this thread; doing it again changes nothing.

        Raises:
            TrackingUnavailableError: MLflow does not answer; what was sent stays sent.
            TrackingRefusedError: MLflow refuses all of it.
            InputError: the experiment was deleted in MLflow.
        """
        num_duplicates, num_ended = self._projection.audit()
        # MLflow makes thousands of objects a run; what its import left need not be looked through
        # again and again for garbage (a sixth of the time).
        gc.freeze()
        report = SyncReport(num_duplicates=num_duplicates, num_ended=num_ended)
        for document in self._projection.documents():
            report.num_runs += 1
            plan = self._projection.plan(document)
            if plan.is_nothing:
                continue
            try:
                self._projection.publish(plan)
            except TrackingRefusedError as error:
                self._projection.check_experiment()
                report.refused[document.key] = str(error)
            else:
                report.num_published += 1
                report.num_epochs += len(plan.records)
        report.num_cut = self._tracking.num_cut
        return report

    def pending(self) -> list[str]:
        """Keys of the runs that MLflow does not yet show as the store has them; asks the store."""
        projection = self._projection
        return [
            document.key
            for document in projection.documents()
            if not projection.plan(document).is_nothing
        ]

    def start(self) -> None:
        """Begin to follow the store in a thread of its own."""
        self._last_send = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mlflow-publisher", daemon=True)
        self._thread.start()

    def notify(self, *keys: str) -> None:
        """Say that run documents, or epochs of their cells, are new. Returns at once.

        Args:
            keys: Keys of the documents.
        """
        with self._lock:
            self._dirty.update(keys)
        self._news.set()

    def stop(self, timeout: float = 30.0) -> TrackingState:
        """Send what waits, then end the thread.

        Args:
            timeout: Seconds to wait for it; what is not sent by then is left to `sync`.

        Returns:
            How far MLflow followed: `current`, or `behind` with the number of runs.
        """
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None
        if pending := len(self.pending()):
            error = self.state.error or f"not done within {timeout:g} s"
            self._set_state("behind", pending, error)
        else:
            self._set_state("current")
        return self.state

    def publish_now(self) -> TrackingState:
        """Send what MLflow lacks, and wait for it; nothing is contacted where it lacks nothing."""
        if self.pending():
            self.start()
        return self.stop(LAST_PUBLISHING_SECONDS)

    def _run(self) -> None:
        retry = self.first_retry
        while True:
            is_last = self._stopping.is_set()
            self._news.clear()
            with self._lock:
                keys, self._dirty = self._dirty, set()
            try:
                waiting = self._round(keys, is_last=is_last)
            except Exception as error:  # the driver must not suffer: report it and try again
                self._give_back(keys)
                self._projection.disconnect()
                self._set_state("behind", self._count_pending(), _message(error))
                if is_last:
                    return
                self._stopping.wait(retry * random.uniform(0.75, 1.25))
                retry = min(2 * retry, self.last_retry)
                continue
            retry = self.first_retry
            if self._refused:
                key, reason = next(iter(self._refused.items()))
                self._set_state("behind", len(self._refused), f"{key}: {reason}")
            else:
                self._set_state("publishing" if waiting else "current", len(waiting))
            if is_last:
                return
            self._give_back(waiting)
            self._news.wait(self.idle_seconds / 2 if waiting else None)
            self._stopping.wait(self.gather_seconds)

    def _round(self, keys: set[str], *, is_last: bool) -> list[str]:
        """Publish what is due; the keys whose epochs wait for company."""
        projection = self._projection
        if self._is_first and self.pending():
            projection.audit()  # before any trial of this driver: what a dead one left is ended
        waiting = []
        for document in projection.documents(None if self._is_first or is_last else keys):
            plan = projection.plan(document)  # one by one: it needs the run above published
            if plan.is_nothing:
                continue
            self._count_epochs(plan)
            has_ended = not document.is_running
            send = is_last or has_ended or (bool(plan.records) and self._may_send())
            if plan.is_changed or send:
                calls = self.metric_calls
                self._publish(plan, send)
                if self.metric_calls > calls:
                    self._last_send = time.monotonic()
            if plan.has_metrics and not send:
                waiting.append(document.key)
        self._is_first = False
        return waiting

    def _publish(self, plan: Plan, metrics: bool) -> None:
        """Publish one run; where MLflow refuses, once more as if nothing of it was known."""
        projection, key = self._projection, plan.document.key
        try:
            try:
                projection.publish(plan, metrics=metrics)
            except TrackingRefusedError:
                projection.forget(key)
                projection.publish(projection.plan(plan.document), metrics=metrics)
        except TrackingRefusedError as error:
            self._refused[key] = str(error)
        else:
            self._refused.pop(key, None)

    def _may_send(self) -> bool:
        """Whether a call before a run's end is within the allowance."""
        if time.monotonic() - self._last_send >= self.idle_seconds:
            return True
        owed = len(self._epochs_seen)  # each run that is not done will need a call at its end
        return (self.metric_calls + owed + 1) * EPOCHS_PER_CALL <= self._num_epochs_seen

    def _count_epochs(self, plan: Plan) -> None:
        key, published = plan.document.key, 0 if plan.entry is None else plan.entry.epochs
        num_epochs = published + len(plan.records)
        self._num_epochs_seen += num_epochs - self._epochs_seen.get(key, published)
        if plan.document.is_running:
            self._epochs_seen[key] = num_epochs
        else:
            self._epochs_seen.pop(key, None)

    def _give_back(self, keys: Iterable[str]) -> None:
        with self._lock:
            self._dirty.update(keys)

    def _count_pending(self) -> int:
        try:
            return len(self.pending())
        except Exception:  # the store fails too: what is known to wait
            with self._lock:
                return len(self._dirty)

    def _set_state(
        self, status: TrackingStatus, pending: int = 0, error: str | None = None
    ) -> None:
        self.state = TrackingState(status, self._uri, pending, error)


def _message(error: Exception) -> str:
    if isinstance(error, TrackingUnavailableError | InputError):
        return str(error)
    # All that MLflow raises is one of those two: this comes from where the sweep's record is.
    return f"the storage, not MLflow, fails: {type(error).__name__}: {redact(str(error))}"
