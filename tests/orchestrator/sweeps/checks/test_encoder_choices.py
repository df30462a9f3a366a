"""A search over encoders: each choice is hashed, checked before the start, and sent along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import nodes
from orchestrator.cluster.parcels.delivery import delivered, package, wanted
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import Cell
from orchestrator.sweeps.checks import doctor
from orchestrator.sweeps.record.declaration import declaration
from shapca.config import RuntimeConfig
from shapca.errors import InputError
from shapca.model.encoders import weights_fingerprints
from shapca.storage import FolderStore
from tests.factories import tiny_config


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two text encoders as far as files go; their content is not looked into here."""
    monkeypatch.setenv("SHAPCA_CACHE", str(tmp_path / "cache"))
    made = [tmp_path / "one", tmp_path / "other"]
    for folder in made:
        folder.mkdir()
        for name in ("config.json", "model.safetensors", "vocab.txt"):
            (folder / name).write_text(f"{name} of {folder.name}")
        described = {"model_type": "bert", "architectures": ["BertModel"], "of": folder.name}
        (folder / "config.json").write_text(json.dumps(described))
    return made


def sweep_of(folders: list[Path], **space: Any) -> SweepConfig:
    experiment = tiny_config(**{"fusion.kind": "none", "image.encoder": "none"})
    encoders = ["tiny", "minilm", *map(str, folders)]
    file = folders[0].parent / "weights.safetensors"
    file.write_text("of a resnet18")
    return SweepConfig.model_validate(
        {
            "name": "encoders",
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {
                "text.encoder": {"type": "choice", "values": encoders},
                "image.encoder": {"type": "choice", "values": ["none", "resnet18"]},
                "image.weights": {
                    "type": "choice", "values": [str(file)], "when": {"image.encoder": "resnet18"},
                },
                "text.freeze": {
                    "type": "choice", "values": [True, False], "when": {"text.encoder": "minilm"},
                },
                **space,
            },
        }
    )  # fmt: skip


def cells_of(sweep: SweepConfig, factory: CellFactory) -> list[Cell]:
    return [factory.cell(config, 1) for config in sweep.experiments()]


def test_each_choice_has_the_key_of_its_own_weights(folders: list[Path], tiny_root: Path) -> None:
    sweep = sweep_of(folders)
    cells = cells_of(sweep, CellFactory(tiny_root))
    assert len(cells) == (3 + 2) * 2
    assert len({cell.key for cell in cells}) == len(cells)
    hashes = {cell.config.text.encoder: cell.weights["text"] for cell in cells}
    assert len(set(hashes.values())) == 4
    assert {"image" in cell.weights for cell in cells} == {True, False}
    [inputs] = declaration(sweep, CellFactory(tiny_root))["inputs"].values()
    for encoder, digest in hashes.items():
        assert inputs[f"text weights {encoder}"] == digest
    # The same content elsewhere is the same cell; other content in the same place is not.
    folders[0].rename(folders[0].parent / "moved")
    moved = [folders[0].parent / "moved", folders[1]]
    assert {c.key for c in cells_of(sweep_of(moved), CellFactory(tiny_root))} == {
        cell.key for cell in cells
    }
    (moved[0] / "vocab.txt").write_text("another")
    changed = {c.key for c in cells_of(sweep_of(moved), CellFactory(tiny_root))}
    assert len(changed & {cell.key for cell in cells}) == len(cells) - 2


def test_a_choice_that_is_missing_is_said_before_the_start(
    folders: list[Path], tiny_root: Path
) -> None:
    sweep = sweep_of(folders)
    found = [finding.level for finding in doctor.examine_weights(sweep, ask_hub=False)]
    assert found == ["ok"] * 8
    shutil.rmtree(folders[1])
    failed = [f for f in doctor.examine_weights(sweep, ask_hub=False) if f.level == "fail"]
    assert failed
    assert all(str(folders[1]) in finding.message for finding in failed)
    with pytest.raises(InputError, match=rf"text\.encoder: {folders[1]}: expected the folder"):
        declaration(sweep, CellFactory(tiny_root))


def test_all_choices_are_sent_and_a_driver_elsewhere_knows_their_cells(
    folders: list[Path], tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(folders)
    cells = cells_of(sweep, CellFactory(tiny_root))
    declared = declaration(sweep, CellFactory(tiny_root))
    delivery = wanted(sweep, tiny_root)
    file = str(tmp_path / "weights.safetensors")
    assert set(delivery.weights) == {*map(str, folders), file}
    assert "images.npy" in delivery.data["tiny-mner"]
    store = FolderStore(tmp_path / "storage")
    package(store, sweep.name, delivery, tiny_root)
    for folder in folders:
        shutil.rmtree(folder)
    Path(file).unlink()

    sent = delivered(store, sweep.name)
    assert sent is not None
    factory = CellFactory(tiny_root, lambda config: sent.for_driver(store, config))
    assert [cell.key for cell in cells_of(sweep, factory)] == [cell.key for cell in cells]
    assert declaration(sweep, factory) == declared
    monkeypatch.setattr(nodes, "is_alone", lambda: True)
    monkeypatch.setattr(nodes, "ask_nodes", lambda question, *given: {"here": question(*given)})
    for more_to_come in (False, True):
        passed_on = nodes.deliver(sweep, store, tiny_root, more_to_come=more_to_come)
        assert passed_on == delivery
        assert delivered(store, sweep.name) == delivery
    for cell in cells:
        there, _ = delivery.receive(store, cell, RuntimeConfig(data_root=tiny_root))
        assert weights_fingerprints(there.config) == dict(cell.weights)


def test_what_has_changed_here_since_it_was_sent_is_taken_as_it_is(
    folders: list[Path], tiny_root: Path, tmp_path: Path
) -> None:
    sweep, store = sweep_of(folders), FolderStore(tmp_path / "storage")
    package(store, sweep.name, wanted(sweep, tiny_root), tiny_root)
    sent = delivered(store, sweep.name)
    assert sent is not None
    (folders[0] / "vocab.txt").write_text("another")
    config = sweep.resolve({"text.encoder": str(folders[0])})
    assert sent.for_driver(store, config) == config
    assert wanted(sweep, tiny_root, sent) != sent
