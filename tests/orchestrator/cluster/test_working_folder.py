"""What Ray packs of a used clone where it is told `--working-dir .`."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

from tests.paths import ROOT

PROJECT = (
    "shapca/data/prepared.py",
    "shapca/storage/__init__.py",  # folders below that are called as those which are left out
    "shapca/runs/layout.py",
    "orchestrator/__main__.py",
    "search_spaces/demo.yaml",
    "configs/demo.yaml",
    "pyproject.toml",
)
MADE = (
    ".git/objects/pack/large.pack",
    ".venv/lib/python3/site-packages/torch/lib/large.so",
    "data/twitter2017/images.bin",
    "raw/twitter2017/train.txt",
    "runs/demo-seed1/run.json",
    "storage/sweeps/demo/sweep.json",
    "paper-demo/table1.md",
    ".mypy_cache/3.11/large.json",
    "shapca/__pycache__/cli.cpython-311.pyc",
    "mlflow.db",
    ".env",
)


@pytest.mark.parametrize("ignored_by_git_too", [True, False])
def test_ray_packs_the_project_and_nothing_that_was_made(
    tmp_path: Path, ignored_by_git_too: bool
) -> None:
    clone, package = tmp_path / "clone", tmp_path / "package.zip"
    for name in (*PROJECT, *MADE):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("content", encoding="utf-8")
    for name in (".rayignore", ".gitignore"):
        shutil.copy(ROOT / name, clone)
    create_package(str(clone), package, include_gitignore=ignored_by_git_too)
    packed = {name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert packed == {*PROJECT, ".rayignore", ".gitignore"}
