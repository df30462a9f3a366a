"""What a sweep's record says when its driver begins again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.record.history import History
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import FakeFactory, execute, open_sweep, sweep_config


def begin(folder: Path, sweep: SweepConfig) -> History:
    factory: Any = FakeFactory()
    return History.begin(FolderStore(folder), sweep, factory, {"protocol": {"kind": "confirm"}})


def test_a_sweep_whose_file_means_something_else_now_is_refused(tmp_path: Path) -> None:
    sweep = sweep_config()
    begin(tmp_path, sweep)
    execute(open_sweep(tmp_path, sweep), tmp_path, stop=lambda steps: steps > 2)
    assert begin(tmp_path, sweep).proposed

    # As a changed default would: the declaration, which quotes the file, is the same.
    other = {"experiment": {**sweep.experiment, "head": {"dropout": 0.3}}}
    with pytest.raises(
        InputError, match=r"sweep small: the same file meant something else .*small-2"
    ):
        begin(tmp_path, sweep.model_copy(update=other))
