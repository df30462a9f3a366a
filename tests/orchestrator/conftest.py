"""What the orchestrator's tests share."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.tracking.client.client import Tracking


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database: making one takes some ten seconds, copying it none."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Tracking(f"sqlite:///{database}").experiment("template")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


@pytest.fixture
def mlflow_uri(mlflow_template: Path, tmp_path: Path) -> str:
    """A test's own MLflow store."""
    folder = tmp_path / "tracked"
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{shutil.copy(mlflow_template, folder / 'mlflow.db')}"
