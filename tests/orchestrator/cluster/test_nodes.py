"""What is asked of nodes before the first trial, without nodes: see test_cluster for real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import nodes, staging
from orchestrator.cluster.jobs import submission_base
from orchestrator.cluster.parcels.delivery import Delivery
from orchestrator.cluster.staging import SWEEP_FILE, stage
from orchestrator.config.sweep import SweepConfig
from shapca.errors import InputError
from shapca.runs.code import code_fingerprint, fingerprint_folder
from tests.orchestrator.fakes import sweep_config
from tests.stores import MemoryStore


def answers(monkeypatch: pytest.MonkeyPatch, *given: Any) -> list[Any]:
    """Two nodes that answer so; the questions that they were asked."""
    asked: list[Any] = []

    def ask(question: Any, *arguments: Any) -> dict[str, Any]:
        asked.append(question)
        return {f"10.0.0.{place} (node a)": answer for place, answer in enumerate(given)}

    monkeypatch.setattr(nodes, "is_alone", lambda: False)
    monkeypatch.setattr(nodes, "ask_nodes", ask)
    return asked


def test_one_node_is_asked_nothing_and_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = answers(monkeypatch)
    monkeypatch.setattr(nodes, "is_alone", lambda: True)
    store = MemoryStore()
    nodes.check_storage("/nowhere", store)
    nodes.check_code()
    assert nodes.deliver(sweep_config(), store, tmp_path, more_to_come=False) is None
    assert asked == []
    assert store.objects == {}


def test_nodes_that_have_the_data_get_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = MemoryStore()
    answers(monkeypatch, True, True)
    assert nodes.deliver(sweep_config(), store, tmp_path, more_to_come=False) is None
    assert store.objects == {}
    answers(monkeypatch, True, False)
    assert nodes.deliver(sweep_config(), store, tmp_path, more_to_come=False) == Delivery()
    assert list(store.objects) == ["sweeps/small/delivery.json"]


def test_other_code_on_a_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, code_fingerprint(), code_fingerprint())
    nodes.check_code()
    answers(monkeypatch, code_fingerprint(), "other")
    with pytest.raises(InputError, match=r"^10\.0\.0\.1 \(node a\): other code"):
        nodes.check_code()


def test_a_storage_that_is_seen_leaves_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    answers(monkeypatch, True, True)
    nodes.check_storage("s3://bucket/x", store)
    answers(monkeypatch, False, True)
    with pytest.raises(InputError, match=r"10\.0\.0\.0 .* cannot see it"):
        nodes.check_storage("s3://bucket/x", store)
    assert store.objects == {}


def test_only_code_and_the_sweep_are_sent(tmp_path: Path) -> None:
    sweep = sweep_config()
    size = stage(tmp_path, sweep)
    assert {path.name for path in tmp_path.iterdir()} == {"shapca", "orchestrator", SWEEP_FILE}
    assert 100_000 < size < 5_000_000
    assert SweepConfig.load(tmp_path / SWEEP_FILE) == sweep
    assert not list(tmp_path.rglob("__pycache__"))
    assert fingerprint_folder(tmp_path / "shapca") == code_fingerprint()  # else cells were stale
    assert (tmp_path / "orchestrator" / "cluster" / "deploy" / "slurm.sh").is_file()


def test_what_is_sent_knows_its_commit_and_holds_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "here" / "orchestrator"
    for name in (".env", ".secrets/key", "deep/.env", "code.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("s3cret")
    real = staging.package_folder
    monkeypatch.setattr(
        staging, "package_folder", lambda name: package if name == "orchestrator" else real(name)
    )
    monkeypatch.setattr(staging, "git_commit", lambda: "abc123+changes")
    stage(tmp_path / "sent", sweep_config())
    sent = [path.name for path in (tmp_path / "sent" / "orchestrator").rglob("*")]
    assert sent == ["code.py"]
    script = "from shapca.runs.provenance import git_commit; print(git_commit())"
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path / "sent", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "sent")}, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "abc123+changes"


def test_a_submission_is_found_again_by_name_and_storage() -> None:
    base = submission_base("demo", "/shared/storage")
    assert base == submission_base("demo", "/shared/storage/")
    assert base.startswith("sweep-demo-")
    others = [submission_base("demo", "/elsewhere"), submission_base("other", "/shared/storage")]
    assert len({base, *others}) == 3
