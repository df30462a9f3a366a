"""The house: few rooms a folder, one sentence each, and walls that hold."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("shapca", "orchestrator")
MOST_FILES = {"shapca": 17}
MOST_LINES = 320
CONTRACTS = {
    "every floor uses lower floors alone",
    "no two neighbours import each other, at any depth",
    "mlflow is imported by tracking alone",
    "optuna is imported by search alone",
    "ray is imported by the cluster and the trials, and by one pruner",
}


def folders() -> Iterator[Path]:
    for package in PACKAGES:
        for folder in (ROOT / package, *(ROOT / package).rglob("*")):
            if folder.is_dir() and any(folder.glob("*.py")):
                yield folder


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_has_few_files_and_says_in_a_sentence_what_it_is(folder: Path) -> None:
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= MOST_FILES.get(folder.name, 14)
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    assert docstring.partition("\n\n")[0].endswith(".")


def test_the_orchestrator_has_ten_wings() -> None:
    rooms = {path.name for path in (ROOT / "orchestrator").glob("*.py")}
    assert rooms == {"__init__.py", "__main__.py", "cli.py"}
    assert len(list((ROOT / "orchestrator").glob("*/__init__.py"))) <= 10


def test_tests_mirror_the_packages() -> None:
    for file in (ROOT / "tests").glob("[so]*/**/test_*.py"):
        mirrored = ROOT / file.parent.relative_to(ROOT / "tests")
        assert mirrored.is_dir() or file.parent.name == "soak", file


def broken_contracts(folder: Path) -> set[str]:
    """The contracts that the copy of the project in a folder breaks."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert {line.removesuffix(" KEPT").removesuffix(" BROKEN") for line in lines} >= CONTRACTS, (
        done.stdout + done.stderr
    )
    return {line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")}


def test_wrong_imports_break_the_contracts(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert broken_contracts(tmp_path) == set()
    for file, line in {
        "sweeps/control/conductor.py": "from orchestrator.studies.run import run_study",
        "studies/run.py": "import mlflow",
        "search/protocol.py": "import ray, optuna",
        "store/cells.py": "import optuna",
    }.items():
        path = tmp_path / "orchestrator" / file
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert broken_contracts(tmp_path) == CONTRACTS
