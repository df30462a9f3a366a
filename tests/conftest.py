"""Data sets that the whole session shares; a test that changes one makes its own."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import settings

from shapca.config import Task
from shapca.data.prepared import PreparedData
from tests.factories import tiny_data

# A shell's background job ignores interrupts, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors only wait for threads, and a ratio of times would be of the waiting."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, PreparedData]:
    """`tiny_data` of each task, in one data root: `tiny-mner`, `tiny-mre`, `tiny-mjere`."""
    root = tmp_path_factory.mktemp("data")
    return {task: tiny_data(root, task) for task in get_args(Task)}


@pytest.fixture(scope="session")
def tiny_root(tiny_datasets: dict[Task, PreparedData]) -> Path:
    """The data root that holds `tiny_datasets`."""
    return tiny_datasets["mner"].folder.parent


@pytest.fixture(scope="session")
def tiny_mner(tiny_datasets: dict[Task, PreparedData]) -> PreparedData:
    return tiny_datasets["mner"]


@pytest.fixture(scope="session")
def tiny_mre(tiny_datasets: dict[Task, PreparedData]) -> PreparedData:
    return tiny_datasets["mre"]


@pytest.fixture(scope="session")
def tiny_mjere(tiny_datasets: dict[Task, PreparedData]) -> PreparedData:
    return tiny_datasets["mjere"]


@pytest.fixture(scope="session")
def vision_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the smallest models of image and text: `llava`, `blip2`, `qwen2_vl`."""
    from tests import vision_language

    root = tmp_path_factory.mktemp("models")
    return {
        "llava": vision_language.save_llava(root / "llava"),
        "blip2": vision_language.save_blip2(root / "blip2"),
        "qwen2_vl": vision_language.save_qwen2_vl(root / "qwen2_vl"),
    }


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real benchmarks; tests that use it skip where there is none."""
    folder = os.environ.get("SHAPCA_REAL_DATA")
    if not folder:
        pytest.skip("SHAPCA_REAL_DATA is not set: no real benchmarks to read")
    return Path(folder)


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database: making one takes some ten seconds, copying it none."""
    from orchestrator.tracking.client.client import Tracking

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
