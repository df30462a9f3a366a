"""Samplers: which configuration the search tries next.

Proposal n is a function of (sampler seed, n, history) alone: every call builds a fresh Optuna study
in memory from the history and seeds the sampler from (sampler seed, n). A sweep taken up again
therefore proposes what it would have proposed had it never stopped.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

from orchestrator.config.conditions import (
    in_order,
    is_conditional,
    is_present,
    present,
    within,
)
from orchestrator.config.dimensions import (
    ChoiceDimension,
    Dimension,
    FloatDimension,
    Scalar,
    Values,
    between,
)
from orchestrator.config.sweep import SweepConfig

State = Literal["running", "finished", "pruned", "failed"]


class Tried(NamedTuple):
    """A configuration that was proposed, and what came of it.

    Attributes:
        values: The setting of the search space.
        state: `failed` stands for errors and for diverged training.
        value: Best validation F1 in percent, where there is one.
        epoch: Last epoch trained.
    """

    values: Values
    state: State
    value: float | None = None
    epoch: int = 0


def build_sampler(sweep: SweepConfig) -> GridSampler | QuasiRandomSampler | OptunaSampler:
    """The sampler that a sweep asks for; configurations count from 1."""
    protocol = sweep.protocol
    if protocol.kind == "listed":
        return GridSampler(list(sweep.corners()))
    if protocol.sampler == "grid":
        return GridSampler(sweep.grid())
    if protocol.sampler == "qmc":
        return QuasiRandomSampler(sweep.space, protocol.sampler_seed)
    return OptunaSampler(
        protocol.sampler,
        sweep.space,
        study_name=sweep.name,
        seed=protocol.sampler_seed,
        startup_trials=protocol.startup_trials,
    )


@dataclass(frozen=True)
class GridSampler:
    """Every combination, in order.

    Attributes:
        grid: The combinations.
    """

    grid: Sequence[Values]

    def ask(self, index: int, history: Sequence[Tried]) -> Values:
        """The combination of that place."""
        return self.grid[index - 1]


@dataclass(frozen=True)
class QuasiRandomSampler:
    """Points of one scrambled Sobol sequence, which fill the space more evenly than random ones.

    Attributes:
        space: Dimensions by dotted key.
        seed: Seed of the scrambling.
    """

    space: Mapping[str, Dimension]
    seed: int

    def ask(self, index: int, history: Sequence[Tried]) -> Values:
        """The setting at the sequence's point of that place."""
        from scipy.stats import qmc

        engine = qmc.Sobol(len(self.space), scramble=True, rng=self.seed)
        if index > 1:
            engine.fast_forward(index - 1)
        with warnings.catch_warnings():
            # Single points are drawn on purpose; the balance holds for the sequence as a whole.
            warnings.filterwarnings("ignore", message="The balance properties of Sobol")
            point = engine.random(1)[0]
        values = {
            key: _at(dimension, float(coordinate))
            for (key, dimension), coordinate in zip(self.space.items(), point, strict=True)
        }
        return present(self.space, values)


@dataclass(frozen=True)
class OptunaSampler:
    """One of Optuna's samplers, made a pure function of its history.

    Attributes:
        name: Which one.
        space: Dimensions by dotted key.
        study_name: Name of the study, so that no two sweeps ever share one.
        seed: Seed of the sampler.
        startup_trials: Random proposals before TPE or GP models the results.
    """

    name: Literal["tpe", "random", "gp"]
    space: Mapping[str, Dimension]
    study_name: str
    seed: int
    startup_trials: int
    _kept: list[tuple[Tried, Any]] = field(default_factory=list, init=False, compare=False)

    def ask(self, index: int, history: Sequence[Tried]) -> Values:
        """The setting of configuration `index`, as Optuna's sampler proposes it.

        The history enters in its order: running ones as running (the constant liar keeps away
        from them), failed ones as failed, pruned ones with the value of their last epoch. A value
        that is no finite number counts as failed.
        """
        known = () if self.name == "random" else history  # which is blind to it
        study = build_study(
            self.space,
            known,
            sampler=lambda: self._sampler(index),
            name=self.study_name,
            kept=self._kept,
        )
        if is_conditional(self.space):
            parameters = _suggested(study.ask(), self.space)
        else:
            parameters = study.ask(distributions(self.space)).params
        return {key: parameters[key] for key in self.space if key in parameters}

    def _sampler(self, index: int) -> Any:
        from optuna import samplers

        seed = derived_seed(self.seed, index)
        if self.name == "random":
            return samplers.RandomSampler(seed=seed)
        if self.name == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=self.startup_trials)
        return samplers.TPESampler(
            seed=seed,
            n_startup_trials=self.startup_trials,
            multivariate=True,
            group=is_conditional(self.space),  # dimensions that are there together, jointly
            constant_liar=True,
        )


def build_study(
    space: Mapping[str, Dimension],
    history: Sequence[Tried],
    *,
    sampler: Callable[[], Any] | None = None,
    name: str | None = None,
    kept: list[tuple[Tried, Any]] | None = None,
) -> Any:
    """An Optuna study in memory that holds a history, in its order.

    Args:
        space: Dimensions by dotted key.
        history: What was tried; what lies beyond the space, as given points may, is left out.
        sampler: Makes its sampler, where it is to propose.
        name: Of the study, so that no two sweeps ever share one.
        kept: Optuna's trials of the history, kept from one study to the next: what has not changed
            is taken from there, which is most of the time that a long history takes.
    """
    import optuna

    # It warns, in lines of its own, of packages without which it is merely slower.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(
            storage=storage,
            direction="maximize",
            sampler=sampler() if sampler else None,
            study_name=name,
        )
    number = storage.get_study_id_from_name(study.study_name)
    forms, lies_within = distributions(space), within(space)
    kept = [] if kept is None else kept
    del kept[len(history) :]
    forms_of = cache(lambda *keys: {key: forms[key] for key in keys})
    for place, item in enumerate(history):
        if place == len(kept) or kept[place][0] is not item:
            is_there = lies_within(item.values)
            trial = frozen_trial(item, forms_of(*item.values), _shared_kind()) if is_there else None
            kept[place : place + 1] = [(item, trial)]
        if (trial := kept[place][1]) is not None:
            storage.create_new_trial(number, template_trial=trial)
    return study


@cache
def _shared_kind() -> Any:
    """Trials that a storage in memory takes as they are, where others are copied.

    One storage at a time has them.
    """
    from optuna.trial import FrozenTrial

    class SharedTrial(FrozenTrial):
        def __deepcopy__(self, memo: Any) -> SharedTrial:
            return self

    return SharedTrial


def derived_seed(seed: int, index: int) -> int:
    """A seed for proposal `index`, unrelated to those of its neighbours."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def distributions(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """The dimensions of a space as Optuna has them."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    numbers = {"float": FloatDistribution, "int": IntDistribution}
    return {
        key: CategoricalDistribution(part.values)
        if isinstance(part, ChoiceDimension)
        else numbers[part.type](part.low, part.high, log=part.log)
        for key, part in space.items()
    }


def _suggested(trial: Any, space: Mapping[str, Dimension]) -> dict[str, Scalar]:
    """A setting that a trial is asked for, dimension by dimension: one that is not there is not."""
    found: dict[str, Scalar] = {}
    for key in in_order(space):
        part = space[key]
        if not is_present(part, found):
            continue
        if isinstance(part, ChoiceDimension):
            found[key] = trial.suggest_categorical(key, part.values)
        else:
            suggest = trial.suggest_float if part.type == "float" else trial.suggest_int
            found[key] = suggest(key, part.low, part.high, log=part.log)
    return found


def frozen_trial(item: Tried, forms: Mapping[str, Any], kind: Any = None) -> Any:
    """A configuration as a trial of Optuna's, or of another `kind`, with the dimensions of `forms`.

    Its values lie within: Optuna's `create_trial` would look at each again, which takes long.
    """
    from optuna.trial import FrozenTrial, TrialState

    states = {
        "running": TrialState.RUNNING,
        "finished": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    state, value, now = states[item.state], item.value, datetime.now()
    if item.state in ("finished", "pruned") and (value is None or not math.isfinite(value)):
        state = TrialState.FAIL
    has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return (kind or FrozenTrial)(
        number=-1,
        trial_id=-1,
        state=state,
        value=value if has_value else None,
        datetime_start=now,
        datetime_complete=now if state.is_finished() else None,
        params={key: item.values[key] for key in forms},
        distributions=forms,
        user_attrs={},
        system_attrs={},
        intermediate_values={item.epoch: value} if has_value else {},
    )


def _at(dimension: Dimension, coordinate: float) -> Scalar:
    """The value of a dimension at a place in [0, 1)."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.values[int(coordinate * len(dimension.values))]
    low: float = dimension.low
    high: float = dimension.high
    if not isinstance(dimension, FloatDimension):  # each whole number gets an equal share
        low, high = low - 0.5, high + 0.5
    value = between(low, high, coordinate, log=dimension.log)
    value = min(max(value, dimension.low), dimension.high)
    return value if isinstance(dimension, FloatDimension) else round(value)
