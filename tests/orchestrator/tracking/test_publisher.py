"""The thread: batches, outages, and that the driver never waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.client.client import Tracking
from orchestrator.tracking.publisher import Publisher
from shapca.storage import FolderStore
from tests.orchestrator.publishing import (
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
from tests.orchestrator.servers import Server, free_port


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "storage")


@pytest.fixture
def server(mlflow_uri: str) -> Iterator[Server]:
    server = Server(mlflow_uri, free_port())
    yield server
    server.kill()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def quick(store: FolderStore, uri: str, **options: float) -> Publisher:
    options = {"gather_seconds": 0.01, "first_retry": 0.1, "last_retry": 0.3, **options}
    publisher = Publisher(store, SWEEP, SWEEP, uri)
    for name, seconds in options.items():
        setattr(publisher, name, seconds)
    return publisher


def test_metrics_go_out_in_batches(store: FolderStore, mlflow_uri: str) -> None:
    publisher = quick(store, mlflow_uri)
    write(store, parent())
    publisher.start()
    num_epochs = 0
    for cell in ("aa", "bb", "cc"):
        write(store, trial(cell))
        for epoch in range(1, 31):
            write_epochs(store, cell, epoch, epoch)
            publisher.notify(f"search-{cell}")
            num_epochs += 1
            time.sleep(0.02)
        write(store, finished(trial(cell)))
        publisher.notify(f"search-{cell}")
    write(store, finished(parent(), metrics={"val/f1_mean": 53.0}))
    publisher.notify("sweep")
    assert publisher.stop().status == "current"
    assert 4 <= publisher.metric_calls <= num_epochs / 10
    assert all(
        len(run["history"]["train/loss"]) == 30
        for key, run in snapshot(mlflow_uri).items()
        if key != "sweep"
    )


def test_some_calls_are_made_before_a_run_ends(store: FolderStore, mlflow_uri: str) -> None:
    publisher = quick(store, mlflow_uri)
    write(store, parent(), trial("aa"))
    write_epochs(store, "aa", 1, 40)  # four calls' worth: one now, two owed by the open runs
    publisher.start()
    wait_for(lambda: publisher.metric_calls == 1)
    assert publisher.stop().status == "current"
    assert runs(mlflow_uri)["search-aa"].info.status == "RUNNING"


def test_a_slow_sweep_can_be_watched(store: FolderStore, mlflow_uri: str) -> None:
    publisher = quick(store, mlflow_uri, idle_seconds=0.5)
    write(store, parent(), trial("aa"))
    write_epochs(store, "aa", 1, 1)
    publisher.start()
    wait_for(lambda: publisher.metric_calls == 1)
    publisher.stop()


class CountingStore(FolderStore):
    """Counts what is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()

    def get(self, name: str) -> bytes | None:
        self.reads[name] += 1
        return super().get(name)


def test_one_new_epoch_costs_five_reads(tmp_path: Path, mlflow_uri: str) -> None:
    store = CountingStore(tmp_path / "storage")
    publisher = quick(store, mlflow_uri, idle_seconds=0.0)
    write(store, parent(), trial("aa"))
    write_epochs(store, "aa", 1, 1)
    publisher.start()
    wait_for(lambda: publisher.metric_calls == 1 and publisher.state.status == "current")
    before = store.reads.total()
    write_epochs(store, "aa", 2, 2)
    publisher.notify("search-aa")
    wait_for(lambda: publisher.metric_calls == 2)
    # The document, its journal entry, the last epoch that is known, the new one, none after it.
    assert store.reads.total() - before <= 5
    publisher.stop()


def test_what_stands_above_all_runs_is_read_a_handful_of_times(
    tmp_path: Path, mlflow_uri: str
) -> None:
    store = CountingStore(tmp_path / "storage")
    publisher = quick(store, mlflow_uri)
    write(store, parent())
    publisher.start()
    for number in range(12):
        cell = f"c{number}"
        for document in (trial(cell), finished(trial(cell))):
            write_epochs(store, cell, 1, 2)
            write(store, document)
            publisher.notify(document.key)
            time.sleep(0.05)
    write(store, finished(parent()))
    publisher.notify("sweep")
    assert publisher.stop().status == "current"
    assert len(runs(mlflow_uri)) == 13
    above = {name: num for name, num in store.reads.items() if name.endswith("/sweep.json")}
    assert len(above) == 2  # its document, and its journal
    assert max(above.values()) <= 6


def test_nothing_new_needs_no_mlflow(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_sweep(store)
    quick(store, mlflow_uri).reconcile()
    asked = property(lambda _: pytest.fail("MLflow was asked"))
    monkeypatch.setattr(Tracking, "client", asked)
    publisher = quick(store, mlflow_uri)
    publisher.start()
    wait_for(lambda: publisher.state.status == "current")
    assert publisher.stop().status == "current"


def test_stopping_sends_what_waits_even_without_notice(store: FolderStore, mlflow_uri: str) -> None:
    publisher = quick(store, mlflow_uri)
    publisher.start()
    wait_for(lambda: publisher.state.status == "current")
    whole_sweep(store)
    assert publisher.stop().status == "current"
    assert len(runs(mlflow_uri)) == 6


def test_a_server_that_comes_goes_and_comes_back(
    store: FolderStore, mlflow_template: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    publisher = quick(store, server.uri)
    write(store, parent(), trial("aa"))
    write_epochs(store, "aa", 1, 20)
    publisher.start()  # nobody listens yet
    wait_for(lambda: publisher.state.status == "behind")
    assert publisher.state.pending == 2
    began = time.monotonic()
    publisher.notify("sweep", "search-aa")
    assert time.monotonic() - began < 0.05

    server.start()
    wait_for(lambda: publisher.state.status in ("current", "publishing"))
    server.kill()
    whole_sweep(store)
    publisher.notify("sweep", "search-aa", "search-bb")
    wait_for(lambda: publisher.state.status == "behind")
    began = time.monotonic()
    state = publisher.stop(timeout=10)
    assert time.monotonic() - began < 10
    assert state.status == "behind"
    assert state.pending == 6
    assert state.error is not None

    server.start()
    assert quick(store, server.uri).reconcile().num_published == 6
    late = snapshot(server.uri)
    assert quick(store, server.uri).reconcile().num_published == 0
    assert snapshot(server.uri) == late

    undisturbed = FolderStore(store.root.parent / "undisturbed")
    write_epochs(undisturbed, "aa", 1, 20)
    whole_sweep(undisturbed)
    publisher = Publisher(undisturbed, SWEEP, "undisturbed", server.uri)
    assert publisher.reconcile().num_published == 6
    assert snapshot(server.uri, "undisturbed") == late


def test_whatever_mlflow_throws_the_thread_lives_on(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_sweep(store)
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "log", lambda *_, **__: 1 / 0)
        publisher = quick(store, mlflow_uri)
        publisher.start()
        wait_for(lambda: publisher.state.status == "behind")
        assert "ZeroDivisionError" in (publisher.state.error or "")
    wait_for(lambda: publisher.state.status == "current")
    assert publisher.stop().pending == 0
    assert len(runs(mlflow_uri)) == 6


def test_a_run_deleted_under_way_is_made_again(store: FolderStore, mlflow_uri: str) -> None:
    publisher = quick(store, mlflow_uri)
    write(store, parent(), trial("aa"))
    publisher.start()
    wait_for(lambda: publisher.state.status == "current")
    deleted = runs(mlflow_uri)["search-aa"].info.run_id
    Tracking(mlflow_uri).client.delete_run(deleted)
    write_epochs(store, "aa", 1, 3)
    write(store, finished(trial("aa")))
    publisher.notify("search-aa")
    assert publisher.stop().status == "current"
    assert runs(mlflow_uri)["search-aa"].info.run_id != deleted
    assert snapshot(mlflow_uri)["search-aa"]["latest"]["val_best/f1"] == 53.0


def test_a_refused_run_is_told_of(store: FolderStore, mlflow_uri: str) -> None:
    write(store, finished(parent()), finished(trial("aa"), cell=None, artifacts={"a": "not/there"}))
    publisher = quick(store, mlflow_uri)
    publisher.start()
    wait_for(lambda: publisher.state.status == "behind")
    state = publisher.stop()
    assert (state.status, state.pending) == ("behind", 1)
    assert "not/there" in (state.error or "")


class SlowedDown(FolderStore):
    """A storage that is away when it is told to be."""

    is_away = False

    def get(self, name: str) -> bytes | None:
        if self.is_away:
            raise OSError("503 Slow Down")
        return super().get(name)


def test_a_storage_that_is_away_is_not_taken_for_mlflow(tmp_path: Path, mlflow_uri: str) -> None:
    store = SlowedDown(tmp_path / "storage")
    write(store, finished(parent(), metrics={}))
    publisher = quick(store, mlflow_uri)
    store.is_away = True
    publisher.start()
    wait_for(lambda: publisher.state.status == "behind")
    assert publisher.state.error == "the storage, not MLflow, fails: OSError: 503 Slow Down"
    store.is_away = False
    assert publisher.stop().status == "current"
