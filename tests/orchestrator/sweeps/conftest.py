"""A sweep that ran to its end, for all tests of its record and its views."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.sweeps.record.declaration import remember
from shapca.storage import FolderStore
from tests.orchestrator.fakes import execute, open_sweep, sweep_config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a sweep that ran to its end."""
    folder = tmp_path_factory.mktemp("storage")
    sweep = sweep_config()
    execute(open_sweep(folder, sweep), folder)
    remember(FolderStore(folder), sweep)
    return folder
