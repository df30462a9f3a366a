"""Search-space files: what a sweep varies, by which protocol, on which resources.

A space maps dotted keys of `ExperimentConfig` to typed dimensions; bounds are inclusive. In place
of a space a sweep may list its configurations by name: a study becomes such a sweep.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.config.conditions import check_conditions, is_conditional, present, required
from orchestrator.config.dimensions import (
    ChoiceDimension,
    Computed,
    Dimension,
    Scalar,
    Values,
    flat,
)
from orchestrator.config.resources import ResourceConfig
from orchestrator.config.settings import corners, grid, probes, with_present
from shapca.config import (
    ExperimentConfig,
    Name,
    Number,
    RuntimeConfig,
    Section,
    apply_overrides,
    read_yaml,
    shipped,
    validate,
    with_value,
)
from shapca.errors import InputError

LISTED = "configuration"
"""The one key of a setting that names a listed configuration."""

MOST_PROBES = 20_000
"""Settings that are looked at when a space is read; what they miss ends as a failed trial."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class InvalidSetting(InputError):
    """A setting of a search space is no valid experiment."""


class ProtocolConfig(Section):
    """How configurations are proposed, compared and confirmed."""

    kind: Literal["confirm", "replicate", "single", "listed"] = "confirm"
    """`confirm`: search with one seed, more seeds for the best few, fresh seeds for the winner;
    `replicate`: every configuration on every seed; `single`: one seed each, nothing confirmed;
    `listed`: every listed configuration on every seed, each tested, nothing chosen."""
    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Configurations that the search proposes, those of `first` among them (grid: at most its size
    beside them)."""
    first: tuple[dict[str, Scalar], ...] = ()
    """Settings that are tried before the sampler is asked, each by dotted key of the space; what
    one does not name is as in `experiment`, so that `{}` is the defaults. The first of them is the
    baseline: it is confirmed on the same seeds as the winner, and compared with it. A point beyond
    the space's bounds is tried too, but teaches the sampler nothing."""
    sampler: Literal["tpe", "random", "grid", "gp", "qmc"] = "tpe"
    """Optuna's sampler."""
    sampler_seed: Seed = 0
    """Seed of the sampler."""
    startup_trials: Annotated[int, Field(ge=1)] = 10
    """Random proposals before TPE or GP models the results."""
    seeds: tuple[Seed, ...] = (1,)
    """Training seeds of the search (`replicate`: of every configuration)."""
    shortlist: Annotated[int, Field(ge=1)] = 3
    """Configurations that get `shortlist_seeds` as well (`confirm`)."""
    shortlist_seeds: tuple[Seed, ...] = (2, 3)
    """Additional training seeds of the shortlist; the best mean over all its seeds wins."""
    confirm_seeds: tuple[Seed, ...] = (11, 12, 13)
    """Fresh training seeds of the winner: only these are reported, with their test scores."""

    @model_validator(mode="after")
    def _seeds_are_fresh(self) -> Self:
        if not self.seeds:
            raise ValueError("seeds: expected at least one")
        used = (*self.seeds, *(self.shortlist_seeds if self.kind == "confirm" else ()))
        if len(set(used)) < len(used):
            raise ValueError("seeds and shortlist_seeds must differ from each other")
        if len(set(self.confirm_seeds)) < len(self.confirm_seeds):
            raise ValueError("confirm_seeds must differ from each other")
        if self.kind == "confirm":
            if not self.confirm_seeds:
                raise ValueError("kind: confirm needs at least one seed in confirm_seeds")
            if reused := sorted(set(used) & set(self.confirm_seeds)):
                raise ValueError(f"confirm_seeds must be fresh, but {reused} served the search")
            if len(self.seeds) != 1:
                raise ValueError("kind: confirm searches with exactly one seed")
        if self.kind == "listed" and self.first:
            raise ValueError("kind: listed tries its configurations alone, and takes no first")
        if self.kind == "single" and len(self.seeds) != 1:
            raise ValueError("kind: single trains with exactly one seed; see kind: replicate")
        return self


class SchedulerConfig(Section):
    """Early stopping of weak trials in the search phase."""

    kind: Literal["asha", "median", "none"] = "asha"
    grace_period: Annotated[int, Field(ge=1)] = 2
    """Epochs that every trial gets."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """ASHA promotes one of so many from each rung."""


class BudgetConfig(Section):
    """When to stop early; what was finished is reported."""

    wall_hours: Annotated[Number, Field(gt=0)] | None = None
    cells: Annotated[int, Field(ge=1)] | None = None
    """Cells trained by this sweep; those found finished in the store do not count."""
    gpu_hours: Annotated[Number, Field(gt=0)] | None = None
    target: Number | None = None
    """Validation F1 at which the search ends and confirmation begins."""


class ListedConfiguration(Section):
    """One configuration of a sweep that lists them."""

    experiment: dict[str, Any] = Field(default_factory=dict)
    """An ExperimentConfig of its own, in place of the sweep's."""
    tags: dict[str, str] = Field(default_factory=dict)
    """What its runs are tagged with in MLflow."""
    keep_models: bool = False
    """Its weights stay when a sweep is done."""


class SweepConfig(Section):
    """A search-space file."""

    name: Annotated[Name, Field(max_length=200)]
    """Of folders, too, which may have 255 letters."""
    experiment: dict[str, Any] = Field(default_factory=dict)
    """A partial ExperimentConfig; the space fills in the rest."""
    space: dict[str, Dimension] = Field(default_factory=dict)
    """Dotted keys of the experiment, each with its typed dimension."""
    configurations: dict[str, ListedConfiguration] = Field(default_factory=dict)
    """Configurations by name, in place of a space (`protocol.kind: listed`)."""
    protocol: ProtocolConfig = ProtocolConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: ResourceConfig = ResourceConfig()
    budget: BudgetConfig = BudgetConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    keep_models: Literal["confirmed", "leaders", "all"] = "confirmed"
    """Whose weights stay when a sweep is done."""

    @model_validator(mode="after")
    def _space_or_list(self) -> Self:
        is_listed = self.protocol.kind == "listed"
        if is_listed and (self.space or not self.configurations):
            raise ValueError("protocol.kind: listed needs configurations, and no space")
        if not is_listed and (self.configurations or not self.space):
            raise ValueError(
                "space: expected at least one dimension; configurations in its place need "
                "protocol.kind: listed"
            )
        return self

    @field_validator("space", mode="before")
    @classmethod
    def _dotted(cls, space: Any) -> Any:
        """`{head: {dropout: {type: …}}}` is `{head.dropout: {type: …}}`, as `--set` gives it."""
        return flat(space) if isinstance(space, dict) else space

    @model_validator(mode="after")
    def _conditions_hold_somewhere(self) -> Self:
        check_conditions(self.space)
        if self.protocol.sampler == "gp" and is_conditional(self.space):
            key = next(key for key, dimension in self.space.items() if dimension.when)
            raise ValueError(
                f"protocol.sampler: gp models only what every trial has, and space.{key}.when "
                "makes that dimension conditional; expected tpe, random, qmc or grid"
            )
        if self.protocol.sampler == "grid":
            grid(self.space)
        return self

    @model_validator(mode="after")
    def _first_lies_in_the_space(self) -> Self:
        for number, point in enumerate(self.protocol.first, start=1):
            if unknown := [key for key in point if key not in self.space]:
                raise ValueError(
                    f"protocol.first, point {number}: {', '.join(unknown)}: not among the keys of "
                    f"the space ({', '.join(self.space)}); a fixed value stands in experiment"
                )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
        """Read a search-space file, or by its name one that comes along.

        Every corner of the space must be a valid experiment. So must what lies inside of ranges,
        and pairs of choices.

        Raises:
            InputError: With the file and the dotted key.
        """
        path = shipped.find(path, "search_spaces")
        sweep = validate(cls, apply_overrides(read_yaml(path), overrides), str(path))
        for values in itertools.chain(sweep.corners(), sweep.probes()):
            sweep.resolve(values, source=str(path))
        sweep.first(str(path))
        sweep._refuse_equal_choices(str(path))
        return sweep

    def _refuse_equal_choices(self, source: str) -> None:
        """Two values of a choice that are one, as 8 and 8.0 are, would be one cell tried twice.

        Raises:
            InputError: With both values.
        """
        for key, dimension in self.space.items():
            seen: dict[str, Scalar] = {}
            for value in dimension.corners() if isinstance(dimension, ChoiceDimension) else ():
                setting = {
                    other: chosen
                    for other, chosen in with_present(self.space, key, value).items()
                    if key not in required(self.space, other)
                }
                same = seen.setdefault(self.resolve(setting).model_dump_json(), value)
                if same is not value:
                    raise InputError(
                        f"{source}: space.{key}: {same!r} and {value!r} are the same value; "
                        "expected each once"
                    )

    def experiments(self) -> Iterator[ExperimentConfig]:
        """The experiment at every corner of the space."""
        return map(self.resolve, self.corners())

    def max_epochs(self) -> int:
        """Epochs that a trial trains at most."""
        return max(config.optimisation.epochs for config in self.experiments())

    def corners(self) -> Iterator[dict[str, Scalar]]:
        """Settings that together show every extreme value of every dimension.

        Of listed configurations each is one, and so is each point of `protocol.first`, after all
        others.
        """
        if self.configurations:
            for name in self.configurations:
                yield {LISTED: name}
            return
        yield from corners(self.space)
        yield from self.protocol.first

    def probes(self) -> Iterator[dict[str, Scalar]]:
        """Settings beside the corners: pairs of extremes, and values inside of ranges."""
        return itertools.islice(probes(self.space), MOST_PROBES)

    def grid(self) -> Computed[dict[str, Scalar]]:
        """All combinations of the dimensions' grids."""
        return grid(self.space)

    def first(self, source: str | None = None) -> tuple[dict[str, Scalar], ...]:
        """The points of `protocol.first` whole: what one does not name is as the experiment has it.

        Raises:
            InputError: A point is no valid experiment, or names a dimension that is not there.
        """
        points = []
        for number, given in enumerate(self.protocol.first, start=1):
            config = self.resolve(given)
            whole = present(self.space, {key: _value(config, key) for key in self.space})
            if absent := [key for key in given if key not in whole]:
                raise InputError(
                    f"{source or f'sweep {self.name}'}: protocol.first, point {number}: "
                    f"{absent[0]}: its condition (space.{absent[0]}.when) does not hold there; "
                    "leave it out"
                )
            points.append(whole)
        return tuple(points)

    def resolve(self, values: Values, source: str | None = None) -> ExperimentConfig:
        """The full experiment of one setting of the space.

        Raises:
            InvalidSetting: It is no valid experiment; the message names the dotted key.
        """
        if self.configurations:
            tree = dict(self.configurations[str(values[LISTED])].experiment)
        else:
            tree = dict(self.experiment)
            for key, value in values.items():
                tree = with_value(tree, key, value)
        try:
            return validate(
                ExperimentConfig, tree, source or f"sweep {self.name}", prefix="experiment"
            )
        except InputError as error:
            setting = ", ".join(f"{key}={value}" for key, value in values.items())
            raise InvalidSetting(f"{error}\n(at {setting})") from None


def _value(config: ExperimentConfig, key: str) -> Any:
    """What an experiment says for a dotted key."""
    return functools.reduce(getattr, key.split("."), config)
