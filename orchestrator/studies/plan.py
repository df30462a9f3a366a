"""From a study's file to the cells that it wants: a sweep over a list of configurations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.sweep import (
    ListedConfiguration,
    ProtocolConfig,
    SchedulerConfig,
    SweepConfig,
)
from orchestrator.store.cell_factory import is_prepared, is_synthetic
from orchestrator.store.sweep_folder import STUDY, in_sweep
from orchestrator.studies.config import PARAMETERS, CaseFigure, StudyConfig, StudyRow
from shapca.config import ExperimentConfig, Task, validate, with_value
from shapca.config.variants import applies_to, apply_variant
from shapca.errors import InputError
from shapca.storage import ObjectStore, place_name, read_json

Winners = Mapping[str, Mapping[str, object]]
"""Dotted keys and values of a sweep's winner, by the sweep's name."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study trains.

    Attributes:
        study: Its file.
        configs: The experiment of each row and data set that goes together.
        names: The listed configuration that it is in `sweep`; rows whose experiments are equal
            share one. Those that no column asks to be trained have none.
        sweep: The study as a sweep over a list of configurations; None where nothing is trained.
    """

    study: StudyConfig
    configs: Mapping[tuple[str, str], ExperimentConfig]
    names: Mapping[tuple[str, str], str]
    sweep: SweepConfig | None

    def selected(self, rows: Collection[str], data: Collection[str]) -> SweepConfig | None:
        """The sweep over what belongs to some rows and data sets; None where nothing does.

        Args:
            rows: Titles of rows; empty: all.
            data: Keys of data sets; empty: all.

        Raises:
            InputError: a name that the study does not have.
        """
        for kind, names, known in (
            ("row", rows, list(self.study.all_rows())),
            ("data set", data, list(self.study.data)),
        ):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"study {self.study.name}: no {kind} {name!r}; it has {', '.join(known)}"
                    )
        kept = {
            name
            for (row, key), name in self.names.items()
            if (not rows or row in rows) and (not data or key in data)
        }
        if self.sweep is None or not kept:
            return None
        configurations = {
            name: listed for name, listed in self.sweep.configurations.items() if name in kept
        }
        return self.sweep.model_copy(update={"configurations": configurations})

    def planned(self) -> dict[str, int]:
        """Cells of the whole study by its phase."""
        if self.sweep is None:
            return {}
        return {"study": len(self.sweep.configurations) * len(self.study.seeds)}

    def check_is_drawn(self, data_root: Path) -> None:
        """Make sure that looking at the study draws no synthetic data.

        Args:
            data_root: Folder of the prepared data sets.

        Raises:
            InputError: a synthetic data set that is not drawn yet.
        """
        names = {config.data.dataset for config in self.configs.values()}
        names |= {column.test_on for column in self.study.columns.values() if column.test_on}
        for name in sorted(names):
            if is_synthetic(name) and not is_prepared(data_root / name):
                raise InputError(
                    f"study {self.study.name}: data set {name!r} is not under {data_root}, and is "
                    "not drawn with --no-train; name another place with --data-root"
                )


def plan_study(study: StudyConfig, winners: Winners) -> StudyPlan:
    """Resolve every row on every data set that it applies to.

    An experiment is the study's, then the data set's, then the settings of a sweep's winner, then
    the row's variant, then what the row sets.

    Args:
        study: Its file.
        winners: Settings of the winners of the sweeps that it names.

    Raises:
        InputError: a row is no valid experiment; the message names row, data set and key.
    """
    configs = {
        (title, key): config
        for title, row in study.all_rows().items()
        for key in study.data
        if (config := _config(study, title, row, key, winners)) is not None
    }
    names: dict[tuple[str, str], str] = {}
    listed: dict[str, ListedConfiguration] = {}
    trained = {column.data for column in study.columns.values() if column.score != PARAMETERS}
    if isinstance(study.figure, CaseFigure):
        trained.add(study.figure.data)
    needed = _needed(study)
    equal: dict[str, list[tuple[str, str]]] = {}
    for (title, key), config in configs.items():
        if key in trained:
            equal.setdefault(config.model_dump_json(), []).append((title, key))
    for places in equal.values():
        title, key = places[0]
        name = f"{title} · {key}" if len(trained) > 1 else title
        names |= dict.fromkeys(places, name)
        rows = ", ".join(row for row, _ in places)
        listed[name] = ListedConfiguration(
            experiment=configs[title, key].model_dump(mode="json", exclude_defaults=True),
            tags={"study": study.name, "row": rows, "data": places[-1][1]},
            keep_models=not needed.isdisjoint(places),
        )
    if not listed:
        return StudyPlan(study, configs, names, None)
    sweep = SweepConfig(
        name=study.name,
        configurations=listed,
        protocol=ProtocolConfig(kind="listed", seeds=study.seeds),
        scheduler=SchedulerConfig(kind="none"),
        resources=study.resources,
        budget=study.budget,
        runtime=study.runtime,
        keep_models="all" if study.keep_models == "all" else "confirmed",
    )
    return StudyPlan(study, configs, names, sweep)


def read_winners(study: StudyConfig, store: ObjectStore) -> dict[str, Mapping[str, object]]:
    """Settings of the winners of the sweeps that a study names.

    Raises:
        InputError: such a sweep is not in the storage, or has no confirmed winner yet.
    """
    from orchestrator.sweeps.record.history import recorded

    winners: dict[str, Mapping[str, object]] = {}
    for name in {data.from_sweep or study.from_sweep for data in study.data.values()} - {None}:
        assert name is not None
        confirmation = recorded(store, name).protocol.confirmation()
        if confirmation is None or not confirmation.scores:
            raise InputError(
                f"study {study.name}: from_sweep: sweep {name} has no confirmed winner in this "
                "storage yet. Run it to its end, or leave from_sweep out to use the values of "
                "the study's file"
            )
        winners[name] = confirmation.values
    return winners


def _config(
    study: StudyConfig, title: str, row: StudyRow, key: str, winners: Winners
) -> ExperimentConfig | None:
    """The experiment of a row on a data set; None where the row does not apply to it."""
    if not row.is_trained or (row.data is not None and key not in row.data):
        return None
    data = study.data[key]
    tree = merged(study.experiment, data.experiment)
    if (sweep := data.from_sweep or study.from_sweep) is not None:
        for dotted, value in winners[sweep].items():
            tree = with_value(tree, dotted, value)
    source = f"study {study.name}: row {title!r} on {key}"
    variant = row.variant or "shap-ca"
    if not applies_to(variant, task_of(study, key)):
        return None
    tree = apply_variant(tree, variant)
    for dotted, value in row.set.items():
        tree = with_value(tree, dotted, value)
    return validate(ExperimentConfig, tree, source, prefix="experiment")


def task_of(study: StudyConfig, key: str) -> Task:
    """The task of a data set of a study."""
    task: Task = merged(study.experiment, study.data[key].experiment).get("task", "mner")
    return task


def merged(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with another one over it, section by section."""
    result = dict(base)
    for key, value in other.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def _needed(study: StudyConfig) -> set[tuple[str, str]]:
    """Rows and data sets whose weights this study or a later one evaluates again."""
    rows = study.all_rows()
    moved = {column.data for column in study.columns.values() if column.test_on is not None}
    needed = {
        (title, key)
        for title, row in rows.items()
        for key in study.data
        if row.keep_models or key in moved
    }
    if isinstance(study.figure, CaseFigure):
        needed |= {(title, study.figure.data) for title in study.figure.rows}
    return needed


def stored_plan(store: ObjectStore, name: str) -> StudyPlan | None:
    """The plan of a study as it was last asked to run; None of a sweep.

    Raises:
        ValueError: the record was kept by other code, or a sweep that it takes settings from is
            not there.
    """
    place = in_sweep(name, STUDY)
    record = read_json(store, place, dict[str, Any])
    if record is None:
        return None
    study = validate(StudyConfig, record, f"{place_name(store)}: {place}")
    return plan_study(study, read_winners(study, store))


def planned_cells(store: ObjectStore, name: str) -> dict[str, int]:
    """Cells of a whole study by its phase; empty of a sweep, and of a study that cannot be planned.

    A study's record holds those cells alone that it was last asked to run.
    """
    try:
        plan = stored_plan(store, name)
    except ValueError:
        return {}
    return {} if plan is None else plan.planned()
