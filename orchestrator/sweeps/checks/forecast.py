"""What a sweep will take: epochs by early stopping's arithmetic, times the cost of one epoch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import NotRequired

from typing_extensions import TypedDict

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.expected_epochs import expected_epochs
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.store.cells import CellStore
from orchestrator.store.sweep_folder import FORECASTS, SWEEPS, in_sweep
from orchestrator.sweeps.checks.probe import EpochCost, middle
from orchestrator.sweeps.record.declaration import recall
from orchestrator.sweeps.record.history import History, recorded
from shapca.errors import InputError
from shapca.storage import FolderStore, ObjectStore, read_json, to_json
from shapca.words import counted


@dataclass(frozen=True)
class PhaseForecast:
    """What is left of one phase.

    Attributes:
        phase: Its name.
        trials: Trials still to run.
        epochs: Epochs that a trial is expected to take.
        trial_hours: Hours that all its trials together occupy their resources.
        hours: Hours that it takes with the slots there are.
    """

    phase: str
    trials: int
    epochs: float
    trial_hours: float
    hours: float


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take from now on.

    Attributes:
        sweep: Its name.
        at: When this was said, Unix time in seconds.
        slots: Trials at once.
        phases: What is left, by phase.
        cost: What an epoch costs, and how that is known.
        hours: Expected hours until the end.
        hours_at_most: The same where no trial is stopped early.
        gpu_hours: GPU hours still to be used.
        disk_bytes: Room that checkpoints and kept weights take at most at one time.
        hours_before: Hours that drivers had spent when this was said.
        limits: Budgets that are expected to end the sweep before its end.
    """

    sweep: str
    at: float
    slots: int
    phases: tuple[PhaseForecast, ...]
    cost: EpochCost
    hours: float
    hours_at_most: float
    gpu_hours: float
    disk_bytes: int
    hours_before: float
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class PastForecast:
    """A forecast of a sweep that has ended since.

    Attributes:
        sweep: Its name.
        at: When it was made.
        forecast_hours: Hours that the whole sweep should take.
        actual_hours: Hours that it took.
    """

    sweep: str
    at: float
    forecast_hours: float
    actual_hours: float

    @property
    def error(self) -> float:
        """Relative error: 0.5 where the sweep took half as long again as was said."""
        return self.actual_hours / self.forecast_hours - 1


def forecast(
    sweep: SweepConfig, history: History, cost: EpochCost, slots: int, now: float | None = None
) -> Forecast:
    """What is left of a sweep.

    Args:
        sweep: Its file.
        history: Its record so far.
        cost: What an epoch costs.
        slots: Trials at once.
        now: Unix time in seconds; None: the present.
    """
    epochs = sweep.max_epochs()
    planned, phases, at_most = history.protocol.planned(), [], 0.0
    for phase, wanted in planned.items():
        ended = sum(history.proposed[n].phase == phase for n in history.ended)
        left = max(0, wanted - ended)
        # Only the search is stopped early.
        usual = expected_epochs(sweep.scheduler, epochs, wanted) if phase == "search" else epochs
        hours = left * usual * cost.seconds / 3600
        longest = epochs * cost.seconds / 3600
        at_most += _wall(left * longest, longest, left, slots)
        phases.append(PhaseForecast(phase, left, usual, hours, _wall(hours, longest, left, slots)))
    found = Forecast(
        sweep=sweep.name,
        at=time.time() if now is None else now,
        slots=slots,
        phases=tuple(phases),
        cost=cost,
        hours=sum(phase.hours for phase in phases),
        hours_at_most=at_most,
        gpu_hours=sum(phase.trial_hours for phase in phases) * sweep.resources.gpus,
        disk_bytes=disk_bytes(sweep, planned, cost, slots),
        hours_before=history.wall_seconds() / 3600,
    )
    return replace(found, limits=_limits(sweep, history, found))


def disk_bytes(sweep: SweepConfig, planned: Mapping[str, int], cost: EpochCost, slots: int) -> int:
    """Room for checkpoints and weights at the worst moment: all slots busy, all that is kept there.

    Args:
        sweep: Its file.
        planned: Trials per phase.
        cost: Sizes of a checkpoint and of the best weights.
        slots: Trials at once.
    """
    kept = PROTOCOLS[sweep.protocol.kind].num_kept(sweep, planned)
    # A new checkpoint and new best weights are whole before the old ones go.
    return slots * 2 * (cost.checkpoint_bytes + cost.best_bytes) + kept * cost.best_bytes


def record(store: ObjectStore, made: Forecast) -> None:
    """Keep a forecast beside its sweep, so that it can be compared with what comes."""
    name = in_sweep(made.sweep, f"{FORECASTS}{round(1000 * made.at)}.json")
    store.put_new(name, to_json(asdict(made)))


class _Forecast(TypedDict):
    at: float
    hours: NotRequired[float]  # older ones do not have both
    hours_before: NotRequired[float]


def past_forecasts(store: ObjectStore) -> list[PastForecast]:
    """Forecasts of sweeps that are complete, beside what these took; the oldest first."""
    found = []
    for sweep in store.folders(SWEEPS):
        places = store.list(in_sweep(sweep, FORECASTS))
        if not places:
            continue
        try:
            history = recorded(store, sweep)
        except InputError:  # never begun, or damaged: then there is nothing to compare with
            continue
        if not history.ended or not history.is_complete():
            continue
        actual = history.wall_seconds() / 3600
        for place in places:
            said = read_json(store, place, _Forecast) or {}
            total = said.get("hours_before", 0.0) + said.get("hours", 0.0)
            # One that was made when nothing was left says nothing.
            if said.get("hours", 0.0) > 0:
                found.append(PastForecast(sweep, said["at"], total, actual))
    return sorted(found, key=lambda past: past.at)


def recorded_cost(store: ObjectStore, history: History) -> EpochCost | None:
    """What an epoch of this sweep took so far, from its record; None where that says nothing."""
    trained = [end for end in history.ended.values() if end.trained > 0]
    if not trained:
        return None
    epochs = sum(end.trained for end in trained)
    seconds = sum(end.seconds for end in trained) / epochs
    cells = CellStore(store)
    wanted = sorted(history.protocol.kept(history.sweep))  # not all: there may be 100,000
    kept = (cells.weights(history.proposed[number].cell) for number in wanted)
    best = next((_size(store, names[0]) for names in kept if names), 0)
    # AdamW keeps two moments beside each weight.
    return EpochCost(seconds, 3 * best, best, f"{counted(epochs, 'epoch')} of this sweep")


def cost_of_another(store: ObjectStore, sweep: SweepConfig) -> EpochCost | None:
    """What an epoch took in another sweep of the same model and data, on GPUs too; None: no such.

    Args:
        store: Where its record is looked for.
        sweep: The sweep that is asked about.
    """

    def load(one: SweepConfig) -> tuple[object, ...]:
        config = one.resolve(middle(one))
        parts = config.task, config.data, config.text, config.image, config.fusion, config.head
        return *parts, config.optimisation.batch_size, config.optimisation.precision

    for name in store.folders(SWEEPS):
        if name == sweep.name:
            continue
        with contextlib.suppress(InputError):  # never begun, damaged, or of an older form
            other = recall(store, name)
            if not other.resources.gpus or load(other) != load(sweep):
                continue
            cost = recorded_cost(store, recorded(store, name))
            if cost:
                return replace(cost, source=cost.source.replace("this sweep", f"sweep {name}"))
    return None


def _size(store: ObjectStore, name: str) -> int:
    if isinstance(store, FolderStore):
        return (store.root / name).stat().st_size
    return len(store.get(name) or b"")


def _wall(hours: float, longest: float, trials: int, slots: int) -> float:
    """Hours of a phase: its trials share the slots, and it takes as long as one of them."""
    return max(hours / slots, min(longest, hours)) if trials else 0.0


def _limits(sweep: SweepConfig, history: History, made: Forecast) -> tuple[str, ...]:
    budget, limits = sweep.budget, []
    if budget.wall_hours is not None and made.hours_before + made.hours > budget.wall_hours:
        limits.append(f"wall_hours {budget.wall_hours:g}")
    cells = history.cells_trained() + sum(phase.trials for phase in made.phases)
    if budget.cells is not None and cells > budget.cells:
        limits.append(f"cells {budget.cells}")
    used = history.trial_seconds() / 3600 * sweep.resources.gpus
    if budget.gpu_hours is not None and used + made.gpu_hours > budget.gpu_hours:
        limits.append(f"gpu_hours {budget.gpu_hours:g}")
    return tuple(limits)
