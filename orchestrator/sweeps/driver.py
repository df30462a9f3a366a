"""The driver of a sweep: everything around the trials, and the same again when it is run again."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.cluster.nodes import check_code, check_storage, deliver
from orchestrator.cluster.parcels.delivery import delivered, find_data_root
from orchestrator.cluster.resources import (
    check_resources,
    idle,
    node_resources,
    wait_for_gpu,
)
from orchestrator.cluster.session import RayOptions, interruptible, ray_session
from orchestrator.cluster.watch import RayLostError, watched
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import StorageLost, absolute_uri, open_store, resolve_data_root
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cell_folder import STATUS
from orchestrator.store.cells import CellStore
from orchestrator.store.lease import Lease, LeaseLost
from orchestrator.store.sweep_folder import sweep_folder
from orchestrator.sweeps.checks.memory import with_gpu_share
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.control.reuse import StaleCellsError, StalePolicy, stale_message
from orchestrator.sweeps.record.declaration import declaration
from orchestrator.sweeps.record.event_log import Opened
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import Ending, SweepOutcome, champion_model, outcome_of
from orchestrator.sweeps.record.reading import reading
from orchestrator.sweeps.trials.cell_run import TRAINING
from orchestrator.sweeps.trials.runner import run_trials
from orchestrator.sweeps.views.markdown import note
from orchestrator.sweeps.views.progress import showing
from orchestrator.sweeps.views.snapshot import Snapshots, SweepView
from orchestrator.tracking.client.addresses import NO_TRACKING, resolve_tracking
from orchestrator.tracking.publisher import LAST_PUBLISHING_SECONDS, Publisher
from orchestrator.tracking.run_document import PARENT, RunStatus, read_run
from orchestrator.tracking.state import TrackingState
from shapca.config import RuntimeConfig
from shapca.errors import StorageError
from shapca.runs.code import code_fingerprint
from shapca.storage import FolderStore, ObjectStore

Attachments = tuple[dict[str, str], dict[str, str]]
MakeReport = Callable[[History, CellStore, SweepOutcome, str], Attachments]
"""From a sweep and the code's fingerprint to artifacts and tags of its run in MLflow."""
SECONDS_BETWEEN_VIEWS = 0.25
INTERRUPTED_PUBLISHING_SECONDS = 5.0


@dataclass(frozen=True)
class SweepOptions:
    """Where and how a sweep runs; nothing here changes a result.

    Attributes:
        storage: A folder, or a bucket (`s3://bucket/prefix`, `gs://`, `az://`).
        tracking_uri: MLflow's; None: SQLite under the storage; `none`: no tracking.
        data_root: Folder of the prepared data sets; None: as the sweep's file says.
        ray: How to reach Ray.
        stale: What to do with finished cells of other code.
        retry_failed: Try failed cells again.
    """

    storage: str = "storage"
    tracking_uri: str | None = None
    data_root: Path | None = None
    ray: RayOptions = field(default_factory=RayOptions)
    stale: StalePolicy = "refuse"
    retry_failed: bool = False


def run_sweep(
    sweep: SweepConfig,
    options: SweepOptions,
    *,
    report: MakeReport | None = None,
    training: str = TRAINING,
) -> SweepOutcome:
    """Run or resume a sweep: what the storage holds is never trained again.

    Args:
        sweep: The sweep's file.
        options: Where and how.
        report: Makes the report when the driver ends; None: no report.
        training: `module:function` that opens a cell's training.

    Raises:
        InputError: Bad input, before anything is trained: data or weights missing, another sweep
            of that name, a driver at work on it, resources that no node has, cells of other code.
        StorageLost: The storage failed: full, out of reach, or gone.
    """
    began = time.monotonic()
    storage = absolute_uri(options.storage)
    store = open_store(storage)
    data_root = resolve_data_root(options.data_root, sweep.runtime)
    data_root = find_data_root(store, sweep, data_root)
    runtime = sweep.runtime.model_copy(update={"data_root": data_root})
    publisher = publisher_of(store, sweep.name, storage, options.tracking_uri)
    sent = delivered(store, sweep.name)
    locate = None if sent is None else partial(sent.for_driver, store)
    factory = CellFactory(data_root, locate)
    declared = declaration(sweep, factory)
    with Lease(store, sweep.name) as lease:
        if isinstance(store, FolderStore):
            # What killed drivers and trials left half-written; in cells when they are taken up.
            for folder in (sweep_folder(sweep.name), STATUS):
                store.remove_leftovers(folder)
        with reading():
            history = History.begin(store, sweep, factory, declared)
            history.protocol.ranking()  # which is kept as well
        cells = CellStore(store)
        _prepare(history, cells, options)
        driver = _Driver(history, cells, publisher, lease, options, storage, runtime, began, report)
        if history.is_complete():
            return driver.conclude()
        return driver.drive(training)


def _prepare(history: History, cells: CellStore, options: SweepOptions) -> None:
    """Deal with what has become stale, and with failed cells that are to be tried again."""
    if history.sweep.configurations:
        history.follow_list(cells)
    history.protocol.check_seeds()
    stale = [] if options.stale == "accept" else history.stale(code_fingerprint())
    if stale and options.stale == "refuse":
        raise StaleCellsError(stale_message(history.sweep.name, stale, cells))
    if stale:
        history.restart(cells, stale)
    if options.retry_failed:
        history.retry_failed(cells)


def publisher_of(store: ObjectStore, name: str, storage: str, uri: str | None) -> Publisher | None:
    """What keeps MLflow in line with a sweep or study; None where nothing is to be tracked."""
    if uri == NO_TRACKING:
        return None
    return Publisher(store, name, name, resolve_tracking(uri, storage))


@dataclass
class _Driver:
    """One command's work on a sweep whose lease it holds."""

    history: History
    cells: CellStore
    publisher: Publisher | None
    lease: Lease
    options: SweepOptions
    storage: str
    runtime: RuntimeConfig
    began: float
    report: MakeReport | None

    def __post_init__(self) -> None:
        self.conductor = Conductor(
            self.history,
            self.cells,
            code=code_fingerprint(),
            stale=self.options.stale,
            on_change=(lambda key: None) if self.publisher is None else self.publisher.notify,
        )

    def conclude(self) -> SweepOutcome:
        """A sweep that is complete: nothing is started, unless MLflow lacks something of it."""
        parent = read_run(self.cells.store, self.history.sweep.name, PARENT)
        if parent is None or parent.status != "finished":
            self._open_documents()
            self._close_documents("finished", self._outcome())
        self._name_champion(self._outcome())
        if self.publisher is not None:
            self.publisher.publish_now()
        return self._outcome()

    def drive(self, training: str) -> SweepOutcome:
        """Work until the protocol is done, a budget is used up, or the user interrupts."""
        self.cells.note_code()
        self.history.open(str(self.lease.holder), code_fingerprint())
        try:
            with interruptible():
                self._work(training)
        except KeyboardInterrupt:
            return self._end("interrupted", "interrupted")
        except RayLostError as error:
            self._end("interrupted", str(error))
            raise
        except LeaseLost:
            raise  # the sweep is another driver's now, and so are its documents
        except (StorageError, StorageLost) as error:
            self._give_up(str(error), "killed")
            raise StorageLost(str(error)) from None
        except BaseException as error:
            self._give_up(f"the driver failed: {error}", "failed")
            raise
        if self.conductor.halted is not None and not self.history.is_complete():
            return self._end("budget", self.conductor.halted)
        return self._end("finished", None)

    def _leave(self, reason: str) -> None:
        """Leave the sweep in order from another thread, since the driver's own does not return."""
        self._give_up(reason, "killed")
        self.lease.release()

    def _give_up(self, reason: str, status: RunStatus) -> None:
        """Close the documents, as far as the storage allows: the error that led here matters."""
        with contextlib.suppress(StorageError):
            self.conductor.interrupt(reason, status)
            self._stop_publishing(INTERRUPTED_PUBLISHING_SECONDS)

    def _work(self, training: str) -> None:
        sweep = self.history.sweep
        with ray_session(self.options.ray):
            store, wait = self.cells.store, self.options.ray.wait_for_resources
            if sweep.resources.gpu == "auto":
                if wait:
                    wait_for_gpu(self.lease.check)
                locate = self.history.factory.locate
                sweep = with_gpu_share(sweep, self.runtime.data_root, locate)
                self.history.sweep = sweep
            nodes = node_resources()
            slots = check_resources(nodes, sweep.resources, wait=wait)
            if (unused := idle(nodes, sweep.resources)) is not None:
                print(f"note: {unused}", file=sys.stderr)
            check_storage(self.storage, store)
            check_code()
            delivery = deliver(sweep, store, self.runtime.data_root, more_to_come=wait)
            self._open_documents()
            if self.publisher is not None:
                self.publisher.start()
            snapshots = Snapshots(self.conductor, slots)
            is_local = self.options.ray.cluster is None
            with watched(is_local=is_local, before_farewell=self._leave), showing() as show:
                run_trials(
                    self.conductor,
                    sweep,
                    storage=self.storage,
                    runtime=self.runtime,
                    slots=slots,
                    on_change=self._now_and_then(show, snapshots),
                    check=self.lease.check,
                    training=training,
                    delivery=delivery,
                    lease=self.lease.number,
                )
                show(snapshots.take(self._tracking()))

    def _now_and_then(
        self, show: Callable[[SweepView], None], snapshots: Snapshots
    ) -> Callable[[], None]:
        """What shows the sweep when it is called, but not too often."""
        last, num_ended = 0.0, 0

        def show_again() -> None:
            nonlocal last, num_ended
            now, ended = time.monotonic(), len(self.history.ended)
            if ended > num_ended or now - last >= SECONDS_BETWEEN_VIEWS:
                show(snapshots.take(self._tracking()))
                last, num_ended = now, ended

        return show_again

    def _end(self, status: Ending, reason: str | None) -> SweepOutcome:
        is_urgent = status == "interrupted"
        if not is_urgent:  # what follows takes seconds, and longer on a busy machine
            print("the trials have ended: writing the report and the last runs", file=sys.stderr)
        self._open_documents()
        outcome = self._outcome(status, reason)
        if status == "finished":
            self._close_documents("finished", outcome)
            self._name_champion(outcome)
        else:
            self._close_documents("killed", outcome)
            self.conductor.interrupt(reason or status)
        patience = INTERRUPTED_PUBLISHING_SECONDS if is_urgent else LAST_PUBLISHING_SECONDS
        self._stop_publishing(patience)
        return self._outcome(status, reason)

    def _open_documents(self) -> None:
        opened = [event.at for event in self.history.log.events if isinstance(event, Opened)]
        self.conductor.documents.sweep_started(opened[0] if opened else time.time())

    def _close_documents(self, status: RunStatus, outcome: SweepOutcome) -> None:
        report = self.report and self.report(self.history, self.cells, outcome, code_fingerprint())
        artifacts, tags = report or ({}, {})
        self.conductor.documents.sweep_ended(
            status, time.time(), note(outcome, self.history.sweep), artifacts, tags
        )

    def _name_champion(self, outcome: SweepOutcome) -> None:
        """The finished sweep's model goes to MLflow's registry with its run."""
        model = champion_model(outcome)
        if model is not None:
            events = self.history.proposed.values()
            event = [event for event in events if event.cell == outcome.champion][-1]
            self.conductor.documents.name_champion(event, model)

    def _stop_publishing(self, patience: float) -> None:
        if self.publisher is not None:
            self.publisher.stop(patience)

    def _outcome(self, status: Ending = "finished", reason: str | None = None) -> SweepOutcome:
        return outcome_of(
            self.history,
            self.cells,
            status=status,
            reason=reason,
            seconds=time.monotonic() - self.began,
            storage=self.storage,
            tracking=self._tracking(),
        )

    def _tracking(self) -> TrackingState:
        return TrackingState("off") if self.publisher is None else self.publisher.state
