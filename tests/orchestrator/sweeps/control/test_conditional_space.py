"""A sweep whose space has conditions: one cell for what differs in nothing, and its resumption."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.make import content_from, report_files
from orchestrator.sweeps.checks.forecast import forecast
from orchestrator.sweeps.checks.probe import EpochCost, middle
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.history import recorded
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.tracking.run_document import read_runs
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import (
    CODE,
    epochs_trained,
    execute,
    open_sweep,
    results,
    sweep_config,
    trained_epochs,
)

RATE = "optimisation.learning_rate"
SPACE: dict[str, Any] = {
    RATE: {"type": "float", "low": 1e-5, "high": 1e-1, "log": True,
           "when": {"text.encoder": "minilm"}},
    "text.encoder": {"type": "choice", "values": ["tiny", "minilm"]},
    "image.encoder": {"type": "choice", "values": ["resnet18", "resnet50"]},
}  # fmt: skip


def branches(space: dict[str, Any] = SPACE) -> SweepConfig:
    record = sweep_config(protocol={"trials": 10}).model_dump(mode="json")
    record["protocol"]["first"] = [{"text.encoder": "tiny"}]
    return SweepConfig.model_validate({**record, "space": space})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    execute(open_sweep(folder, branches()), folder)
    remember(FolderStore(folder), branches())
    return folder


def test_what_differs_in_an_absent_dimension_is_one_cell(finished: Path) -> None:
    history = recorded(FolderStore(finished), "small")
    searched = [event for event in history.proposed.values() if event.phase == "search"]
    tiny = [event for event in searched if event.values["text.encoder"] == "tiny"]
    assert len(searched) == 10
    assert len(tiny) > 3
    assert all(RATE not in event.values for event in tiny)
    cells = {event.values["image.encoder"]: {event.cell} for event in tiny}
    assert all({e.cell for e in tiny if e.values["image.encoder"] == image} == found
               for image, found in cells.items())  # fmt: skip
    times = Counter(trained_epochs(finished))
    assert set(times.values()) == {1}
    minilm = [event for event in searched if event.values["text.encoder"] == "minilm"]
    assert len({event.cell for event in minilm}) == len(minilm)


def test_a_sweep_with_conditions_resumes_as_if_it_had_never_stopped(
    finished: Path, tmp_path: Path
) -> None:
    whole = open_sweep(finished, branches())
    for steps in range(4, 40, 7):
        execute(open_sweep(tmp_path, branches()), tmp_path, lambda done, n=steps: done >= n)  # type: ignore[misc]
    conductor = open_sweep(tmp_path, branches())
    execute(conductor, tmp_path)
    assert results(conductor) == results(whole)
    assert epochs_trained(tmp_path) == epochs_trained(finished)


def test_a_record_that_does_not_fit_the_conditions_is_refused(finished: Path) -> None:
    other = {**SPACE, RATE: {**SPACE[RATE], "when": {"text.encoder": "tiny"}}}
    with pytest.raises(InputError, match="its record is damaged"):
        open_sweep(finished, branches(other))


def test_views_show_what_is_there(finished: Path) -> None:
    store = FolderStore(finished)
    shown = content_from(store, "small", str(finished), CODE)
    made = report_files(shown, figures=False)
    rows = list(csv.DictReader(io.StringIO(made["trials.csv"].decode())))
    assert {(row["text.encoder"], bool(row[RATE])) for row in rows} == {
        ("tiny", False), ("minilm", True),
    }  # fmt: skip
    page = made["report.html"].decode()
    num_tiny = len([t for t in shown.searched() if RATE not in t.values])
    assert f"{num_tiny} without this dimension are not shown" in page
    assert "A line has a gap at a dimension" in page
    assert not re.search(r"\bnan\b", page)
    history = recorded(store, "small")
    cost = EpochCost(1.0, 0, 0, "measured")
    assert forecast(branches(), history, cost, 1).hours == 0
    assert RATE in middle(branches())
    status = sweep_status(store, "small", str(finished))
    names = {row.name for row in status.outcome.rows}
    assert "text encoder=tiny image encoder=resnet18" in names
    frame = status.outcome.to_frame()
    is_tiny = frame["text.encoder"] == "tiny"
    assert list(frame[RATE].isna()) == list(is_tiny)


def test_parameters_are_those_of_the_run(finished: Path) -> None:
    """Where a dimension is not there, what the experiment says is what the run used."""
    documents = read_runs(FolderStore(finished), "small").values()
    cells = [document for document in documents if document.cell is not None]
    base = branches().resolve({"text.encoder": "tiny"}).optimisation.learning_rate
    tiny = {d.params[RATE] for d in cells if d.params["text.encoder"] == "tiny"}
    assert tiny == {str(base)}
    assert len({d.params[RATE] for d in cells if d.params["text.encoder"] == "minilm"}) > 3
