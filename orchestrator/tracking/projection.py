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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.store.cells import CellStore
from orchestrator.store.forms import IdentityForm
from orchestrator.store.sweep_folder import PUBLISHED, in_sweep
from orchestrator.tracking.client.addresses import default_artifacts, redact
from orchestrator.tracking.client.client import (
    MAX_PARAM_LENGTH,
    NAME,
    NOTE,
    PARENT_TAG,
    MetricPoint,
    Tracking,
    TrackingRefusedError,
)
from orchestrator.tracking.client.names import key_of, value_of
from orchestrator.tracking.client.saved_views import RUN_TYPE, views
from orchestrator.tracking.figures import epoch_points, figure_points
from orchestrator.tracking.journal import (
    Entry,
    Journal,
    Plan,
    document_digest,
    figures_digest,
    inputs_digest,
)
from orchestrator.tracking.provenance import CONFIG, config_yaml
from orchestrator.tracking.run_document import PARENT, RunDocument, read_run, read_runs
from orchestrator.tracking.run_index import RunIndex
from shapca.storage import FolderStore, ObjectStore, digest, read_json, to_json

if TYPE_CHECKING:
    from orchestrator.tracking.models.registry import Registry

_KINDS = ("sweep", "configuration", "cell")


class Projection:
    """Brings the runs of one sweep into one MLflow experiment.

    A new experiment keeps its artifacts beside a SQLite database, in the storage folder, or where
    the tracking server wants them.

    Args:
        store: The storage.
        sweep: Name of the sweep.
        experiment: Name of the MLflow experiment.
        uri: Where MLflow keeps its runs.

    Attributes:
        tracking: The client.

    Raises:
        InputError: the URI is of no use.
    """

    def __init__(self, store: ObjectStore, sweep: str, experiment: str, uri: str) -> None:
        self.tracking = Tracking(uri)
        uri = self.tracking.uri
        self._artifacts = default_artifacts(
            uri, store.root if isinstance(store, FolderStore) else None
        )
        self._store = store
        self._cells = CellStore(store)
        self._sweep = sweep
        self._experiment = experiment
        self._folder = in_sweep(sweep, PUBLISHED)
        self._journal = Journal(store, f"{self._folder}/{digest(redact(uri))[:12]}")

    @cached_property
    def _runs(self) -> RunIndex:
        experiment = self.tracking.experiment(self._experiment, self._artifacts)
        return RunIndex(self.tracking, experiment, self.identity(), self._journal)

    @cached_property
    def _registry(self) -> Registry:
        from orchestrator.tracking.models.registry import Registry

        return Registry(self.tracking)

    def check_experiment(self) -> None:
        """Make sure that runs are not refused because of their experiment.

        Raises:
            InputError: it was deleted in MLflow.
        """
        self.tracking.experiment(self._experiment, self._artifacts)

    def identity(self) -> str:
        """What tells this storage's runs from another's in the same experiment, drawn once."""
        name = f"{self._folder}/storage.json"
        self._store.put_new(name, to_json({"id": uuid.uuid4().hex}))
        record = read_json(self._store, name, IdentityForm)
        assert record is not None
        return str(record["id"])

    def documents(self, keys: Iterable[str] | None = None) -> list[RunDocument]:
        """Run documents, parents before their children.

        Args:
            keys: Of which runs; None: of all.
        """
        if keys is None:
            found = list(read_runs(self._store, self._sweep).values())
        else:
            read = (read_run(self._store, self._sweep, key) for key in keys)
            found = [document for document in read if document is not None]
        return sorted(found, key=lambda d: (_KINDS.index(d.kind), d.started_at, d.key))

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
            TrackingRefusedError: MLflow refuses this run or a part of it; all else was sent, its
                state too.
        """
        document, tracking = plan.document, self.tracking
        if document.parent is not None and plan.parent is None:
            raise TrackingRefusedError(
                f"run {document.key}: the run above it, {document.parent}, is not in MLflow"
            )
        entry, is_new = plan.entry, False
        if plan.outdated is not None:
            self._runs.delete(document.key, plan.outdated)
        if entry is None:
            run_id, is_new = self._runs.ensure(document.key, document.name, document.started_at)
            entry = Entry(run_id)
        points: list[MetricPoint] = []
        if metrics or not document.is_running:
            points = list(epoch_points(plan.records))
            if plan.records:
                last = plan.records[-1]
                entry = replace(entry, epochs=last["epoch"], last_epoch_at=last["finished_at"])
            if plan.has_figures:
                ended = document.started_at if document.ended_at is None else document.ended_at
                points += figure_points(document.metrics, ended)
                entry = replace(entry, figures=figures_digest(document))
        if plan.is_changed:
            params, tags = self._new_params(document, entry, is_new=is_new)
            refusals: list[str] = []
            with _noted(refusals):
                labels = _tags(document, plan.parent, is_new=is_new) | tags
                tracking.log(entry.run_id, points, params, labels)
            for key in set(entry.tags) - set(document.tags):
                with suppress(TrackingRefusedError):  # it is not there
                    tracking.client.delete_tag(entry.run_id, key_of(key))
            inputs = inputs_digest(document)
            if inputs not in (None, entry.inputs):
                with _noted(refusals):
                    tracking.log_inputs(entry.run_id, document.datasets)
            artifacts: Mapping[str, str] = {}
            with _noted(refusals):
                artifacts = self._publish_artifacts(document, entry)
            entry = replace(
                entry,
                parent=plan.parent,
                document=document_digest(document),
                params=digest(dict(document.params)),
                tags=sorted(document.tags),
                artifacts=artifacts,
                inputs=inputs,
            )
            if document.kind == "sweep":
                about = {view.tag: view.content for view in views(document.varied)}
                about |= {NOTE: document.note} if document.note else {}
                tracking.tag_experiment(self._runs.experiment, about)
            if not (is_new and document.is_running):  # a new run is RUNNING already
                tracking.set_status(entry.run_id, document.status.upper(), document.ended_at)
            if document.model is not None and document.cell is not None:
                cell, experiment = self._cells.run_store(document.cell), self._runs.experiment
                with _noted(refusals):
                    version = self._registry.ensure(
                        document.model, cell, experiment, entry.run_id, self.identity()
                    )
                    if (above := self._journal.entry(PARENT)) is not None:
                        self._registry.show(
                            document.model, cell, experiment, above.run_id, self.identity()
                        )
                    entry = replace(entry, model=str(version.version))
            if refusals:
                # Runs below this one need its id; all else of it is sent again the next time.
                known = Entry(entry.run_id, entry.parent, tags=entry.tags, artifacts=artifacts)
                self._journal.write(document.key, known)
                raise TrackingRefusedError("; ".join(refusals))
        else:
            tracking.log(entry.run_id, points)
        self._journal.write(document.key, entry)

    def audit(self) -> tuple[int, int]:
        """Compare MLflow's runs with the journal, so that `plan` knows what MLflow lost.

        Duplicates (a creation whose answer was lost) go to MLflow's bin, runs without a document
        that still run are ended, and the journals of runs that are gone or in another state than
        they should be are forgotten.

        Returns:
            Duplicates removed; runs without a document ended.
        """
        runs, num_duplicates = self._runs.load()
        documents = {document.key: document for document in self.documents()}
        num_ended = 0
        for key, run in runs.items():
            if key not in documents and run.status == "RUNNING":
                self.tracking.log(run.run_id, tags={"orphaned": "true"})
                self.tracking.set_status(run.run_id, "KILLED")
                num_ended += 1
        for key, document in documents.items():
            entry = self._journal.entry(key)
            if entry is None:
                continue
            tracked = runs.get(key)
            if tracked is None or tracked.run_id != entry.run_id:
                self._journal.forget(key)
            elif (
                tracked.status != document.status.upper()
                or tracked.parent != entry.parent
                or self._lost_model(document, entry)
            ):
                self._journal.write(key, replace(entry, document=None))
        return num_duplicates, num_ended

    def _lost_model(self, document: RunDocument, entry: Entry) -> bool:
        """Whether the registered version of a run's model was deleted in MLflow."""
        if document.model is None or entry.model is None:
            return False
        return not self._registry.has(document.model.name, entry.model)

    def forget(self, key: str) -> None:
        """Take a run's journal away: it is looked for in MLflow, or made, and sent whole."""
        self._journal.forget(key)
        self.disconnect()

    def disconnect(self) -> None:
        """Take nothing for granted after an error: a creation may or may not have happened."""
        self.__dict__.pop("_runs", None)
        self._journal.read_again()

    def _new_params(
        self, document: RunDocument, entry: Entry, *, is_new: bool
    ) -> tuple[Mapping[str, str], dict[str, str]]:
        """Parameters to log, and tags for those that MLflow would not let change."""
        if entry.params == digest(dict(document.params)):
            return {}, {}
        logged = {} if is_new else self.tracking.client.get_run(entry.run_id).data.params
        new = {key: value for key, value in document.params.items() if key_of(key) not in logged}
        changed = {
            f"changed.{key}": value
            for key, value in document.params.items()
            if key not in new and logged[key_of(key)] != value_of(value, MAX_PARAM_LENGTH)
        }
        return new, changed

    def _publish_artifacts(self, document: RunDocument, entry: Entry) -> dict[str, str]:
        published = dict(entry.artifacts)

        def log(path: str, content: bytes) -> None:
            content_digest = hashlib.sha256(content).hexdigest()[:16]
            if published.get(path) != content_digest:
                self.tracking.log_artifact(entry.run_id, path, content)
                published[path] = content_digest

        if document.config:
            log(CONFIG, config_yaml(document.config))
        for path, name in document.artifacts.items():
            if path.startswith("/") or ".." in path.split("/"):
                raise TrackingRefusedError(f"run {document.key}: {path!r} leads out of the run")
            content = self._store.get(name)
            if content is None:
                raise TrackingRefusedError(f"run {document.key}: {name} is not in the storage")
            log(path, content)
        return published


@contextmanager
def _noted(refusals: list[str]) -> Iterator[None]:
    """Note why MLflow refuses a part of a run, and go on with the others."""
    try:
        yield
    except TrackingRefusedError as error:
        refusals.append(str(error))


def _tags(document: RunDocument, parent: str | None, *, is_new: bool) -> dict[str, str]:
    optional = {
        NAME: None if is_new else document.name,  # it was created with it, and changing it is slow
        "cell": document.cell,
        RUN_TYPE[0]: None if document.parent is None else RUN_TYPE[1],  # unfolds the run above
        PARENT_TAG: parent,
        NOTE: document.note,
    }
    tags = {key: value for key, value in optional.items() if value is not None}
    return {**document.tags, "kind": document.kind, "mlflow.source.name": "orchestrator", **tags}
