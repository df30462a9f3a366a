"""Data sets and weights for nodes that have no data folder: packaged, received, put in place.

Only the parts that a sweep's cells read are packaged. A node receives each file once, keeps it by
its content, and shows it to trials as a data root or an encoder's folder of its own.

Layout of the storage: sweeps/<sweep>/delivery.json, and the files as in `blobs`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.cluster.parcels.blobs import node_cache, pack, unpack
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cells import Cell
from orchestrator.store.sweep_folder import DELIVERY, in_sweep
from shapca.config import ExperimentConfig, RuntimeConfig, is_local_path
from shapca.data.manifest import MANIFEST, Manifest, hash_file
from shapca.errors import InputError
from shapca.storage import ObjectStore, read_json, to_json
from shapca.storage import digest as digest_of

Files = Mapping[str, str]
"""Relative file name to SHA-256."""


@dataclass(frozen=True)
class Delivery:
    """What nodes may have to receive.

    Attributes:
        data: By name of the data set, the files that cells read.
        weights: By the place that the configuration names, the files of that folder; a single file
            has its own name alone.
    """

    data: Mapping[str, Files] = field(default_factory=dict)
    weights: Mapping[str, Files] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a trial and the storage get it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Delivery:
        """The inverse of `to_json`.

        Raises:
            InputError: a name would leave its folder, or a hash is not one.
        """
        delivery = cls(record.get("data", {}), record.get("weights", {}))
        names = [*delivery.data]
        for files in (*delivery.data.values(), *delivery.weights.values()):
            names += files
            for digest in files.values():
                if not re.fullmatch("[0-9a-f]{64}", digest):
                    raise InputError(f"packaged data: expected a SHA-256, got {digest[:80]!r}")
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise InputError(f"packaged data: file name {name!r} is not allowed")
        return delivery

    def receive(
        self, store: ObjectStore, cell: Cell, runtime: RuntimeConfig
    ) -> tuple[Cell, RuntimeConfig]:
        """Cell and settings as this node can run them: what is not here is fetched.

        Args:
            store: The storage.
            cell: The cell. Its key does not change: places of weights are not part of it.
            runtime: The settings; only their data root may change.

        Raises:
            InputError: something is neither here nor in the storage.
        """
        root = self.root_of(store, cell.config.data.dataset, runtime.data_root)
        if root != runtime.data_root:
            runtime = runtime.model_copy(update={"data_root": root})
        return replace(cell, config=self._with_weights(store, cell.config, _same)), runtime

    def root_of(self, store: ObjectStore, name: str, data_root: Path) -> Path:
        """The folder on this node that holds a data set: `data_root`, or where it is received."""
        files = self.data.get(name)
        if files is None or _is_here(data_root / name, files):
            return data_root
        return self.receive_data(store, name)

    def receive_data(self, store: ObjectStore, name: str) -> Path:
        """The data root of this node that holds a delivered data set."""
        return _received(store, "data", self.data[name], name)

    def for_driver(self, store: ObjectStore, config: ExperimentConfig) -> ExperimentConfig:
        """A configuration whose weights lie on this node, where a driver has no such place at all.

        What is here is taken as it is, for it may have changed since it was packaged.
        """
        return self._with_weights(store, config, lambda place, files: place.exists())

    def _with_weights(
        self, store: ObjectStore, config: ExperimentConfig, is_here: Callable[[Path, Files], bool]
    ) -> ExperimentConfig:
        def place_here(place: str) -> str:
            files = self.weights.get(place)
            if files is None or is_here(Path(place).expanduser(), files):
                return place
            folder = _received(store, "weights", files)
            is_file = list(files) == [Path(place).name]
            return str(folder / Path(place).name if is_file else folder)

        text = config.text.model_copy(update={"encoder": place_here(config.text.encoder)})
        part = "encoder" if config.image.is_from_transformers else "weights"
        place = place_here(getattr(config.image, part))
        image = config.image.model_copy(update={part: place})
        return config.model_copy(update={"text": text, "image": image})


def wanted(sweep: SweepConfig, data_root: Path, sent: Delivery | None = None) -> Delivery:
    """All that the cells of a sweep read from this machine's folders, with its hashes.

    Args:
        sweep: The sweep's file.
        data_root: Folder of the prepared data sets.
        sent: What was packaged for the sweep already: weights that this machine has not.
    """
    there = {} if sent is None else sent.weights
    data: dict[str, dict[str, str]] = {}
    weights: dict[str, Files] = {}
    settings = itertools.chain(sweep.corners(), sweep.probes())  # pairs of choices, too
    for config in _reading_alike(map(sweep.resolve, settings)):
        folder = data_root / config.data.dataset
        if (folder / MANIFEST).is_file():
            data.setdefault(config.data.dataset, {}).update(parts_of(folder, config))
        for place in _local_weights(config):
            folder = Path(place).expanduser()
            if place not in weights:
                is_sent = place in there and not folder.exists()
                weights[place] = there[place] if is_sent else _hashes(folder)
    return Delivery(data, weights)


def _reading_alike(configs: Iterable[ExperimentConfig]) -> Iterable[ExperimentConfig]:
    """One of those that read the same."""
    return {
        (one.task, one.data, one.text.encoder, one.image.encoder, one.image.weights): one
        for one in configs
    }.values()


def package(store: ObjectStore, sweep: str, delivery: Delivery, data_root: Path) -> int:
    """Put a sweep's delivery into the storage; how many bytes that took.

    Raises:
        InputError: a file has changed since its data set was prepared.
    """
    written = pack_files(store, delivery, data_root)
    store.put(in_sweep(sweep, DELIVERY), to_json(delivery.to_json()))
    return written


def pack_files(store: ObjectStore, delivery: Delivery, data_root: Path) -> int:
    """Put the files of a delivery into the storage; how many bytes that took.

    Raises:
        InputError: a file has changed since its data set was prepared.
    """
    written = 0
    for name, files in delivery.data.items():
        for part, digest in files.items():
            written += pack(store, data_root / name / part, digest)
    for place, files in delivery.weights.items():
        folder = Path(place).expanduser()
        for part, digest in files.items() if folder.exists() else ():  # else it was sent here
            written += pack(store, folder if folder.is_file() else folder / part, digest)
    return written


def delivered(store: ObjectStore, sweep: str) -> Delivery | None:
    """What was packaged for a sweep, if anything."""
    record = read_json(store, in_sweep(sweep, DELIVERY), Delivery)
    return None if record is None else Delivery.from_json(record)


def find_data_root(store: ObjectStore, sweep: SweepConfig, data_root: Path) -> Path:
    """The data root that a driver uses: its own, or else what was packaged for the sweep.

    A driver that runs as a job on a cluster has no data folder where the data were packaged on the
    machine that submitted it.
    """
    names = sorted({sweep.resolve(values).data.dataset for values in sweep.corners()})
    if any((data_root / name / MANIFEST).is_file() for name in names):
        return data_root
    delivery = delivered(store, sweep.name)
    if delivery is None or any(name not in delivery.data for name in names):
        return data_root
    roots = [delivery.receive_data(store, name) for name in names]
    if len(roots) == 1:
        return roots[0]
    together = node_cache() / "data" / hashlib.sha256(str(roots).encode()).hexdigest()[:16]
    together.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, root in zip(names, roots, strict=True):
        with contextlib.suppress(FileExistsError):
            (together / name).symlink_to(root / name)
    return together


def is_here(delivery: Delivery, data_root: Path) -> bool:
    """Whether this node has all of a delivery without receiving anything."""
    return all(_is_here(data_root / name, files) for name, files in delivery.data.items()) and all(
        _same(Path(place).expanduser(), files) for place, files in delivery.weights.items()
    )


def parts_of(folder: Path, config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """The files that a run with this config reads, with their hashes."""
    manifest = Manifest.load(folder)
    yield MANIFEST, hash_file(folder / MANIFEST)
    yield from manifest.parts_read_by(config).items()


def _local_weights(config: ExperimentConfig) -> list[str]:
    places = [config.text.encoder] if is_local_path(config.text.encoder) else []
    image = config.image
    place = image.encoder if image.is_from_transformers else image.weights
    if image.encoder != "none" and is_local_path(place):
        places.append(place)
    return places


def _hashes(place: Path) -> Files:
    if place.is_file():
        return {place.name: hash_file(place)}
    from shapca.model.encoders.weights import MODEL_FILES, PICKLED_FILES  # slow to import

    read = {file for pattern in MODEL_FILES + PICKLED_FILES for file in place.glob(pattern)}
    return {file.name: hash_file(file) for file in sorted(read)}


def _is_here(folder: Path, files: Files) -> bool:
    """Whether a prepared folder is the packaged one: its manifest names every part's hash."""
    manifest = folder / MANIFEST
    return (
        manifest.is_file()
        and hash_file(manifest) == files[MANIFEST]
        and all((folder / name).is_file() for name in files)
    )


def _same(place: Path, files: Files) -> bool:
    return place.exists() and _hashes(place) == dict(files)


def _received(store: ObjectStore, kind: str, files: Files, name: str = "") -> Path:
    """This node's folder of what was delivered, which shows the files below `name`.

    It appears whole or not at all.
    """
    received = node_cache() / kind / digest_of(dict(files))
    folder = received / name
    if folder.is_dir():
        return received
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
    for name, digest in files.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.link(unpack(store, digest, node_cache()), partial / name)
    try:
        os.rename(partial, folder)
    except OSError:  # another trial of this node was faster
        shutil.rmtree(partial, ignore_errors=True)
    return received
