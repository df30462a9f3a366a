from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.client.addresses import (
    check_uri,
    default_artifacts,
    redact,
    resolve_tracking,
    server_command,
)
from orchestrator.tracking.client.client import (
    MetricPoint,
    Tracking,
    TrackingRefusedError,
    TrackingUnavailableError,
)
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.run_index import RunIndex
from shapca.errors import InputError
from shapca.storage import FolderStore


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@host:5432/db", "postgresql://***@host:5432/db"),
        ("http://me:p@ss:word@host/x", "http://***@host/x"),
        ("no answer from 'https://token@host/a'!", "no answer from 'https://***@host/a'!"),
        ("mysql://h/d?user=me&password=s3cret&x=1", "mysql://h/d?user=***&password=***&x=1"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
        ("mail me@host.org", "mail me@host.org"),
        ("http://h/a?access_token=s3cret&x=1", "http://h/a?access_token=***&x=1"),
        ("https://h/a?X-Amz-Signature=s3cret", "https://h/a?X-Amz-Signature=***"),
        ("postgresql://h/d?sslpassword=s3cret", "postgresql://h/d?sslpassword=***"),
        ("{'Authorization': 'Basic bWU6czNjcmV0'}", "{'Authorization': 'Basic ***'}"),
        ("http://h/a?monkeys=3&page=2", "http://h/a?monkeys=***&page=2"),  # rather too much
    ],
)  # fmt: skip
def test_redact_hides_credentials_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_check_uri_makes_a_database_file_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_uri("sqlite:///some/m.db") == f"sqlite:///{tmp_path}/some/m.db"
    assert check_uri("http://host:5000/") == "http://host:5000"
    pytest.importorskip("psycopg2")
    assert check_uri("postgresql://me:s3@h/db") == "postgresql+psycopg2://me:s3@h/db"
    assert resolve_tracking(None, "store") == f"sqlite:///{tmp_path}/store/mlflow.db"


@pytest.mark.parametrize(
    "uri",
    ["file:///tmp/mlruns", "mlruns", "/tmp/mlruns", "sqlite://", "sqlite:///:memory:", "http:", ""],
)
def test_check_uri_refuses_what_mlflow_cannot_serve(uri: str) -> None:
    with pytest.raises(InputError, match="expected"):
        check_uri(uri)


def test_a_refused_uri_shows_no_credentials() -> None:
    with pytest.raises(InputError) as refusal:
        check_uri("ftp://me:s3cret@host/x")
    assert "s3cret" not in str(refusal.value)


def test_a_missing_database_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"psycopg2 is missing .*shap-ca\[postgres\]"):
        check_uri("postgresql://me:s3cret@host/db")


def test_artifacts_lie_beside_the_database_or_where_the_server_wants_them(tmp_path: Path) -> None:
    assert default_artifacts(f"sqlite:///{tmp_path}/m.db", None) == f"file://{tmp_path}/mlartifacts"
    assert default_artifacts("http://host", tmp_path) is None
    assert default_artifacts("postgresql://h/d", tmp_path) == f"file://{tmp_path}/mlartifacts"
    with pytest.raises(InputError, match="mlflow server"):
        default_artifacts("postgresql://h/d", None)


def test_object_storage_needs_an_explicit_tracking_uri() -> None:
    with pytest.raises(InputError, match="--tracking-uri"):
        resolve_tracking(None, "s3://bucket/sweeps")


def test_the_servers_command_line_shows_no_credentials() -> None:
    command, environment = server_command("postgresql://me:s3cret@host/db", 5001)
    assert "s3cret" not in " ".join(command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:s3cret@host/db"
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = (
        "import sys, orchestrator.tracking.client.client, orchestrator.tracking.publisher; "
        "sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_created_once_and_keeps_what_it_is_told(mlflow_uri: str, tmp_path: Path) -> None:
    tracking = Tracking(mlflow_uri)
    experiment = tracking.experiment("one", (tmp_path / "artifacts").as_uri())
    assert tracking.experiment("one") == experiment
    journal = Journal(FolderStore(tmp_path), "journal")
    mine, yours = (RunIndex(tracking, experiment, name, journal) for name in ("me", "you"))
    first, is_new = mine.ensure("k", "a run", 5)
    assert is_new
    assert mine.ensure("k", "a run", 5) == (first, False)
    mine = RunIndex(tracking, experiment, "me", journal)
    assert mine.ensure("k", "a run", 5) == (first, False)
    assert yours.ensure("k", "a run", 5)[0] != first

    points = [MetricPoint("val/f1", 50.0, 1000, 1), MetricPoint("val/f1", 60.0, 2000, 2)]
    for _ in range(2):  # the second time changes nothing
        tracking.log(first, points, {"lr": "1e5"}, {"phase": "search"})
    tracking.log_artifact(first, "reports/a.txt", b"hello")
    tracking.set_status(first, "KILLED", 7.5)

    client = MlflowClient(tracking_uri=mlflow_uri)
    run = client.get_run(first)
    assert run.data.params == {"lr": "1e5"}
    assert [p.value for p in client.get_metric_history(first, "val/f1")] == [50.0, 60.0]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("KILLED", 5000, 7500)
    assert [a.path for a in client.list_artifacts(first, "reports")] == ["reports/a.txt"]
    assert run.data.tags["phase"] == "search"


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    database = tmp_path / "storage" / "mlflow.db"
    Tracking(f"sqlite:///{database}").check()
    assert database.stat().st_mode & 0o077 == 0
    assert database.parent.stat().st_mode & 0o077 == 0


def test_a_database_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.db import utils

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(utils, "_upgrade_db", die)  # after the first tables were made
    with pytest.raises(Killed):
        Tracking(f"sqlite:///{tmp_path}/new/mlflow.db").check()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"x" * 5000)
    with pytest.raises(TrackingUnavailableError, match="not a database"):
        Tracking(f"sqlite:///{database}").check()


def test_batches_stay_within_mlflows_limits_and_long_values_are_cut(mlflow_uri: str) -> None:
    tracking = Tracking(mlflow_uri)
    run = tracking.client.create_run(tracking.experiment("big")).info.run_id
    points = [MetricPoint(f"m&{n % 30}", float(n), n, n // 30) for n in range(2100)]
    params = {f"p{n}": "x" * (7000 if n == 0 else 1) for n in range(130)}
    tracking.log(run, points, params, {f"t{n}": "y" for n in range(120)})
    assert tracking.metric_calls == 3
    assert tracking.num_cut == 1
    data = MlflowClient(tracking_uri=mlflow_uri).get_run(run).data
    assert len(data.params) == 130
    assert data.params["p0"].endswith("(cut)")
    assert data.metrics["m_0x26_29"] == 2099.0


def test_what_mlflow_refuses_costs_nothing_else(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.client.client.key_of", lambda name: name)
    tracking = Tracking(mlflow_uri)
    run = tracking.client.create_run(tracking.experiment("odd")).info.run_id
    points = [MetricPoint(name, 1.0, 0, 0) for name in ("a", "b(", "c", "../d", "e")]
    with pytest.raises(TrackingRefusedError) as refused:
        tracking.log(run, points, {f"p{n}": "x" * 6000 for n in range(100)} | {"p//": "1"},
                     {f"t{n}": "y" * 8000 for n in range(100)})  # fmt: skip
    assert [said.partition(":")[0] for said in str(refused.value).split("; ")] == [
        "b(", "../d", "p//",
    ]  # fmt: skip
    data = MlflowClient(tracking_uri=mlflow_uri).get_run(run).data
    assert sorted(data.metrics) == ["a", "c", "e"]
    assert sorted(data.params) == sorted(f"p{n}" for n in range(100))
    assert {f"t{n}" for n in range(100)} <= set(data.tags)


def test_a_run_that_takes_nothing_is_not_asked_part_by_part(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(mlflow_uri)
    run = tracking.client.create_run(tracking.experiment("gone")).info.run_id
    tracking.client.delete_run(run)
    asked = []
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(
        MlflowClient, "log_batch", lambda *a, **k: (asked.append(a), log_batch(*a, **k))
    )
    with pytest.raises(TrackingRefusedError, match="must be in the 'active' state"):
        tracking.log(run, tags={f"t{n}": "y" for n in range(90)})
    assert len(asked) == 1


def test_a_refusal_and_an_outage_are_told_apart(mlflow_uri: str) -> None:
    with pytest.raises(TrackingRefusedError, match="not found"):
        Tracking(mlflow_uri).log("0" * 32, tags={"a": "b"})
    nobody = Tracking("http://me:s3cret@127.0.0.1:9")  # the discard port: nothing listens
    with pytest.raises(TrackingUnavailableError) as outage:
        nobody.experiment("x")
    assert "s3cret" not in str(outage.value)
    assert outage.value.__cause__ is None


def test_a_deleted_experiment_is_said_to_be_so(mlflow_uri: str) -> None:
    tracking = Tracking(mlflow_uri)
    experiment = tracking.experiment("gone")
    MlflowClient(tracking_uri=mlflow_uri).delete_experiment(experiment)
    with pytest.raises(InputError, match="restore"):
        tracking.experiment("gone")
