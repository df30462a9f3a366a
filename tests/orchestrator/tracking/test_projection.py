"""What a sweep looks like in MLflow; sending it again, or after a crash, changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.client.client import Tracking
from orchestrator.tracking.client.names import key_of
from orchestrator.tracking.projection import Projection
from orchestrator.tracking.publisher import Publisher
from shapca.storage import FolderStore, to_json
from tests.orchestrator.publishing import (
    START,
    SWEEP,
    finished,
    parent,
    runs,
    snapshot,
    trial,
    whole_sweep,
    write,
    write_epochs,
)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "storage")


def publisher(store: FolderStore, uri: str) -> Publisher:
    return Publisher(store, SWEEP, SWEEP, uri)


def test_a_sweep_becomes_a_tree_of_runs(store: FolderStore, mlflow_uri: str) -> None:
    whole_sweep(store)
    report = publisher(store, mlflow_uri).reconcile()
    assert (report.num_runs, report.num_published, report.num_epochs) == (6, 6, 6 + 1 + 1 + 6)
    assert not report.refused
    shown = snapshot(mlflow_uri)

    averages = {"val_best/f1_mean": 53.0, "val_best/f1_std": 0.5, "val_best/num_seeds": 1}
    assert shown["sweep"]["latest"] == averages
    assert shown["sweep"]["tags"]["mlflow.note.content"] == "# tiny"
    assert "mlflow.parentRunId" not in shown["sweep"]["tags"]
    assert shown["configuration-x"]["tags"]["mlflow.parentRunId"] == "sweep"
    assert shown["confirm-dd"]["tags"]["mlflow.parentRunId"] == "configuration-x"
    assert shown["search-aa"]["tags"]["mlflow.parentRunId"] == "sweep"

    one = shown["search-aa"]
    assert one["name"] == "lr=1e-4 · seed 1 (aa)"
    assert (one["status"], one["time"]) == ("FINISHED", (1700000001000, 1700000100000))
    assert one["params"] == {"optimisation.learning_rate": "1e5", "alignment.alpha": "0.2"}
    assert {"phase": "search", "seed": "1", "cell": "aa"}.items() <= one["tags"].items()
    assert one["history"]["train/loss"] == [
        (epoch, 1700000000000 + 2500 * epoch, 1.0 / epoch) for epoch in range(1, 7)
    ]
    # The series' last value is not the selected epoch's, so the figure has a name of its own. One
    # at step 0 is drawn as a bar.
    assert one["latest"]["val/f1"] == 52.0
    assert one["history"]["val_best/f1"] == [(0, 1700000100000, 53.0)]
    assert "val/f1_PER" not in one["latest"]  # by type there are final figures alone

    assert shown["search-bb"]["status"] == "KILLED"
    assert [step for step, _, _ in shown["search-bb"]["history"]["val/f1"]] == [1]
    assert shown["search-cc"]["status"] == "FAILED"
    assert shown["search-cc"]["tags"]["error"] == "out of memory"


ODD = ("/per/loc/", "/per/org//member_of", "a(b", "a)b", "../x", "per:loc", "ünïcode 关系", "α=0.5")


def test_names_of_data_and_of_people_reach_mlflow(store: FolderStore, mlflow_uri: str) -> None:
    whole_sweep(store)
    record = {"epoch": 1, "is_best": True, "seconds": 1.0, "finished_at": START}
    record["metrics"] = {"val/f1": 1.0} | {f"val/{name}": 1.5 for name in ODD}
    store.put("cells/ee/epochs/0001.json", to_json(record))
    odd = finished(
        trial("ee"),
        metrics={f"test/f1_{name}": 2.5 for name in ODD},
        tags=dict.fromkeys(ODD, "yes"),
        params=dict.fromkeys((*ODD, "long" * 100, "long" * 101), "1"),
    )
    write(store, odd)
    assert not publisher(store, mlflow_uri).reconcile().refused
    shown = snapshot(mlflow_uri)["search-ee"]
    assert shown["status"] == "FINISHED"
    for name in ODD:
        assert shown["latest"][key_of(f"val/{name}")] == 1.5
        assert shown["latest"][key_of(f"z_test/f1_{name}")] == 2.5
        assert shown["tags"][key_of(name)] == "yes"
    assert len(shown["params"]) == len(ODD) + 2
    write(store, replace(odd, tags={}, params={**odd.params, "a(b": "2"}))
    assert not publisher(store, mlflow_uri).reconcile().refused
    shown = snapshot(mlflow_uri)["search-ee"]
    assert key_of("α=0.5") not in shown["tags"]
    assert shown["tags"][key_of("changed.a(b")] == "2"


def test_what_mlflow_refuses_leaves_no_run_open_and_costs_no_other(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_sweep(store)
    write(store, finished(parent(), metrics={}, params={"a//": "1", "b": "2"}))
    write(store, finished(trial("aa"), artifacts={"page": "sweeps/tiny/no such object"}))
    monkeypatch.setattr("orchestrator.tracking.client.client.key_of", lambda name: name)
    for _ in range(2):
        report = publisher(store, mlflow_uri).reconcile()
        assert sorted(report.refused) == ["search-aa", "sweep"]
        assert report.refused["sweep"].startswith("a//: ")
        shown = snapshot(mlflow_uri)
        assert len(shown) == 6
        assert "RUNNING" not in {run["status"] for name, run in shown.items() if name[0] == "s"}
        assert shown["sweep"]["params"] == {"b": "2"}
        assert shown["search-aa"]["latest"]["val_best/f1"] == 53.0
    monkeypatch.undo()
    write(store, finished(trial("aa")))
    assert not publisher(store, mlflow_uri).reconcile().refused
    assert snapshot(mlflow_uri)["sweep"]["params"] == {"a/_0x2f_": "1", "b": "2"}


def test_reconciling_again_sends_nothing(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    before = snapshot(mlflow_uri)
    for name in (
        "log_batch", "create_run", "update_run", "set_terminated", "delete_tag", "log_artifact",
        "delete_run",
    ):  # fmt: skip
        monkeypatch.setattr(MlflowClient, name, lambda *_, **__: pytest.fail("something was sent"))
    report = publisher(store, mlflow_uri).reconcile()
    assert (report.num_published, report.num_epochs, report.num_duplicates) == (0, 0, 0)
    assert snapshot(mlflow_uri) == before
    assert publisher(store, mlflow_uri).pending() == []


def test_a_lost_journal_makes_no_second_run(store: FolderStore, mlflow_uri: str) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    before, ids = snapshot(mlflow_uri), {k: r.info.run_id for k, r in runs(mlflow_uri).items()}
    for name in store.list(f"sweeps/{SWEEP}/published/"):
        if "storage.json" not in name:
            store.delete(name)
    publisher(store, mlflow_uri).reconcile()
    assert snapshot(mlflow_uri) == before
    assert {key: run.info.run_id for key, run in runs(mlflow_uri).items()} == ids


@pytest.mark.parametrize("step", ["create_run", "log_batch", "set_terminated"])
def test_a_publisher_killed_at_any_step_leaves_nothing_double_or_open(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    whole_sweep(store)
    original = getattr(MlflowClient, step)
    calls = 0

    def dies_after_the_fourth(self: MlflowClient, *arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        result = original(self, *arguments, **options)
        if calls == 4:
            raise KeyboardInterrupt  # done at the server, unknown to the client
        return result

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, dies_after_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            publisher(store, mlflow_uri).reconcile()
    publisher(store, mlflow_uri).reconcile()
    interrupted = snapshot(mlflow_uri)
    assert {run["status"] for run in interrupted.values()} == {"FINISHED", "KILLED", "FAILED"}

    other = FolderStore(store.root.parent / "undisturbed")
    whole_sweep(other)
    Publisher(other, SWEEP, SWEEP, mlflow_uri).reconcile()
    tracking = Tracking(mlflow_uri)
    for run in tracking.runs(tracking.experiment(SWEEP), _identity(store)):
        tracking.client.delete_run(run.run_id)
    assert snapshot(mlflow_uri) == interrupted


def test_duplicates_go_and_a_run_without_a_document_is_ended(
    store: FolderStore, mlflow_uri: str
) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    before = snapshot(mlflow_uri)
    tracking = Tracking(mlflow_uri)
    experiment, identity = tracking.experiment(SWEEP), _identity(store)
    for key in ("search-aa", "search-lost"):
        tags = {"shapca.run_key": key, "shapca.storage": identity}
        start = round(1000 * (START - 50))
        tracking.client.create_run(experiment, start_time=start, tags=tags, run_name="again")
    report = publisher(store, mlflow_uri).reconcile()
    assert (report.num_duplicates, report.num_ended) == (1, 1)
    after = snapshot(mlflow_uri)
    assert after.pop("search-lost")["status"] == "KILLED"
    assert after == before
    assert publisher(store, mlflow_uri).reconcile().num_duplicates == 0


def test_a_run_that_stands_on_two_pages_is_no_duplicate(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    listed = Tracking.runs
    monkeypatch.setattr(Tracking, "runs", lambda *arguments: 2 * listed(*arguments))
    again = publisher(store, mlflow_uri).reconcile()
    assert (again.num_published, again.num_duplicates) == (0, 0)
    assert len(runs(mlflow_uri)) == 6


def test_what_was_deleted_or_reopened_in_mlflow_is_restored(
    store: FolderStore, mlflow_uri: str
) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    before = snapshot(mlflow_uri)
    client, found = MlflowClient(tracking_uri=mlflow_uri), runs(mlflow_uri)
    client.delete_run(found["configuration-x"].info.run_id)
    client.update_run(found["search-aa"].info.run_id, status="RUNNING")
    publisher(store, mlflow_uri).reconcile()
    assert snapshot(mlflow_uri) == before  # the child hangs under its new parent


def test_two_storages_with_a_sweep_of_one_name_keep_apart(tmp_path: Path, mlflow_uri: str) -> None:
    for name in ("here", "there"):
        store = FolderStore(tmp_path / name)
        whole_sweep(store)
        publisher(store, mlflow_uri).reconcile()
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name(SWEEP)
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 12


def test_a_run_grows_ends_and_may_be_taken_up_again(store: FolderStore, mlflow_uri: str) -> None:
    projection = Projection(store, SWEEP, SWEEP, mlflow_uri)

    def publish(metrics: bool = True) -> None:
        for document in projection.documents():
            plan = projection.plan(document)
            if not plan.is_nothing:
                projection.publish(plan, metrics=metrics)

    write(store, parent(), trial("aa"))
    write_epochs(store, "aa", 1, 2)
    publish(metrics=False)  # it can be seen at once, its metrics come with company
    one = runs(mlflow_uri)["search-aa"]
    assert (one.info.status, one.data.metrics) == ("RUNNING", {})
    assert one.data.params["alignment.alpha"] == "0.2"
    publish()
    write_epochs(store, "aa", 3, 4)
    write(store, finished(trial("aa"), status="killed", tags={"interrupted": "true"}))
    publish()
    assert runs(mlflow_uri)["search-aa"].info.status == "KILLED"
    write(store, trial("aa"))
    publish()
    one = runs(mlflow_uri)["search-aa"]
    assert one.info.status == "RUNNING"
    assert "interrupted" not in one.data.tags
    write_epochs(store, "aa", 5, 6)
    write(store, finished(trial("aa"), ended_at=START + 200, params={"alignment.alpha": "0.3"}))
    publish()
    shown = snapshot(mlflow_uri)["search-aa"]
    assert shown["status"] == "FINISHED"
    assert [step for step, _, _ in shown["history"]["val/f1"]] == [1, 2, 3, 4, 5, 6]
    assert shown["params"]["alignment.alpha"] == "0.2"  # MLflow lets no parameter change
    assert shown["tags"]["changed.alignment.alpha"] == "0.3"


def test_a_cell_trained_anew_gets_a_new_run(store: FolderStore, mlflow_uri: str) -> None:
    whole_sweep(store)
    publisher(store, mlflow_uri).reconcile()
    before = snapshot(mlflow_uri)
    old = runs(mlflow_uri)["search-aa"].info.run_id
    for name in store.list("cells/aa/"):
        store.delete(name)
    write(store, trial("aa", started_at=START + 500))
    publisher(store, mlflow_uri).reconcile()
    assert runs(mlflow_uri)["search-aa"].data.metrics == {}
    write_epochs(store, "aa", 1, 4, start=START + 500)
    write(store, finished(trial("aa", started_at=START + 500), ended_at=START + 600))
    publisher(store, mlflow_uri).reconcile()
    after = snapshot(mlflow_uri)
    assert runs(mlflow_uri)["search-aa"].info.run_id != old
    assert [step for step, _, _ in after.pop("search-aa")["history"]["val/f1"]] == [1, 2, 3, 4]
    del before["search-aa"]
    assert after == before


def test_epochs_beyond_the_verdict_are_taken_back(store: FolderStore, mlflow_uri: str) -> None:
    write_epochs(store, "aa", 1, 5)
    write(store, parent(), trial("aa"))
    publisher(store, mlflow_uri).reconcile()
    write(store, finished(trial("aa"), status="killed", last_epoch=3))
    for _ in range(2):
        publisher(store, mlflow_uri).reconcile()
    history = snapshot(mlflow_uri)["search-aa"]["history"]["train/loss"]
    assert [step for step, _, _ in history] == [1, 2, 3]


def test_artifacts_are_written_once_and_replaced_when_they_change(
    store: FolderStore, mlflow_uri: str
) -> None:
    store.put("reports/a.md", b"one")
    document = finished(parent(), artifacts={"report/a.md": "reports/a.md"})
    write(store, document)
    publisher(store, mlflow_uri).reconcile()
    store.put("reports/a.md", b"two")
    write(store, replace(document, note="now two"))
    publisher(store, mlflow_uri).reconcile()
    client = MlflowClient(tracking_uri=mlflow_uri)
    run = runs(mlflow_uri)["sweep"]
    local = client.download_artifacts(run.info.run_id, "report/a.md")
    assert Path(local).read_bytes() == b"two"
    assert run.data.tags["mlflow.note.content"] == "now two"


def test_a_refused_run_is_named_and_holds_up_no_other(store: FolderStore, mlflow_uri: str) -> None:
    write(store, finished(parent()))
    write(store, finished(trial("aa"), cell=None, artifacts={"a": "not/there"}))
    write(store, finished(trial("bb"), cell=None, parent="configuration-lost"))
    write(store, finished(trial("cc"), cell=None))
    report = publisher(store, mlflow_uri).reconcile()
    assert set(report.refused) == {"search-aa", "search-bb"}
    assert "not/there" in report.refused["search-aa"]
    assert "configuration-lost" in report.refused["search-bb"]
    assert runs(mlflow_uri)["search-cc"].info.status == "FINISHED"
    assert publisher(store, mlflow_uri).pending() == ["search-aa", "search-bb"]


def _identity(store: FolderStore) -> str:
    return Projection(store, SWEEP, SWEEP, "http://nowhere").identity()
