"""What `orchestrator study --power` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.store.cell_factory import CellFactory
from orchestrator.studies.power import foresee
from orchestrator.tables.power import Noise, detectable, power
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from tests.orchestrator.studies.test_plan import plan_of


def tree(**changes: object) -> dict[str, object]:
    data = {key: {"experiment": {"data": {"dataset": "tiny-mner"}}} for key in ("A", "B")}
    return {
        "name": "small", "title": "Small", "data": data, "reference": "no alignment",
        "experiment": {"data": {"contexts": "captions"}},
        "columns": {"A": {"data": "A"}, "B": {"data": "B"}}, "pooled": {"both": ["A", "B"]},
        "rows": {"all": {"variant": "shap-ca"},
                 "no alignment": {"set": {"alignment.objective": "none"}}},
        "seeds": [1, 2, 3, 4], **changes,
    }  # fmt: skip


def test_power_is_foretold_from_the_gold_items(tiny_root: Path, tiny_mner: PreparedData) -> None:
    gold = sum(len(example.entities) for example in tiny_mner.splits["test"])
    found = {item.column: item for item in foresee(plan_of(tree()), CellFactory(tiny_root))}
    assert list(found) == ["A", "B", "both"]
    assert (found["A"].num_gold, found["both"].num_gold) == (gold, 2 * gold)
    assert list(found["A"].detectable) == [3, 4, 5, 10]
    noise = Noise.assumed([gold, gold])
    assert found["both"].detectable[4] == detectable(noise, 4)
    assert found["both"].of_one[4] == power(1.0, noise, 4)
    assert found["both"].detectable[10] < found["A"].detectable[10]


def test_a_study_without_comparison_says_so(tiny_root: Path) -> None:
    with pytest.raises(InputError, match="reference"):
        foresee(plan_of(tree(reference=None)), CellFactory(tiny_root))


def test_the_command_trains_nothing(tmp_path: Path, tiny_root: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tree()), encoding="utf-8")
    storage = tmp_path / "storage"
    command = ["study", str(file), "--power", "--data-root", str(tiny_root)]
    done = CliRunner().invoke(app, [*command, "--storage", str(storage)])
    assert done.exit_code == 0, done.output
    assert re.search(r"both \(\d+ gold items\): 3 seeds: [\d.]+ \(\d+%\)", done.output)
    assert not storage.exists()
