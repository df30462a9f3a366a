"""MLflow's database in a storage: moved, under odd names, and whatever the environment says."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from orchestrator.tracking.client.addresses import (
    check_uri,
    database_file,
    resolve_tracking,
    sqlite_uri,
)
from orchestrator.tracking.client.client import MetricPoint, Tracking, TrackingRefusedError
from orchestrator.tracking.client.environment import follow_storage
from orchestrator.tracking.publisher import Publisher, SyncReport
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.publishing import finished, parent, runs, trial, write, write_epochs


def texts(database: Path) -> list[str]:
    """All texts in all tables of a database."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(query)]
        rows = [row for name in tables for row in connection.execute(f'SELECT * FROM "{name}"')]
    return [value for row in rows for value in row if isinstance(value, str)]


def published(folder: Path, template: Path) -> FolderStore:
    """A storage with a run of two epochs and an artifact, in MLflow."""
    store = FolderStore(folder)
    store.put("cells/a/evaluations/test.json", b"{}")
    write_epochs(store, "a", 1, 2)
    artifacts = {"evaluations/test.json": "cells/a/evaluations/test.json"}
    write(store, finished(parent(), metrics={}), finished(trial("a"), artifacts=artifacts))
    shutil.copy(template, folder / "mlflow.db")
    assert publish(folder).refused == {}
    return store


def publish(folder: Path) -> SyncReport:
    """As a command of its own would, without what MLflow remembers in this process."""
    utils._artifact_repos_cache.clear()
    uri = resolve_tracking(None, str(folder))
    return Publisher(FolderStore(folder), "tiny", "tiny", uri).reconcile()


@pytest.mark.parametrize("copied", [False, True])
def test_a_moved_storage_is_used_where_it_is(
    tmp_path: Path, mlflow_template: Path, copied: bool
) -> None:
    old, new = tmp_path / "old", tmp_path / "new place"
    store = published(old, mlflow_template)
    before = sorted(old.rglob("*"))
    if copied:
        shutil.copytree(old, new)
    else:
        old.rename(new)
    store = FolderStore(new)
    store.put("cells/a/evaluations/test.json", b'{"changed": 1}')
    write(store, finished(trial("b"), artifacts={"new.json": "cells/a/evaluations/test.json"}))
    assert publish(new).refused == {}
    assert sorted(old.rglob("*")) == (before if copied else [])
    assert [text for text in texts(new / "mlflow.db") if f"{old}/" in text] == []
    client = MlflowClient(resolve_tracking(None, str(new)))
    for run in runs(resolve_tracking(None, str(new)), "tiny").values():
        assert run.info.artifact_uri.startswith((new / "mlartifacts").as_uri())
        for artifact in client.list_artifacts(run.info.run_id):
            assert not artifact.is_dir or client.list_artifacts(run.info.run_id, artifact.path)
    files = [path.name for path in (new / "mlartifacts").rglob("*") if path.is_file()]
    assert sorted(files) == ["new.json", "test.json"]
    assert not follow_storage(new / "mlflow.db")


def test_a_database_that_is_not_a_storages_stays_as_it_is(
    tmp_path: Path, mlflow_template: Path
) -> None:
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    assert not follow_storage(tmp_path / "mlflow.db")
    assert f"file://{tmp_path}/mlartifacts/0" not in texts(tmp_path / "mlflow.db")


@pytest.mark.parametrize("name", ["My%20Project", "a?b", "h#x", "é ü"])
def test_the_database_of_an_oddly_named_storage_lies_in_it(
    name: str, tmp_path: Path, mlflow_template: Path
) -> None:
    folder = tmp_path / name
    uri = resolve_tracking(None, str(folder))
    assert check_uri(uri) == uri
    assert database_file(uri) == folder / "mlflow.db"
    assert check_uri(sqlite_uri(folder / "m.db")) == sqlite_uri(folder / "m.db")
    published(folder, mlflow_template)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "mlartifacts").is_dir()
    assert len(runs(uri, "tiny")) == 2


def test_an_experiment_that_another_process_makes_meanwhile_is_used(mlflow_uri: str) -> None:
    tracking = Tracking(mlflow_uri)
    client = tracking.client
    look = client.get_experiment_by_name

    def look_then_be_overtaken(name: str) -> object:
        found = look(name)
        if found is None:
            MlflowClient(mlflow_uri).create_experiment(name)
        return found

    client.get_experiment_by_name = look_then_be_overtaken
    made = tracking.experiment("raced")
    assert made == MlflowClient(mlflow_uri).get_experiment_by_name("raced").experiment_id


def test_what_mlflow_refuses_is_told_though_the_environment_wants_it_later(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    tracking = Tracking(mlflow_uri)
    experiment = tracking.experiment("late")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")  # the client turned it off
    run = tracking.client.create_run(experiment).info.run_id
    with pytest.raises(TrackingRefusedError):
        tracking.log(run, [MetricPoint("ok", float("nan"), -(2**70), 1)])
    tracking.log(run, [MetricPoint("ok", 1.0, 1, 1)])
    assert MlflowClient(mlflow_uri).get_run(run).data.metrics == {"ok": 1.0}


def test_a_deleted_experiment_is_said_to_be_the_reason(
    tmp_path: Path, mlflow_template: Path
) -> None:
    store = published(tmp_path, mlflow_template)
    uri = resolve_tracking(None, str(tmp_path))
    publisher = Publisher(store, "tiny", "tiny", uri)
    write(store, finished(trial("c")))
    deleted = MlflowClient(uri).get_experiment_by_name("tiny").experiment_id
    publisher._projection._runs  # noqa: B018 - it was found before it is deleted
    MlflowClient(uri).delete_experiment(deleted)
    remedy = rf"deleted: restore it \(MLFLOW_TRACKING_URI={uri} mlflow experiments restore"
    with pytest.raises(InputError, match=remedy):
        publisher.reconcile()
