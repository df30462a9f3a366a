"""`run.json`: what a run is, so that no other run ever resumes in its place.

Its `identity` decides whether a store belongs to the run that is asked for; its `environments` say
which code, libraries and machine worked on it, from which epoch on.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from shapca.config import ExperimentConfig, validate
from shapca.data.prepared import PreparedData
from shapca.data.schema import Labels
from shapca.errors import InputError
from shapca.model.device import device_name
from shapca.model.encoders import weights_fingerprints
from shapca.model.inputs import training_examples
from shapca.runs.code import code_fingerprint
from shapca.runs.forms import Run
from shapca.runs.layout import RUN
from shapca.runs.provenance import git_commit, library_versions
from shapca.runs.reading import Reading
from shapca.storage import ObjectStore, place_name, read_json, to_json
from shapca.storage.differences import differences
from shapca.storage.records import check_form

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """What worked on a run: recorded beside the result, not part of its identity.

    Attributes:
        from_epoch: First epoch that was trained in it.
        code: Fingerprint of the package.
        versions: Versions of the libraries.
        git_commit: Commit of the checkout, if any.
        device: Name of the device.
        num_threads: CPU threads of torch.
    """

    from_epoch: int
    code: str
    versions: dict[str, str]
    git_commit: str | None
    device: str
    num_threads: int

    @classmethod
    def current(cls, from_epoch: int, device: torch.device) -> Environment:
        """The environment of this process."""
        return cls(
            from_epoch=from_epoch,
            code=code_fingerprint(),
            versions=library_versions(),
            git_commit=git_commit(),
            device=device_name(device),
            num_threads=torch.get_num_threads(),
        )


@dataclass(frozen=True)
class RunRecord:
    """What a run is and what is needed to read its weights again.

    Attributes:
        config: The experiment's configuration.
        seed: Seed of all that is random.
        data: Hashes of the data parts that the run reads.
        weights: Fingerprints of its pretrained weights.
        labels: Label sets of the data.
        dataset: Name of the data set.
        reading: How new posts are read.
        environments: What worked on the run, in order.
    """

    config: ExperimentConfig
    seed: int
    data: dict[str, str]
    weights: dict[str, str]
    labels: Labels
    dataset: str
    reading: Reading
    environments: tuple[Environment, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """What another run must share with this one to be the same."""
        return {
            "config": self.config.canonical(),
            "seed": self.seed,
            "data": self.data,
            "weights": self.weights,
            "labels": self.labels.to_json(),
        }

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {
            "config": self.config.model_dump(mode="json"),
            "dataset": self.dataset,
            "reading": self.reading.to_json(),
            "identity": self.identity,
            "environments": [asdict(environment) for environment in self.environments],
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> RunRecord:
        """The inverse of `to_json`."""
        identity = record["identity"]
        return cls(
            config=validate(ExperimentConfig, record["config"], RUN, prefix="config"),
            seed=identity["seed"],
            data=identity["data"],
            weights=identity["weights"],
            labels=Labels.from_json(identity["labels"]),
            dataset=record["dataset"],
            reading=Reading.from_json(record["reading"]),
            environments=tuple(_environment(item) for item in record["environments"]),
        )


def _environment(record: dict[str, Any]) -> Environment:
    check_form(record, Environment, f"{RUN}: environments")
    return Environment(**record)


def describe_run(
    config: ExperimentConfig, data: PreparedData, seed: int, device: torch.device
) -> RunRecord:
    """The record of a run that begins in this process.

    Raises:
        InputError: config and data do not fit, or pretrained weights cannot be found.
    """
    hashes = data.part_hashes(config)
    images = data.image_store() if config.image.encoder != "none" else None
    train = training_examples(config, data)
    if config.data.contexts is not None:
        data.contexts(config.data.contexts)  # a damaged part is found before anything is written
    return RunRecord(
        config=config,
        seed=seed,
        data=hashes,
        weights=weights_fingerprints(config),
        labels=data.labels,
        dataset=data.name,
        reading=Reading.learn(config.task, train, None if images is None else images.size),
        environments=(Environment.current(1, device),),
    )


def load_run(store: ObjectStore) -> RunRecord:
    """The record of a run.

    Raises:
        InputError: the store holds no run, or its record is damaged.
    """
    place = place_name(store)
    record = read_json(store, RUN, Run)
    if record is None:
        raise InputError(
            f"{place}: no run here ({RUN} is missing); expected the folder of a run "
            "or of a saved model"
        )
    try:
        return RunRecord.from_json(record)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def find_run(store: ObjectStore, asked: RunRecord) -> RunRecord | None:
    """The record of the run that a store holds, or `None` where it holds none.

    Raises:
        InputError: it is another run than the one asked for; the message names every difference.
    """
    if store.get(RUN) is None:
        return None
    there = load_run(store)
    differing = [
        f"{key.removeprefix('config.')} is {stored} there, {wanted} asked for"
        for key, stored, wanted in differences(there.identity, asked.identity, absent="the default")
    ]
    if differing:
        raise InputError(
            f"{place_name(store)}: holds another run; choose another folder, or remove it. "
            "Differences: " + "; ".join(differing)
        )
    return there


def claim_run(store: ObjectStore, asked: RunRecord) -> RunRecord:
    """Write the record of a new run, or check that the store's run is the one asked for.

    Returns:
        The record as it stands in the store.

    Raises:
        InputError: the store holds another run; the message names every difference.
    """
    if store.put_new(RUN, to_json(asked.to_json())):
        return asked
    return find_run(store, asked) or asked


def record_environment(
    store: ObjectStore, record: RunRecord, environment: Environment
) -> RunRecord:
    """Note what resumes a run, where it differs from what worked on it before.

    Returns:
        The record as it now stands in the store.
    """
    last = record.environments[-1]
    if replace(environment, from_epoch=last.from_epoch) == last:
        return record
    logger.warning(
        "the run resumes at epoch %d with other code, libraries, device or threads; "
        "run.json says which",
        environment.from_epoch,
    )
    changed = replace(record, environments=(*record.environments, environment))
    store.put(RUN, to_json(changed.to_json()))
    return changed
