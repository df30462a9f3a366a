"""Where and on what a run happens, and the file that says so beside its experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shapca.config import shipped
from shapca.config.base import Section
from shapca.config.files import apply_overrides, read_yaml, validate
from shapca.config.sections import ExperimentConfig


class RuntimeConfig(Section):
    """Where and on what a run happens; recorded beside a result, never part of its key."""

    data_root: Path = Field(default_factory=lambda: Path(os.environ.get("SHAPCA_DATA", "data")))
    """Folder of the prepared data sets."""
    device: str = "auto"
    """`auto` (CUDA where present), `cpu`, `cuda`, `cuda:1` …"""
    num_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of torch; null: torch's own choice."""
    num_workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Worker processes that collate batches."""
    checkpoint_every: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Epochs from one checkpoint to the next, or five minutes: a run that is stopped repeats at
    most so much. null: 1 in a folder, 5 in a bucket."""


def load_training_file(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[ExperimentConfig, RuntimeConfig]:
    """Read a training YAML, or by its name one that comes along.

    It holds the experiment's sections and, optionally, `runtime`.

    Raises:
        InputError: the file is missing, is not YAML, or a key or value is not allowed.
    """
    path = shipped.find(path, "configs")
    tree = apply_overrides(read_yaml(path), overrides)
    runtime = tree.pop("runtime", {})
    return (
        validate(ExperimentConfig, tree, str(path)),
        validate(RuntimeConfig, runtime, str(path), prefix="runtime"),
    )
