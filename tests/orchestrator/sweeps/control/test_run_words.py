"""What runs are called in MLflow, what they came to, and which stands first."""

from __future__ import annotations

from pathlib import Path

from orchestrator.tracking.run_document import read_runs
from shapca.storage import FolderStore
from tests.orchestrator.fakes import execute, open_sweep, sweep_config


def test_runs_have_short_names_a_result_a_place_and_a_description(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path, sweep_config(protocol={"first": [{}]}))
    execute(conductor, tmp_path)
    conductor.documents.sweep_ended("finished", 5.0, "note")
    documents = read_runs(FolderStore(tmp_path), "small")
    ranked = sorted(
        (d for d in documents.values() if "rank" in d.tags), key=lambda d: d.tags["rank"]
    )
    assert len(ranked) == len(documents) - 1  # all but the sweep itself
    names = [document.name for document in ranked]
    assert names[:6] == [
        "winner", "winner · seed 11", "winner · seed 12",
        "defaults", "defaults · seed 11", "defaults · seed 12",
    ]  # fmt: skip
    winner, first, *_, baseline = ranked[:4]
    mean, std = winner.metrics["test/f1_mean"], winner.metrics["test/f1_std"]
    assert winner.tags["result"] == f"{mean:.2f} ± {std:.2f} test (2 seeds)"
    assert first.tags["result"] == f"{first.metrics['test/f1']:.2f} test"
    assert documents["sweep"].tags["result"] == winner.tags["result"]
    assert baseline.started_at < winner.started_at  # MLflow shows the latest on top
    pruned = [d for d in ranked if d.tags.get("verdict") == "pruned"]
    assert pruned
    for document in pruned:
        assert document.name.endswith("· seed 1 · pruned")
        assert f"pruned at epoch {document.last_epoch}" in document.tags["result"]
    assert all(document.note and "configuration #" in document.note for document in ranked)
    assert list(documents["sweep"].varied) == list(conductor.history.sweep.space)


def test_a_winner_of_before_is_called_by_its_number_again(tmp_path: Path) -> None:
    first = open_sweep(tmp_path, sweep_config(protocol={"trials": 1}))
    execute(first, tmp_path)
    first.documents.sweep_ended("finished", 5.0, "note")
    longer = open_sweep(tmp_path, sweep_config(protocol={"trials": 6}))
    execute(longer, tmp_path)
    longer.documents.sweep_ended("finished", 6.0, "note")
    winner = longer.history.protocol.winner()
    assert winner is not None
    assert winner.entry > 1  # another one than at first
    names = {
        document.name
        for document in read_runs(FolderStore(tmp_path), "small").values()
        if document.tags.get("phase") == "confirm"
    }
    assert names == {
        "winner", "winner · seed 11", "winner · seed 12",
        "#1 · mean of 2 seeds", "#1 · seed 11", "#1 · seed 12",
    }  # fmt: skip
