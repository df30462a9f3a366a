"""From a setting of a sweep to the cell that it is: config, data parts and weights by content."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.store.cells import Cell
from shapca.config import ExperimentConfig, Task
from shapca.data.prepared import PreparedData
from shapca.errors import InputError

SYNTHETIC = "synthetic"


class CellFactory:
    """Makes cells; each data set is opened, and each set of weights hashed, once.

    Args:
        data_root: Folder of the prepared data sets.
        locate: Gives a configuration whose local weights lie on this machine; None: they do.
    """

    def __init__(
        self,
        data_root: Path,
        locate: Callable[[ExperimentConfig], ExperimentConfig] | None = None,
    ) -> None:
        self.data_root = data_root
        self.locate = locate or (lambda config: config)
        self._data: dict[str, PreparedData] = {}
        self._weights: dict[tuple[str, str, str], dict[str, str]] = {}

    def cell(self, config: ExperimentConfig, seed: int) -> Cell:
        """The cell of an experiment and a seed.

        Raises:
            InputError: Its data set, a part of it, or its weights are missing.
        """
        return Cell(config, seed, self.data(config).part_hashes(config), self._weights_of(config))

    def data(self, config: ExperimentConfig) -> PreparedData:
        """The prepared data set that an experiment reads.

        Raises:
            InputError: It is missing.
        """
        name = config.data.dataset
        if name not in self._data:
            self._data[name] = PreparedData.load(prepared_folder(self.data_root, config))
        return self._data[name]

    def _weights_of(self, config: ExperimentConfig) -> dict[str, str]:
        key = (config.text.encoder, config.image.encoder, config.image.weights)
        if key not in self._weights:
            from shapca.model.encoders import weights_fingerprints  # torch comes with it

            self._weights[key] = weights_fingerprints(self.locate(config))
        return self._weights[key]


class BareFactory(CellFactory):
    """Makes cells without inputs, for a sweep that is only looked at: its data may be elsewhere.

    Their keys are not those of the real cells and must never be recorded.
    """

    def __init__(self) -> None:
        super().__init__(Path("."))

    def cell(self, config: ExperimentConfig, seed: int) -> Cell:
        """The cell of an experiment and a seed, as if it read nothing."""
        return Cell(config, seed)


def prepared_folder(data_root: Path, config: ExperimentConfig) -> Path:
    """The prepared folder that an experiment reads; a synthetic one is made where it is missing.

    `synthetic`, `synthetic-<domain>`, and either with `-<task>` where the task is not `mner`.

    Raises:
        InputError: No such folder.
    """
    name = config.data.dataset
    folder = data_root / name
    if is_prepared(folder):
        return folder
    domain = synthetic_domain(name, config.task)
    if domain is not None:
        from shapca.data.synthetic import synthesise

        print(f"{name}: not there, so a synthetic data set is drawn in {folder}", file=sys.stderr)
        synthesise(folder, task=config.task, domain=domain)
        return folder
    raise InputError(
        f"data.dataset: {name!r} is not under {data_root}: expected the prepared folder {folder}. "
        f"Make it with `shapca data prepare … --out {folder}`, or name another place with "
        "--data-root"
    )


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a prepared data set."""
    return (folder / "manifest.json").is_file()


def is_synthetic(name: str) -> bool:
    """Whether a data set of this name is drawn where it is missing."""
    return name == SYNTHETIC or name.startswith(f"{SYNTHETIC}-")


def synthetic_domain(name: str, task: Task) -> str | None:
    """The domain that a synthetic data set is drawn from; None where it is no synthetic one.

    Raises:
        InputError: A synthetic one of an unknown domain, or of another task.
    """
    if not is_synthetic(name):
        return None
    from shapca.data.synthetic import DOMAINS

    parts = name.split("-")[1:]
    domains = [part for part in parts if part in DOMAINS]
    unknown = [part for part in parts if part not in (*DOMAINS, task)]
    if unknown or len(domains) > 1:
        raise InputError(
            f"data.dataset: {name!r}: expected {SYNTHETIC}, optionally with -{task} and one of "
            f"{', '.join(f'-{domain}' for domain in DOMAINS)}"
        )
    if task != "mner" and task not in parts:
        raise InputError(f"data.dataset: {name!r} holds mner; for {task} name it {name}-{task}")
    return domains[0] if domains else next(iter(DOMAINS))
