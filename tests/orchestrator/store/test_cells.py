"""Keys of cells, and their store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store.cells import Cell, CellStore
from orchestrator.sweeps.control.reuse import stale_message
from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.runs.code import code_fingerprint, definitions
from shapca.storage import FolderStore, read_json, to_json


def config(**changes: object) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"data": {"dataset": "street"}, **changes})


def key(seed: int = 1, parts: dict[str, str] | None = None, **changes: object) -> str:
    return Cell(config(**changes), seed, parts or {"text": "a"}, {"text": "w"}).key


def test_a_key_is_stable_and_tells_results_apart() -> None:
    base = key()
    assert base == key(alignment={"temperature": 1.0})  # a default written out is the default
    as_printed = {
        "negatives": "sum", "estimator": "cyclic", "temperature": 0.1, "value_temperature": 0.02,
    }  # fmt: skip
    assert key(alignment=as_printed) == "e574a4c7ecd76b3a"  # the key of the defaults of before
    assert base == key(data={"dataset": "renamed", "contexts": "other-name"})  # content counts
    assert len(base) == 16
    others = [
        key(2),
        key(parts={"text": "b"}),
        key(parts={"text": "a", "images": "c"}),
        key(alignment={"temperature": 0.2}),
        key(optimisation={"precision": "bf16"}),
        key(data={"dataset": "street", "train_limit": 10}),
    ]
    assert len({base, *others}) == len(others) + 1


def test_a_configuration_is_a_cell_without_its_seed() -> None:
    first, second = (Cell(config(), seed, {"text": "a"}) for seed in (1, 2))
    assert first.configuration == second.configuration
    assert first.key != second.key


@pytest.fixture
def cells(tmp_path: Path) -> CellStore:
    return CellStore(FolderStore(tmp_path))


def test_identity_reads_back(cells: CellStore) -> None:
    cell = Cell(config(alignment={"alpha": 0.7}), 3, {"text": "a"}, {"image": "w"})
    cells.register(cell)
    cells.register(cell)
    assert cells.cell(cell.key) == cell
    with pytest.raises(InputError, match="not in this storage"):
        cells.cell("0" * 16)


def test_verdicts(cells: CellStore) -> None:
    assert cells.status("k") is None
    cells.settle("k", "failed", {"reason": "x", "sweep": "s"})
    assert cells.statuses() == {"k": "failed"}
    cells.reopen("k")
    assert cells.summary("k") is None
    ended = {"value": 1.0, "best_epoch": 1, "epochs": 2, "codes": ["a"], "sweep": "s"}
    cells.settle("k", "finished", ended)
    cells.reopen("k")  # takes back failures only
    assert cells.summary("k") == {"status": "finished", **ended}


def fill(cells: CellStore, key: str, *names: str) -> None:
    for name in names:
        cells.store.put(f"cells/{key}/{name}", b"{}")


def test_reset_leaves_the_identity_alone(cells: CellStore) -> None:
    fill(cells, "k", "cell.json", "run.json", "result.json", "epochs/0001.json")
    fill(cells, "kk", "result.json")
    cells.settle("k", "finished", {})
    cells.reset("k")
    assert cells.store.list("cells/k/") == ["cells/k/cell.json"]
    assert cells.statuses() == {}
    assert cells.store.get("cells/kk/result.json") == b"{}"


def test_dropping_weights_keeps_records(cells: CellStore) -> None:
    fill(cells, "k", "best/0001.safetensors", "checkpoint/0002/state.json", "epochs/0001.json")
    assert cells.has_weights("k")
    cells.drop_weights("k")
    assert not cells.has_weights("k")
    assert cells.store.list("cells/k/") == ["cells/k/epochs/0001.json"]
    cells.clear_orphans("k")  # no checkpoint is left that the epoch belongs to
    assert cells.store.list("cells/k/") == []


def test_epochs_of_a_committed_checkpoint_are_no_orphans(cells: CellStore) -> None:
    fill(cells, "k", "run.json", "checkpoint/0001/state.json", "epochs/0001.json")
    cells.clear_orphans("k")
    assert len(cells.store.list("cells/k/")) == 3


def test_a_cell_without_its_run_has_no_checkpoint(cells: CellStore) -> None:
    """Training looks for none there, so that one of an earlier run must not come up later."""
    fill(
        cells,
        "k",
        "cell.json",
        "best/0001.safetensors",
        "checkpoint/0001.safetensors",
        "epochs/0001.json",
    )
    cells.clear_orphans("k")
    assert cells.store.list("cells/k/") == ["cells/k/cell.json"]


def test_half_written_files_of_a_killed_process_are_removed(
    cells: CellStore, tmp_path: Path
) -> None:
    fill(cells, "k", "run.json", "checkpoint/0001.safetensors")
    leftover = tmp_path / "cells/k/checkpoint/.tmp-abc"
    leftover.write_bytes(b"half a file")
    cells.clear_orphans("k")
    assert not leftover.exists()
    assert cells.store.list("cells/k/") == [
        "cells/k/checkpoint/0001.safetensors",
        "cells/k/run.json",
    ]


def test_a_cell_belongs_to_the_sweep_that_claims_it_first(cells: CellStore) -> None:
    assert cells.claim("k", "one") == "one"
    assert cells.claim("k", "two") == "one"
    cells.release("k")
    assert cells.claim("k", "two") == "two"


def test_recorded_code(cells: CellStore) -> None:
    assert cells.codes("k") == set()
    cells.store.put("cells/k/run.json", b'{"environments": [{"code": "a"}, {"code": "b"}]}')
    assert cells.codes("k") == {"a", "b"}
    assert read_json(cells.store, "cells/k/run.json") is not None


def test_what_changed_since_a_cell_was_trained_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    cells = CellStore(store)
    then = {**definitions(), "shapca.model.fusion.old_gate": "00000000"}
    store.put("code/before.json", to_json(then))
    for key, code in (("a", "before"), ("b", "unknown"), ("c", code_fingerprint())):
        store.put(f"cells/{key}/run.json", to_json({"environments": [{"code": code}]}))
    assert cells.changes_since(["a", "b", "c"]) == ["shapca.model.fusion.old_gate"]
    assert cells.changes_since(["b", "c"]) == []
    assert "Changed since: shapca.model.fusion.old_gate." in stale_message("small", ["a"], cells)
    unnamed = stale_message("small", ["b"], cells)
    assert "Changed" not in unnamed
    for way in ("--accept-stale", "--rerun-stale", "--set name=small-2"):
        assert way in unnamed


def test_the_present_code_is_noted_once(tmp_path: Path) -> None:
    cells = CellStore(FolderStore(tmp_path))
    cells.note_code()
    cells.note_code()
    assert cells.store.list("code/") == [f"code/{code_fingerprint()}.json"]
    assert read_json(cells.store, f"code/{code_fingerprint()}.json") == definitions()
