"""Fake sweeps that reports are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.content import Content
from orchestrator.reports.make import content_from
from orchestrator.sweeps.record.declaration import remember
from shapca.storage import FolderStore
from tests.orchestrator.fakes import CODE, RAISES, execute, open_sweep, sweep_config

NASTY = "<script>alert('x')</script>&"


def run(folder: Path, sweep: SweepConfig, steps: int | None = None) -> Path:
    """Work on a fake sweep, to its end or for so many steps."""
    conductor = open_sweep(folder, sweep)
    execute(conductor, folder, lambda done: steps is not None and done >= steps)
    remember(FolderStore(folder), sweep)
    return folder


def content(folder: Path, sweep: str = "small", code: str = CODE) -> Content:
    return content_from(FolderStore(folder), sweep, str(folder), code)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A confirmed sweep with pruned trials."""
    sweep = sweep_config(protocol={"trials": 8, "confirm_seeds": [11, 12, 13]})
    return run(tmp_path_factory.mktemp("finished"), sweep)


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with failed trials and choices whose names are markup."""
    sweep = sweep_config(
        space={
            "head.dropout": {"type": "choice", "values": [0.1, RAISES]},
            "text.encoder": {"type": "choice", "values": [NASTY, "tiny"]},
        },
        protocol={"kind": "replicate", "sampler": "grid", "seeds": [1, 2]},
        scheduler={"kind": "none"},
    )
    return run(tmp_path_factory.mktemp("troubled"), sweep)


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose driver was killed in its third trial."""
    return run(tmp_path_factory.mktemp("unfinished"), sweep_config(), steps=8)
