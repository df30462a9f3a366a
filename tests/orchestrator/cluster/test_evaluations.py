"""An evaluation as a node of a cluster makes it: its data received, its record in the storage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.evaluations import Task, evaluate
from orchestrator.cluster.parcels.delivery import Delivery, pack_files, parts_of
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import Cell, CellStore
from orchestrator.store.predictions import stored_predictions
from orchestrator.sweeps.trials.cell_run import CellRun
from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.evaluation import evaluate_run, stored_evaluation
from shapca.storage import FolderStore
from tests.factories import tiny_config, tiny_data


@pytest.fixture
def trained(tmp_path: Path) -> tuple[CellStore, Cell, Path]:
    """A storage with one finished cell, and a data root with another data set beside its own."""
    root = tmp_path / "data"
    tiny_data(root, num_train=12, num_valid=4, num_test=6, domain="festival")
    (root / "tiny-mner").rename(root / "elsewhere")
    tiny_data(root, num_train=12, num_valid=4, num_test=6)
    cells = CellStore(FolderStore(tmp_path / "storage"))
    config = tiny_config(**{"optimisation.epochs": 1, "image.encoder": "none"})
    cell = CellFactory(root).cell(config, 1)
    cells.register(cell)
    run = CellRun(cells, cell.key, test=True, sweep="s", runtime=RuntimeConfig(data_root=root))
    while run.step().state == "running":
        pass
    return cells, cell, root


def ask(cells: CellStore, task: Task, root: Path, delivery: Delivery | None) -> None:
    assert isinstance(cells.store, FolderStore)
    settings: dict[str, Any] = RuntimeConfig(data_root=root).model_dump(mode="json")
    sent = None if delivery is None else json.loads(json.dumps(delivery.to_json()))
    evaluate(task, str(cells.store.root), json.loads(json.dumps(settings)), sent)


def test_a_node_without_data_scores_as_the_driver_would(
    trained: tuple[CellStore, Cell, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, cell, root = trained
    target = PreparedData.load(root / "elsewhere")
    monkeypatch.setenv("SHAPCA_CACHE", str(tmp_path / "cache"))
    task = Task(cell.key, "elsewhere", cell.config)
    delivery = Delivery({"elsewhere": dict(parts_of(root / "elsewhere", cell.config))})
    assert pack_files(cells.store, delivery, root) > 0
    with pytest.raises(InputError, match="elsewhere"):
        ask(cells, task, tmp_path / "nothing", None)
    store = cells.run_store(cell.key)
    assert stored_evaluation(store, target, split="test") is None
    ask(cells, task, tmp_path / "nothing", delivery)
    found = stored_evaluation(store, target, split="test")
    assert found is not None
    for name in cells.store.list(f"cells/{cell.key}/evaluations/"):
        cells.store.delete(name)
    again = evaluate_run(store, target, split="test")
    assert json.loads(json.dumps(again.to_json())) == json.loads(json.dumps(found.to_json()))


def test_predictions_of_a_picture_are_kept(
    trained: tuple[CellStore, Cell, Path],
) -> None:
    cells, cell, root = trained
    data = PreparedData.load(root / "tiny-mner")
    assert stored_predictions(cells, cell.key, data) is None
    ask(cells, Task(cell.key, "tiny-mner", cell.config, "predictions"), root, None)
    kept = stored_predictions(cells, cell.key, data)
    assert kept is not None
    assert set(kept) == {post.id for post in data.splits["test"]}
    shutil.rmtree(root)  # nothing is read again
    assert stored_predictions(cells, cell.key, data) == kept
