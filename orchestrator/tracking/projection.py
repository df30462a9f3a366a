"""MLflow as a projection of the store: run documents and epoch records become runs and metrics.

Every step may be repeated: a run is found again by its tags, a metric is identified by its time,
step and value, and a journal beside the documents says what MLflow already has. So a publisher
that is killed anywhere, or two at once, leave nothing double and nothing behind.

Layout: sweeps/<sweep>/published/storage.json              who we are in MLflow
        sweeps/<sweep>/published/<hash of URI>/<run>.json  journal of one run
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.store.cells import CellStore
from orchestrator.store.sweep_folder import PUBLISHED, in_sweep
from orchestrator.tracking.client.addresses import check_uri, default_artifacts, redact
from orchestrator.tracking.client.client import (
    NAME,
    NOTE,
    PARENT_TAG,
    MetricPoint,
    RunState,
    Tracking,
    TrackingRefusedError,
    cut_param,
)
from orchestrator.tracking.client.saved_views import RUN_TYPE, VIEWS
from orchestrator.tracking.journal import Entry, Journal, Plan, document_digest
from orchestrator.tracking.run_document import RunDocument, RunStatus, read_run, read_runs
from orchestrator.tracking.run_index import RunIndex
from shapca.storage import FolderStore, ObjectStore, digest, read_json, to_json

if TYPE_CHECKING:
    from orchestrator.tracking.models.registry import Registry

STATES: dict[RunStatus, RunState] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "killed": "KILLED",
    "failed": "FAILED",
}
_ORDER = {"sweep": 0, "configuration": 1, "cell": 2}


class Projection:
    """Brings the runs of one sweep into one MLflow experiment.

    Args:
        store: The storage.
        sweep: Name of the sweep.
        experiment: Name of the MLflow experiment.
        uri: Where MLflow keeps its runs.
        artifacts: Where a new experiment keeps its artifacts; None: beside a SQLite database, in
            the storage folder, or where the tracking server wants them.

    Raises:
        InputError: the URI is of no use.
    """

    def __init__(
        self,
        store: ObjectStore,
        sweep: str,
        experiment: str,
        uri: str,
        *,
        artifacts: str | None = None,
    ) -> None:
        self.uri = check_uri(uri)
        folder = store.root if isinstance(store, FolderStore) else None
        self._artifacts = artifacts or default_artifacts(self.uri, folder)
        self._store = store
        self._cells = CellStore(store)
        self._sweep = sweep
        self._experiment = experiment
        self._folder = in_sweep(sweep, PUBLISHED)
        self._journal = Journal(store, f"{self._folder}/{digest(redact(self.uri))[:12]}")
        self._tracking: Tracking | None = None
        self._runs: RunIndex | None = None
        self._registry: Registry | None = None

    @property
    def metric_calls(self) -> int:
        """Calls so far that carried metrics."""
        return 0 if self._tracking is None else self._tracking.metric_calls

    @property
    def num_cut(self) -> int:
        """Values so far that were longer than MLflow keeps, and were cut."""
        return 0 if self._tracking is None else self._tracking.num_cut

    def identity(self) -> str:
        """What tells this storage's runs from another's in the same experiment, drawn once."""
        name = f"{self._folder}/storage.json"
        self._store.put_new(name, to_json({"id": uuid.uuid4().hex}))
        return str((read_json(self._store, name) or {})["id"])

    def documents(self) -> list[RunDocument]:
        """All run documents, parents before their children."""
        documents = read_runs(self._store, self._sweep).values()
        return sorted(documents, key=lambda d: (_ORDER[d.kind], d.started_at, d.key))

    def document(self, key: str) -> RunDocument | None:
        """One run document."""
        return read_run(self._store, self._sweep, key)

    def plan(self, document: RunDocument) -> Plan:
        """What MLflow lacks of a run; MLflow is not asked."""
        return self._journal.plan(document, self._cells)

    def publish(self, plan: Plan, *, metrics: bool = True) -> None:
        """Send what a plan says.

        Args:
            plan: What the run lacks.
            metrics: Send epochs and final figures too. A run that has ended needs them before its
                state may be set.

        Raises:
            TrackingUnavailableError: MLflow does not answer; what was sent may be sent again.
            TrackingRefusedError: MLflow refuses this run.
        """
        document = plan.document
        tracking, runs = self._connect()
        if plan.is_orphan:
            raise TrackingRefusedError(
                f"run {document.key}: its parent {document.parent} has no document"
            )
        metrics = metrics or plan.is_terminal
        entry, is_new = plan.entry, False
        if plan.outdated is not None:
            runs.delete(document.key, plan.outdated)
        if entry is None:
            run_id, is_new = runs.ensure(
                document.key, document.name, _tags(document, plan.parent), document.started_at
            )
            entry = Entry(run_id)
        points: list[MetricPoint] = []
        if metrics:
            points = _epoch_points(plan.records)
            if plan.records:
                last = plan.records[-1]
                entry = replace(entry, epochs=last["epoch"], last_epoch_at=last["finished_at"])
            if plan.has_figures:
                points += self._figures(document, entry.epochs)
                entry = replace(entry, figures=digest(dict(document.metrics)))
        params: Mapping[str, str] = {}
        tags: dict[str, str] = {}
        if plan.is_changed:
            params, changed = self._new_params(document, entry, is_new=is_new)
            tags = changed if is_new else {**_tags(document, plan.parent), **changed}
        tracking.log(entry.run_id, points, params, tags)
        if plan.is_changed:
            for key in set(entry.tags) - set(document.tags):
                tracking.delete_tag(entry.run_id, key)
            entry = replace(entry, artifacts=self._publish_artifacts(document, entry))
            if document.kind == "sweep":
                for view in VIEWS:
                    tracking.save_view(runs.experiment, view)
                if document.note:
                    tracking.describe_experiment(runs.experiment, document.note)
            if plan.is_terminal or not is_new:  # a new run is RUNNING already
                tracking.set_status(entry.run_id, STATES[document.status], document.ended_at)
            if document.model is not None:
                entry = replace(entry, model=self._publish_model(document, entry))
            entry = replace(
                entry,
                parent=plan.parent,
                document=document_digest(document),
                params=digest(dict(document.params)),
                tags=tuple(sorted(document.tags)),
            )
        self._journal.write(document.key, entry)

    def audit(self) -> tuple[int, int]:
        """Compare MLflow's runs with the journal, so that `plan` knows what MLflow lost.

        Duplicates (a creation whose answer was lost) go to MLflow's bin, runs without a document
        that still run are ended, and the journals of runs that are gone or in another state than
        they should be are forgotten.

        Returns:
            Duplicates removed; runs without a document ended.
        """
        tracking, index = self._connect()
        runs, num_duplicates = index.load()
        documents = {document.key: document for document in self.documents()}
        num_ended = 0
        for key, run in runs.items():
            if key not in documents and run.status == "RUNNING":
                tracking.log(run.run_id, tags={"orphaned": "true"})
                tracking.set_status(run.run_id, "KILLED")
                num_ended += 1
        for key, document in documents.items():
            entry = self._journal.entry(key)
            if entry is None:
                continue
            tracked = runs.get(key)
            if tracked is None or tracked.run_id != entry.run_id:
                self._journal.forget(key)
            elif (tracked.status, tracked.parent) != (
                STATES[document.status],
                entry.parent,
            ) or self._lost_model(document, entry):
                self._journal.write(key, replace(entry, document=None))
        return num_duplicates, num_ended

    def _lost_model(self, document: RunDocument, entry: Entry) -> bool:
        """Whether the registered version of a run's model was deleted in MLflow."""
        model = document.model
        if model is None or entry.model is None:
            return False
        return not self._models().has(model.name, entry.model)

    def forget(self, key: str) -> None:
        """Take a run's journal away: it is looked for in MLflow, or made, and sent whole."""
        self._journal.forget(key)
        self.disconnect()

    def disconnect(self) -> None:
        """Take nothing for granted after an error: a creation may or may not have happened."""
        if self._runs is not None:
            self._runs.reset()

    def _connect(self) -> tuple[Tracking, RunIndex]:
        if self._tracking is None:
            self._tracking = Tracking(self.uri)
        if self._runs is None:
            experiment = self._tracking.experiment(self._experiment, self._artifacts)
            self._runs = RunIndex(self._tracking, experiment, self.identity(), self._journal)
        return self._tracking, self._runs

    def _new_params(
        self, document: RunDocument, entry: Entry, *, is_new: bool
    ) -> tuple[Mapping[str, str], dict[str, str]]:
        """Parameters to log, and tags for those that MLflow would not let change."""
        if entry.params == digest(dict(document.params)):
            return {}, {}
        logged = {} if is_new else self._connect()[0].params(entry.run_id)
        new = {key: value for key, value in document.params.items() if key not in logged}
        changed = {
            f"changed.{key}": value
            for key, value in document.params.items()
            if key in logged and logged[key] != cut_param(value)
        }
        return new, changed

    def _figures(self, document: RunDocument, epochs: int) -> list[MetricPoint]:
        """Final figures: at the last epoch, when the run ended.

        MLflow's table shows the last value of a series, and the selected epoch is rarely the last:
        a figure that is also a series goes out as `<name>_best`.
        """
        series: Mapping[str, float] = {}
        if document.cell is not None and epochs:
            series = self._cells.epochs(document.cell, epochs)[0]["metrics"]
        ended = document.started_at if document.ended_at is None else document.ended_at
        return [
            MetricPoint(f"{key}_best" if key in series else key, value, round(ended * 1000), epochs)
            for key, value in document.metrics.items()
        ]

    def _publish_artifacts(self, document: RunDocument, entry: Entry) -> dict[str, str]:
        published = dict(entry.artifacts)
        for path, name in document.artifacts.items():
            if path.startswith("/") or ".." in path.split("/"):
                raise TrackingRefusedError(f"run {document.key}: {path!r} leads out of the run")
            content = self._store.get(name)
            if content is None:
                raise TrackingRefusedError(f"run {document.key}: {name} is not in the storage")
            content_digest = hashlib.sha256(content).hexdigest()[:16]
            if published.get(path) != content_digest:
                self._connect()[0].log_artifact(entry.run_id, path, content)
                published[path] = content_digest
        return published

    def _publish_model(self, document: RunDocument, entry: Entry) -> str:
        """Register the model of a run's cell; its version."""
        assert document.model is not None
        assert document.cell is not None
        _, runs = self._connect()
        cell = self._cells.run_store(document.cell)
        found = self._models().ensure(
            document.model, cell, runs.experiment, entry.run_id, self.identity()
        )
        return found.version

    def _models(self) -> Registry:
        if self._registry is None:
            from orchestrator.tracking.models.registry import Registry

            self._registry = Registry(self.uri)
        return self._registry


def _tags(document: RunDocument, parent: str | None) -> dict[str, str]:
    tags = {**document.tags, NAME: document.name, "kind": document.kind}
    tags["mlflow.source.name"] = "orchestrator"
    if document.parent is not None:
        tags[RUN_TYPE[0]] = RUN_TYPE[1]  # unfolds the run above
    if document.cell is not None:
        tags["cell"] = document.cell
    if parent is not None:
        tags[PARENT_TAG] = parent
    if document.note is not None:
        tags[NOTE] = document.note
    return tags


def _epoch_points(records: Sequence[Mapping[str, Any]]) -> list[MetricPoint]:
    return [
        MetricPoint(key, value, round(record["finished_at"] * 1000), record["epoch"])
        for record in records
        for key, value in record["metrics"].items()
    ]
