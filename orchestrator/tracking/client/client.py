"""A thin client of MLflow's runs; MLflow is imported late, since that takes seconds.

The tracking URI is always explicit and absolute, never taken from the environment. Requests give
up soon and are not retried here: whoever calls decides when to try again, so that nothing is sent
twice unseen.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.tracking.client.addresses import check_uri, redact
from orchestrator.tracking.client.environment import prepare_sqlite, set_environment, silence
from orchestrator.tracking.client.saved_views import SavedView
from shapca.errors import InputError

RUN_KEY = "shapca.run_key"
STORAGE = "shapca.storage"
NAME = "mlflow.runName"
NOTE = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
CUT = "… (cut)"

RunState = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]

_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


class TrackingUnavailableError(Exception):
    """MLflow does not answer, or not for the time being: try again later."""


class TrackingRefusedError(Exception):
    """MLflow answered that it will not do this; trying again will not help."""


@dataclass(frozen=True)
class MetricPoint:
    """One value of one metric: `timestamp` in milliseconds of Unix time, `step` in epochs."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow has it."""

    run_id: str
    key: str
    status: str
    started_at: int
    parent: str | None = None


class Tracking:
    """Runs of one MLflow store.

    Args:
        uri: The tracking URI, see `check_uri`.

    Raises:
        InputError: the URI is of no use.
        TrackingUnavailableError: the store does not answer.
    """

    def __init__(self, uri: str) -> None:
        self.uri = check_uri(uri)
        self.metric_calls = 0
        self.num_cut = 0
        set_environment()
        with translated():
            if self.uri.startswith("sqlite:"):
                prepare_sqlite(Path(self.uri.removeprefix("sqlite:///")))
            from mlflow import MlflowClient

            silence()
            self._client: Any = MlflowClient(tracking_uri=self.uri)

    def check(self) -> None:
        """Ask the store something small.

        Raises:
            TrackingUnavailableError: it does not answer, or refuses the credentials.
        """
        with translated():
            self._client.search_experiments(max_results=1)

    def experiment(self, name: str, artifacts: str | None = None) -> str:
        """Id of the experiment of this name, created if missing.

        Args:
            name: The experiment.
            artifacts: Where a new one keeps artifacts; None: MLflow decides.

        Raises:
            InputError: it was deleted in MLflow, which keeps its name taken.
        """
        with translated():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                # The kind makes MLflow open the experiment on its table of runs.
                tags = {"mlflow.experimentKind": "custom_model_development"}
                return str(self._client.create_experiment(name, artifacts, tags))
        if found.lifecycle_stage != "active":
            raise InputError(
                f"MLflow experiment {name!r} was deleted: restore it "
                f"(mlflow experiments restore -x {found.experiment_id}) or give the sweep another "
                "name"
            )
        return str(found.experiment_id)

    def describe_experiment(self, experiment: str, note: str) -> None:
        """Set the Markdown that MLflow shows on top of an experiment."""
        with translated():
            self._client.set_experiment_tag(experiment, NOTE, self._cut(note, MAX_TAG_LENGTH))

    def save_view(self, experiment: str, view: SavedView) -> None:
        """Keep a view of an experiment's runs with it."""
        with translated():
            self._client.set_experiment_tag(experiment, view.tag, view.content)

    def runs(self, experiment: str, storage: str) -> list[TrackedRun]:
        """The runs that a storage published to an experiment."""
        query = f"tags.`{STORAGE}` = '{storage}'"
        found: list[TrackedRun] = []
        token: str | None = None
        while True:
            with translated():
                page = self._client.search_runs(
                    [experiment], query, max_results=1000, page_token=token
                )
            found += [
                TrackedRun(
                    run.info.run_id,
                    run.data.tags.get(RUN_KEY, ""),
                    run.info.status,
                    run.info.start_time or 0,
                    run.data.tags.get(PARENT_TAG),
                )
                for run in page
            ]
            token = page.token
            if not token:
                return found

    def create_run(
        self, experiment: str, name: str, tags: Mapping[str, str], started_at: float
    ) -> str:
        """Create a run in state RUNNING; its id.

        Args:
            experiment: Id of the experiment.
            name: For people.
            tags: RUN_KEY and STORAGE among them, so that the run can be found again.
            started_at: Unix time in seconds.
        """
        shown = {key: self._cut(value, MAX_TAG_LENGTH) for key, value in tags.items()}
        with translated():
            run = self._client.create_run(
                experiment, start_time=_milliseconds(started_at), tags=shown, run_name=name
            )
        return str(run.info.run_id)

    def params(self, run_id: str) -> dict[str, str]:
        """The parameters that MLflow has for a run."""
        with translated():
            return dict(self._client.get_run(run_id).data.params)

    def log(
        self,
        run_id: str,
        metrics: Sequence[MetricPoint] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, parameters and tags in as few calls as MLflow's limits allow.

        Logging the same again changes nothing: a metric's value, time and step identify it.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(_key(m.key), m.value, m.timestamp, m.step) for m in metrics]
        pairs = [
            Param(_key(key), self._cut(str(value), MAX_PARAM_LENGTH))
            for key, value in (params or {}).items()
        ]
        labels = [
            RunTag(key, self._cut(value, MAX_TAG_LENGTH)) for key, value in (tags or {}).items()
        ]
        while points or pairs or labels:
            part_pairs, pairs = pairs[:MAX_PARAMS], pairs[MAX_PARAMS:]
            part_labels, labels = labels[:MAX_TAGS], labels[MAX_TAGS:]
            room = min(MAX_METRICS, MAX_ENTITIES - len(part_pairs) - len(part_labels))
            part_points, points = points[:room], points[room:]
            self.metric_calls += bool(part_points)
            with translated():
                self._client.log_batch(run_id, part_points, part_pairs, part_labels)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run."""
        with translated():
            self._client.delete_tag(run_id, key)

    def set_status(self, run_id: str, status: RunState, ended_at: float | None = None) -> None:
        """Set a run's state; one that is not RUNNING ends at `ended_at` (Unix time in seconds)."""
        with translated():
            if status == "RUNNING":
                self._client.update_run(run_id, status=status)
            else:
                end = None if ended_at is None else _milliseconds(ended_at)
                self._client.set_terminated(run_id, status, end)

    def delete_run(self, run_id: str) -> None:
        """Put a run into MLflow's bin."""
        with translated():
            self._client.delete_run(run_id)

    def log_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Write an artifact of a run, replacing one of the same path."""
        folder, _, file = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary, file)
            local.write_bytes(content)
            with translated():
                self._client.log_artifact(run_id, str(local), folder or None)

    def _cut(self, value: str, length: int) -> str:
        self.num_cut += len(value) > length
        return _cut(value, length)


def cut_param(value: str) -> str:
    """A parameter's value as MLflow keeps it."""
    return _cut(value, MAX_PARAM_LENGTH)


def _cut(value: str, length: int) -> str:
    return value if len(value) <= length else value[: length - len(CUT)] + CUT


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever MLflow and the libraries below it raise into this module's two errors."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        code = getattr(error, "error_code", None)
        message = redact(" ".join(str(error).split()))[:500]
        if code in _REFUSALS:
            raise TrackingRefusedError(message) from None
        raise TrackingUnavailableError(message or type(error).__name__) from None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _key(name: str) -> str:
    """The name with what MLflow does not allow in a key replaced."""
    return re.sub(r"[^/\w.\- :]", "_", name)[:250]
