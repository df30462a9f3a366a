"""`orchestrator list`: every sweep and study of a storage, and how each stands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.showing.listing import list_sweeps
from orchestrator.store.lease import Lease
from orchestrator.store.sweep_folder import STUDY, SWEEP, in_sweep
from orchestrator.studies.config import StudyConfig
from orchestrator.studies.plan import plan_study
from orchestrator.sweeps.record.declaration import remember
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import execute, open_sweep, sweep_config

STUDY_FILE = StudyConfig.model_validate(
    {
        "name": "table",
        "title": "A table",
        "experiment": {"data": {"dataset": "fake"}, "optimisation": {"epochs": 2}},
        "data": {"A": {}},
        "columns": {"A": {"data": "A"}},
        "rows": {
            "Shap-CA": {"variant": "shap-ca"},
            "InfoNCE": {"variant": "without-shapley-value"},
        },
        "seeds": [1, 2],
    }
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that ended, then a sweep that did, then one that stopped, then one not begun."""
    folder = tmp_path_factory.mktemp("storage")
    store = FolderStore(folder)
    study = plan_study(STUDY_FILE, {}).sweep
    assert study is not None
    other = {"sampler_seed": 5}  # so that it finds no cell of the other one
    stopped = sweep_config(name="stopped", protocol=other)
    new = sweep_config(name="new")
    for sweep, num_steps in ((study, None), (sweep_config(), None), (stopped, 7)):
        execute(
            open_sweep(folder, sweep),
            folder,
            stop=lambda steps, most=num_steps: steps == most,  # type: ignore[misc]
        )
        remember(store, sweep)
    store.put(in_sweep("table", STUDY), to_json(STUDY_FILE.model_dump(mode="json")))
    remember(store, new)
    return folder


def listed(storage: Path, *words: str, columns: int = 120) -> str:
    result = CliRunner().invoke(
        app, [*words, "--storage", str(storage)], env={"COLUMNS": str(columns)}
    )
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_each_is_listed_with_its_state_trials_score_and_last_change(storage: Path) -> None:
    found = {one["name"]: one for one in json.loads(listed(storage, "list", "--json"))}
    assert list(found) == ["stopped", "small", "table", "new"]  # last changed first
    told = {
        name: (one["kind"], one["state"], one["done"], one["planned"])
        for name, one in found.items()
    }
    assert told["small"] == ("sweep", "complete", 10, 10)
    assert told["table"] == ("study", "complete", 4, 4)
    assert told["new"] == ("sweep", "stopped", 0, 10)
    assert told["stopped"][:2] == ("sweep", "stopped")
    assert 0 < told["stopped"][2] < told["stopped"][3] == 10
    status: dict[str, Any] = json.loads(listed(storage, "status", "small", "--json"))
    small = found["small"]
    assert (small["split"], small["seeds"], small["is_confirmed"]) == ("test", [11, 12], True)
    assert small["score"] == status["winner"]["test_f1_mean"]
    assert small["std"] == status["winner"]["test_f1_std"]
    assert (found["stopped"]["split"], found["stopped"]["is_confirmed"]) == ("val", False)
    assert (found["table"]["score"], found["new"]["score"]) == (None, None)
    assert found["new"]["changed"] is None
    assert found["table"]["changed"] <= small["changed"] <= time.time()


def test_people_see_a_table_and_status_without_a_name_shows_the_same(storage: Path) -> None:
    shown = listed(storage, "list")
    found = json.loads(listed(storage, "list", "--json"))[1]
    line = next(line for line in shown.splitlines() if line.startswith("small"))
    score = f"{found['score']:.2f} ± {found['std']:.2f}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["changed"]))
    words = f"small sweep complete 10/10 {score} test, confirmed {when}"
    assert line.split() == words.split()
    narrow = listed(storage, "list", columns=60).splitlines()
    assert next(line for line in narrow if line.startswith("small")).split() == words.split()
    assert "val, best so far" in shown
    assert listed(storage, "status") == shown
    assert listed(storage, "status", "--json") == listed(storage, "list", "--json")


def test_a_driver_at_work_is_seen_and_what_is_damaged_hides_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    remember(store, sweep_config())
    store.put(in_sweep("broken", SWEEP), b"{")
    with Lease(store, "small"):
        found = {one["name"]: one for one in json.loads(listed(tmp_path, "list", "--json"))}
    assert found["small"]["state"] == "running"
    assert found["broken"]["state"] == "unreadable"
    assert "sweeps/broken/sweep.json" in found["broken"]["problem"]
    assert "broken: " in listed(tmp_path, "list")


def test_an_empty_storage_says_so_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    assert listed(tmp_path, "list") == f"{tmp_path}: no sweep or study yet\n"
    assert json.loads(listed(tmp_path, "list", "--json")) == []
    with pytest.raises(InputError, match=r"no such folder; name it with --storage"):
        listed(tmp_path / "none", "list")
    assert not (tmp_path / "none").exists()


def test_a_listing_names_no_event(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of 100,000 cells has twice as many."""
    listed: list[str] = []
    names = FolderStore.list

    def note(store: FolderStore, prefix: str = "", after: str = "") -> list[str]:
        listed.append(prefix)
        return names(store, prefix, after)

    monkeypatch.setattr(FolderStore, "list", note)
    assert len(list_sweeps(FolderStore(storage), str(storage))) == 4
    assert not {"", "sweeps/", "status/", "cells/"} & set(listed)
