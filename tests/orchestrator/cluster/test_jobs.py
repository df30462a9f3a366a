"""Submission to a cluster that is not there, or that only keeps its books: see test_cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.job_submission
import yaml

from orchestrator.cli import app
from orchestrator.cluster.jobs import OUR_KEY, Cluster
from shapca.errors import InputError
from tests.orchestrator.fakes import sweep_config
from tests.orchestrator.servers import free_port


class Books:
    """A job server that only notes what was submitted."""

    def __init__(self, address: str) -> None:
        self.details: list[Any] = []
        self.environments: list[Any] = []
        self.entrypoints: list[str] = []

    def list_jobs(self) -> list[Any]:
        return self.details

    def submit_job(
        self, *, entrypoint: str, submission_id: str, metadata: dict[str, str], runtime_env: Any
    ) -> None:
        if any(detail.submission_id == submission_id for detail in self.details):
            raise RuntimeError(f"Job with submission_id {submission_id} already exists")
        self.entrypoints.append(entrypoint)
        self.environments.append(runtime_env)
        self.note(submission_id, metadata)

    def note(self, submission_id: str, metadata: Any, status: str = "RUNNING") -> None:
        self.details.append(
            SimpleNamespace(
                submission_id=submission_id, metadata=metadata, status=status, message="",
                driver_exit_code=None, start_time=1000 * len(self.details),
            )
        )  # fmt: skip


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    kept = Books("")
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", lambda address: kept)
    return kept


def test_a_dead_attempt_is_followed_by_another_and_a_living_one_by_none(
    books: Books, tmp_path: Path
) -> None:
    cluster = Cluster("http://127.0.0.1:1")
    books.note("somebody-elses", {}), books.note("sweep-a-0", {OUR_KEY: "a"}, "FAILED")
    books.note("sweep-a-00-2", {OUR_KEY: "a", "attempt": "2"})  # of another storage
    first = cluster.submit("sweep-a-1", "a", ["python", "x y"], tmp_path)
    assert (first.id, first.attempt, first.status) == ("sweep-a-1", 1, "RUNNING")
    assert books.entrypoints == ["python 'x y'"]
    assert cluster.submit("sweep-a-1", "a", ["python"], tmp_path) == first
    assert len(books.entrypoints) == 1
    for attempt, end in ((2, "FAILED"), (3, "STOPPED"), (4, "SUCCEEDED")):
        books.details[-1].status = end
        job = cluster.submit("sweep-a-1", "a", ["python"], tmp_path)
        assert (job.id, job.attempt) == (f"sweep-a-1-{attempt}", attempt)
    assert [job.attempt for job in cluster.jobs("sweep-a-1")] == [1, 2, 3, 4]
    assert len(cluster.jobs()) == 6
    assert books.environments[0]["working_dir"] == str(tmp_path)
    with pytest.raises(InputError, match="no such sweep"):
        cluster.job("somebody-elses")


def test_two_who_submit_at_once_get_one_job(books: Books, tmp_path: Path) -> None:
    cluster = Cluster("http://127.0.0.1:1")
    submit, seen = books.submit_job, cluster.jobs

    def faster(**arguments: Any) -> None:
        submit(**arguments)
        submit(**arguments)  # the other's came first: ours is refused

    books.submit_job = faster  # type: ignore[method-assign]
    job = cluster.submit("sweep-a-1", "a", ["python"], tmp_path)
    assert job.id == "sweep-a-1"
    assert len(seen()) == 1


def test_no_server_and_no_address_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--address: expected the cluster's job server"):
        Cluster()
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")  # what is named goes before it
    port = free_port()
    with pytest.raises(InputError, match="no job server of Ray answers there") as caught:
        Cluster(f"http://me:secret@127.0.0.1:{port}")
    assert str(port) in str(caught.value)
    assert "secret" not in str(caught.value)


def space_of(folder: Path) -> Path:
    path = folder / "space.yaml"
    tree = sweep_config().model_dump(mode="json", exclude_unset=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_overrides_and_credentials_stand_on_no_command_line(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["submit", str(space_of(tmp_path)), "--address", "http://127.0.0.1:1"]
    arguments += ["--storage", str(tmp_path / "storage"), "--no-wait"]
    secret = "experiment.text.encoder=https://me:secret@hub/bert"
    app(args=[*arguments, "--set", secret, "--retry-failed"], standalone_mode=False)
    [entrypoint] = books.entrypoints
    assert "secret" not in entrypoint + capsys.readouterr().out
    assert entrypoint.startswith("python -m orchestrator sweep sweep.yaml --storage ")
    assert entrypoint.endswith(" --retry-failed")
    with pytest.raises(InputError, match="takes no credentials") as caught:
        app(
            args=[*arguments, "--tracking-uri", "http://me:secret@mlflow:5000"],
            standalone_mode=False,
        )
    assert "secret" not in str(caught.value)
    app(args=arguments, standalone_mode=False)
    assert "is already at work" in capsys.readouterr().out


def test_status_and_stop_find_what_was_submitted(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, storage = str(space_of(tmp_path)), str(tmp_path / "storage")
    where = ["--address", "http://127.0.0.1:1"]
    app(args=["status", *where], standalone_mode=False)
    assert capsys.readouterr().out == "no sweep was submitted to this cluster\n"
    submit = ["submit", space, *where, "--storage", storage, "--no-wait"]
    app(args=submit, standalone_mode=False)
    [detail] = books.details
    capsys.readouterr()
    app(args=["status", *where], standalone_mode=False)
    assert f"{detail.submission_id}: small, attempt 1, running" in capsys.readouterr().out
    # Its storage may be out of reach from here: then only the job is shown.
    app(args=["status", space, *where, "--storage", storage], standalone_mode=False)
    shown = capsys.readouterr().out
    assert f"{detail.submission_id}: running" in shown
    assert "its results cannot be seen from here" in shown
    detail.status = "FAILED"
    app(args=["stop", *where, "--submission", detail.submission_id], standalone_mode=False)
    assert capsys.readouterr().out == f"{detail.submission_id}: failed already\n"
    with pytest.raises(InputError, match="not submitted to this cluster with storage /elsewhere"):
        app(args=["stop", "small", *where, "--storage", "/elsewhere"], standalone_mode=False)
    with pytest.raises(InputError, match="storage /elsewhere: no such folder"):
        app(args=["status", "--storage", "/elsewhere"], standalone_mode=False)
