"""A thin client of MLflow's runs; MLflow is imported late, since that takes seconds.

The tracking URI is always explicit and absolute, never taken from the environment. Requests give
up soon and are not retried here: whoever calls decides when to try again, so that nothing is sent
twice unseen.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.tracking.client.addresses import check_uri, redact
from orchestrator.tracking.client.environment import open_client
from orchestrator.tracking.client.names import key_of, value_of
from orchestrator.tracking.run_document import DatasetDocument
from shapca.errors import InputError

RUN_KEY = "shapca.run_key"
STORAGE = "shapca.storage"
NAME = "mlflow.runName"
NOTE = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"

MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000

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
    parent: str | None = None


class Tracking:
    """One MLflow store; it is opened when it is first asked for something.

    Args:
        uri: The tracking URI, see `check_uri`.

    Attributes:
        metric_calls: Calls so far that carried metrics.
        num_cut: Values so far that were longer than MLflow keeps, and were cut.

    Raises:
        InputError: the URI is of no use.
    """

    def __init__(self, uri: str) -> None:
        self.uri = check_uri(uri)
        self.metric_calls = 0
        self.num_cut = 0

    @cached_property
    def client(self) -> Any:
        """MLflow's own client, whose methods raise this module's two errors.

        Raises:
            TrackingUnavailableError: the store cannot be opened.
        """
        with translated():
            return _Translated(open_client(self.uri))

    def check(self) -> None:
        """Ask the store something small.

        Raises:
            TrackingUnavailableError: it does not answer, or refuses the credentials.
        """
        self.client.search_experiments(max_results=1)

    def experiment(self, name: str, artifacts: str | None = None) -> str:
        """Id of the experiment of this name, created if missing.

        Args:
            name: The experiment.
            artifacts: Where a new one keeps artifacts; None: MLflow decides.

        Raises:
            InputError: it was deleted in MLflow, which keeps its name taken.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None:
            # The kind makes MLflow open the experiment on its table of runs.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                return str(self.client.create_experiment(name, artifacts, tags))
            except TrackingRefusedError:  # another process may have made it meanwhile
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise InputError(
                f"MLflow experiment {name!r} was deleted: restore it (MLFLOW_TRACKING_URI="
                f"{shlex.quote(redact(self.uri))} mlflow experiments restore -x "
                f"{found.experiment_id}) or give the sweep another name"
            )
        return str(found.experiment_id)

    def tag_experiment(self, experiment: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment; that of key NOTE is the Markdown that stands on top of it."""
        for key, value in tags.items():
            self.client.set_experiment_tag(experiment, key, self._cut(value, MAX_TAG_LENGTH))

    def runs(self, experiment: str, storage: str) -> list[TrackedRun]:
        """The runs that a storage published to an experiment, the first ones begun first."""
        query, order = f"tags.`{STORAGE}` = '{storage}'", ["attributes.start_time ASC"]
        found: list[TrackedRun] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [experiment], query, max_results=1000, order_by=order, page_token=token
            )
            for run in page:
                key, parent = run.data.tags.get(RUN_KEY, ""), run.data.tags.get(PARENT_TAG)
                found.append(TrackedRun(run.info.run_id, key, run.info.status, parent))
            if not (token := page.token):
                return found

    def log(
        self,
        run_id: str,
        metrics: Sequence[MetricPoint] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, parameters and tags in as few calls as MLflow's limits allow.

        Logging the same again changes nothing: a metric's value, time and step identify it.

        Raises:
            TrackingRefusedError: MLflow refuses some of them; all others are logged.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(key_of(m.key), m.value, m.timestamp, m.step) for m in metrics]
        pairs = [
            Param(key_of(key), self._cut(str(value), MAX_PARAM_LENGTH))
            for key, value in (params or {}).items()
        ]
        labels = [
            RunTag(key_of(key), self._cut(value, MAX_TAG_LENGTH))
            for key, value in (tags or {}).items()
        ]
        refused: list[str] = []
        while points or pairs or labels:
            part_pairs, pairs = pairs[:MAX_PARAMS], pairs[MAX_PARAMS:]
            part_labels, labels = labels[:MAX_TAGS], labels[MAX_TAGS:]
            room = MAX_ENTITIES - len(part_pairs) - len(part_labels)
            part_points, points = points[:room], points[room:]
            self.metric_calls += bool(part_points)
            refused += self._log_part(run_id, [*part_points, *part_pairs, *part_labels])
        if refused:
            raise TrackingRefusedError("; ".join(refused))

    def _log_part(self, run_id: str, part: list[Any]) -> list[str]:
        """Log a batch, by halves where MLflow refuses it; why it refuses single ones.

        Raises:
            TrackingRefusedError: MLflow takes nothing for this run.
        """
        from mlflow.entities import Metric, Param, RunTag

        batch = [[item for item in part if type(item) is kind] for kind in (Metric, Param, RunTag)]
        try:
            self.client.log_batch(run_id, *batch, synchronous=True)
        except TrackingRefusedError as error:
            if len(part) == 1:
                return [f"{part[0].key}: {error}"]
            if self.client.get_run(run_id).info.lifecycle_stage != "active":
                raise  # a run that takes nothing: no part is tried
            middle = len(part) // 2
            return self._log_part(run_id, part[:middle]) + self._log_part(run_id, part[middle:])
        return []

    def set_status(self, run_id: str, status: str, ended_at: float | None = None) -> None:
        """Set a run's state; one that is not RUNNING ends at `ended_at` (Unix time in seconds)."""
        if status == "RUNNING":
            self.client.update_run(run_id, status=status)
        else:
            end = None if ended_at is None else milliseconds(ended_at)
            self.client.set_terminated(run_id, status, end)

    def log_artifact(self, run_id: str, path: str, content: bytes) -> None:
        """Write an artifact of a run, replacing one of the same path."""
        folder, _, file = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary, file)
            local.write_bytes(content)
            self.client.log_artifact(run_id, str(local), folder or None)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetDocument]) -> None:
        """Log data sets as inputs of a run; logging the same again changes nothing."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tag = InputTag("mlflow.data.context", "training")
        inputs = [
            DatasetInput(
                Dataset(one.name, one.digest, "local", one.source, one.schema, one.profile), [tag]
            )
            for one in datasets
        ]
        self.client.log_inputs(run_id, inputs)

    def _cut(self, value: str, length: int) -> str:
        self.num_cut += len(value) > length
        return value_of(value, length)


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever MLflow and the libraries below it raise into this module's two errors."""
    try:
        yield
    except (InputError, TrackingRefusedError, TrackingUnavailableError):
        raise
    except Exception as error:
        code = getattr(error, "error_code", None)
        message = redact(" ".join(str(error).split()))[:500]
        if code in _REFUSALS:
            raise TrackingRefusedError(message) from None
        raise TrackingUnavailableError(message or type(error).__name__) from None


class _Translated:
    """MLflow's client, whose methods raise this module's two errors."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return translated()(getattr(self._client, name))


def milliseconds(seconds: float) -> int:
    """Unix time as MLflow counts it."""
    return round(seconds * 1000)
