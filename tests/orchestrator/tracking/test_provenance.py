"""What MLflow says of where a run comes from: data set, configuration, user, code."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import CellStore
from orchestrator.store.sweep_folder import RUNS, in_sweep
from orchestrator.sweeps.control.older_documents import complete_documents
from orchestrator.sweeps.control.run_writer import RunWriter
from orchestrator.sweeps.record.declaration import declaration, remember
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.tracking import provenance
from orchestrator.tracking.client.client import Tracking
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.run_document import read_runs, write_run
from shapca.config import load_training_file
from shapca.data.manifest import hash_file
from shapca.storage import FolderStore, read_json, to_json
from tests.factories import tiny_config

NAME = "known"


def sweep_of() -> SweepConfig:
    experiment = tiny_config(**{"image.encoder": "none"})
    return SweepConfig.model_validate(
        {
            "name": NAME,
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3, 1e-3]}},
            "protocol": {"kind": "replicate", "seeds": [1, 2], "trials": 1},
        }
    )


def conduct(folder: Path, root: Path) -> FolderStore:
    """A sweep that ends without training: two cells and their average."""
    store, sweep = FolderStore(folder), sweep_of()
    factory = CellFactory(root)
    history = History.begin(store, sweep, factory, declaration(sweep, factory))
    writer = RunWriter(CellStore(store), history, lambda key: None)
    writer.sweep_started(1.0)
    while isinstance(event := history.propose(), Proposed) and event.phase == "replicate":
        CellStore(store).register(history.cell(event.values, event.seed))
        writer.cell_started(event)
        end = Ended("finished", 50.0 + event.seed, 1, number=event.number, at=2.0)
        history.end(end, lambda event=event, end=end: writer.cell_ended(event, end))  # type: ignore[misc]
    writer.sweep_ended("finished", 3.0, "# done")
    remember(store, sweep)
    return store


def runs_of(uri: str) -> dict[str, Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags["shapca.run_key"]: run for run in runs}


def config_of(run: Run, uri: str, folder: Path) -> dict[str, Any]:
    local = MlflowClient(tracking_uri=uri).download_artifacts(
        run.info.run_id, "config.yaml", str(folder)
    )
    tree: dict[str, Any] = yaml.safe_load(Path(local).read_text(encoding="utf-8"))
    return tree


def test_every_run_has_data_configuration_and_origin(
    tiny_root: Path, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "frida")
    commit = "c" * 40 + "+changes"
    monkeypatch.setattr(provenance, "git_commit", lambda: commit)
    store = conduct(tmp_path / "storage", tiny_root)
    assert Publisher(store, NAME, NAME, mlflow_uri).reconcile().num_published == 4
    runs = runs_of(mlflow_uri)
    manifest = tiny_root / "tiny-mner" / "manifest.json"
    counts = json.loads(manifest.read_text())["counts"]
    for run in runs.values():
        [read] = run.inputs.dataset_inputs
        assert (read.dataset.name, read.dataset.source_type) == ("tiny-mner", "local")
        assert hash_file(manifest).startswith(read.dataset.digest)
        assert len(read.dataset.digest) == 36
        assert json.loads(read.dataset.source) == {"uri": manifest.parent.absolute().as_uri()}
        profile = json.loads(read.dataset.profile)
        assert profile["train"] == counts["train"]
        assert profile["manifest_sha256"] == hash_file(manifest)
        columns = json.loads(read.dataset.schema)["mlflow_colspec"]
        assert "context:captions" in [column["name"] for column in columns]
        tags = run.data.tags
        assert tags["mlflow.user"] == "frida"
        assert tags["mlflow.source.git.commit"] == "c" * 40
        assert (tags["mlflow.source.type"], tags["mlflow.source.name"]) == ("LOCAL", "orchestrator")
    # A cell's file is what `shapca train` takes, and the sweep's what `orchestrator sweep` takes.
    rate = {"optimisation.learning_rate": 5e-3}
    wanted = sweep_of().resolve(rate)
    for key, run in runs.items():
        folder = tmp_path / key
        folder.mkdir()
        config_of(run, mlflow_uri, folder)
        file = folder / "config.yaml"
        if key == "sweep":
            assert SweepConfig.load(file) == sweep_of()
        else:
            assert load_training_file(file)[0] == wanted
    assert Publisher(store, NAME, NAME, mlflow_uri).reconcile().num_published == 0


def test_another_server_gets_the_same(
    tiny_root: Path, tmp_path: Path, mlflow_uri: str, mlflow_template: Path
) -> None:
    second_mlflow_uri = f"sqlite:///{shutil.copy(mlflow_template, tmp_path / 'second.db')}"
    store = conduct(tmp_path / "storage", tiny_root)
    for uri in (mlflow_uri, second_mlflow_uri):
        Publisher(store, NAME, NAME, uri).reconcile()
    for key, run in runs_of(mlflow_uri).items():
        other = runs_of(second_mlflow_uri)[key]
        one, same = run.inputs.dataset_inputs[0].dataset, other.inputs.dataset_inputs[0].dataset
        assert dict(one) == dict(same)
        for tag in ("mlflow.user", "mlflow.source.type"):
            assert run.data.tags[tag] == other.data.tags[tag]


def test_a_submitted_sweep_says_who_submitted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "frida")
    environment = provenance.submitted_environment()
    monkeypatch.setenv("LOGNAME", "ray")
    assert provenance.run_tags()["mlflow.user"] == "ray"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tags = provenance.run_tags()
    assert (tags["mlflow.user"], tags["mlflow.source.type"]) == ("frida", "JOB")


def as_before(store: FolderStore) -> None:
    """Documents as an earlier version wrote them."""
    for key, document in read_runs(store, NAME).items():
        tags = {k: v for k, v in document.tags.items() if not k.startswith("mlflow.")}
        write_run(store, NAME, replace(document, tags=tags, config={}, datasets=()))
        name = in_sweep(NAME, f"{RUNS}{key}.json")
        record = read_json(store, name)
        del record["config"], record["datasets"]
        store.put(name, to_json(record))


def test_what_an_earlier_version_published_is_completed_once(
    tiny_root: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    store = conduct(tmp_path / "storage", tiny_root)
    whole = read_runs(store, NAME)
    as_before(store)
    Publisher(store, NAME, NAME, mlflow_uri).reconcile()
    before = runs_of(mlflow_uri)
    assert not any(run.inputs.dataset_inputs for run in before.values())
    # Without the data set, or with another one of the name, all but that is completed.
    assert complete_documents(store, sweep_of(), tmp_path) == ["tiny-mner"]
    assert not any(document.datasets for document in read_runs(store, NAME).values())
    cell = next(one.cell for one in whole.values() if one.kind == "cell")
    tags = {"cell": str(cell), "trained_on": "tiny-mner", "dataset": "elsewhere"}
    moved = replace(whole["sweep"], key="moved", kind="cell", parent="sweep", tags=tags,
                    config={}, datasets=())  # fmt: skip
    write_run(store, NAME, moved)
    assert complete_documents(store, sweep_of(), tiny_root) == []
    assert complete_documents(store, sweep_of(), tmp_path) == []  # nothing is looked for again
    completed = read_runs(store, NAME)["moved"]
    assert (completed.datasets, bool(completed.config)) == ((), True)
    store.delete(in_sweep(NAME, f"{RUNS}moved.json"))
    for key, document in read_runs(store, NAME).items():
        assert (document.config, document.datasets) == (whole[key].config, whole[key].datasets)
        assert document.tags["mlflow.user"] == (tmp_path / "storage").owner()
        assert document.tags["mlflow.source.type"] == "UNKNOWN"
        assert document.params == whole[key].params
    assert Publisher(store, NAME, NAME, mlflow_uri).reconcile().num_published == 4
    after = runs_of(mlflow_uri)
    assert {key: run.info.run_id for key, run in after.items()} == {
        key: run.info.run_id for key, run in before.items()
    }
    assert all(len(run.inputs.dataset_inputs) == 1 for run in after.values())
    assert complete_documents(store, sweep_of(), tiny_root) == []
    assert Publisher(store, NAME, NAME, mlflow_uri).reconcile().num_published == 0


def test_a_run_costs_two_calls_more_and_never_again(
    tiny_root: Path, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = conduct(tmp_path / "storage", tiny_root)
    calls: list[str] = []
    for name in ("log_inputs", "log_artifact"):
        done = getattr(Tracking, name)

        def counted(self: Any, *given: Any, _name: str = name, _done: Any = done) -> Any:
            calls.append(_name)
            return _done(self, *given)

        monkeypatch.setattr(Tracking, name, counted)
    Publisher(store, NAME, NAME, mlflow_uri).reconcile()
    assert (calls.count("log_inputs"), calls.count("log_artifact")) == (4, 4)
    document = read_runs(store, NAME)["sweep"]
    write_run(store, NAME, replace(document, note="# another"))
    Publisher(store, NAME, NAME, mlflow_uri).reconcile()
    assert len(calls) == 8
    # Where the journal was lost, what is logged again is there once.
    for entry in store.list(in_sweep(NAME, "published/")):
        if entry.endswith(".json") and not entry.endswith("storage.json"):
            store.delete(entry)
    Publisher(store, NAME, NAME, mlflow_uri).reconcile()
    assert all(len(run.inputs.dataset_inputs) == 1 for run in runs_of(mlflow_uri).values())
