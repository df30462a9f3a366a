"""What a report is made of, read from a sweep's record and its cells; nothing is formatted here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.errors import Errors, read_errors
from orchestrator.reports.trials import ReportState, Trial, TrialState, read_trials
from orchestrator.search.importance import Importance, importance_of
from orchestrator.search.spread import spread
from orchestrator.store.cells import CellStore
from orchestrator.store.sweep_folder import DECLARATION, in_sweep
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome
from shapca.config import ExperimentConfig
from shapca.storage import read_json

MOST_DRAWN = 500
"""Trials that charts of the search show: half of them the best, the others evenly spread."""
MOST_ASKED = 200
"""Cells whose surroundings are read: all that are reported, and others evenly spread."""
Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Content:
    """All that a report shows.

    Attributes:
        name: The sweep.
        state: How it stands.
        holder: The driver at work, if any.
        made_at: When the report was made, Unix time in seconds.
        code: Fingerprint of the code that cells are compared with: other ones are stale.
        sweep: Its file.
        outcome: Configurations and winner.
        planned: Trials per phase that are wanted at most.
        trials: Every trial that was begun, in order.
        importance: Of the hyper-parameters, if it can be computed.
        experiment: The winner's whole configuration.
        inputs: By data set, the hash of each part.
        surroundings: Code, libraries and machines that cells were trained with, as their runs
            record them, each with the number of cells, wholly or in part.
        num_asked: Cells whose surroundings were read.
        scores: Of the winner, by split (`valid`, `test`) and seed: every score by its name.
        errors: Of the winner's kept cell, or why they are not shown; None where there is none.
    """

    name: str
    state: ReportState
    holder: str | None
    made_at: float
    code: str
    sweep: SweepConfig
    outcome: SweepOutcome
    planned: Mapping[str, int]
    trials: tuple[Trial, ...]
    importance: Importance | None
    experiment: ExperimentConfig | None
    inputs: Mapping[str, Mapping[str, str]]
    surroundings: tuple[tuple[Mapping[str, Any], int], ...]
    num_asked: int
    scores: Mapping[Split, Mapping[int, Mapping[str, float]]]
    errors: Errors | str | None = None

    @property
    def winner(self) -> ConfigurationResult | None:
        """The configuration that is reported."""
        return self.outcome.winner

    @property
    def is_confirmed(self) -> bool:
        """Whether the winner is reported on fresh seeds."""
        return self.winner is not None and self.winner.phase == "confirm"

    @property
    def is_listed(self) -> bool:
        """Whether configurations are listed, as a study's are: nothing is searched or chosen."""
        return bool(self.sweep.configurations)

    @property
    def num_stale(self) -> int:
        """Trials made by other code."""
        return sum(trial.is_stale for trial in self.trials)

    @property
    def reported(self) -> list[Trial]:
        """Trials of the reported winner."""
        return [] if self.winner is None else self.of(self.winner)

    @property
    def baseline_value(self) -> float | None:
        """Validation F1 of the baseline in the search, beside that of other trials."""
        given = self.sweep.protocol.first and self.sweep.first()[0]
        found = [t.value for t in self.searched() if given and dict(t.values) == given]
        values = [value for value in found if value is not None]
        return sum(values) / len(values) if values else None

    def in_states(self, *states: TrialState) -> list[Trial]:
        """Trials that are in one of some states, in order."""
        return [trial for trial in self.trials if trial.state in states]

    def total(self, name: str, *states: TrialState) -> float:
        """Sum of an attribute of the trials that are in some states, or of all."""
        trials = self.in_states(*states) if states else self.trials
        return sum(getattr(trial, name) for trial in trials)

    def searched(self) -> list[Trial]:
        """Trials of the search, in order."""
        return [trial for trial in self.trials if trial.phase in ("search", "replicate")]

    @cached_property
    def scored(self) -> list[Trial]:
        """Trials of the search with a score, in order."""
        return [trial for trial in self.searched() if trial.value is not None]

    @cached_property
    def drawn(self) -> list[Trial]:
        """Those of them that charts show: all, or of very many half the best and others."""
        if len(self.scored) <= MOST_DRAWN:
            return self.scored
        best = sorted(self.scored, key=lambda t: -(t.value or 0.0))[: MOST_DRAWN // 2]
        chosen = {t.number for t in (*best, *spread(self.scored, MOST_DRAWN // 2))}
        return [trial for trial in self.scored if trial.number in chosen]

    @property
    def not_drawn(self) -> str:
        """What a caption says where charts do not show all trials; begins with a space."""
        if len(self.drawn) == len(self.scored):
            return ""
        return (
            f" Of {len(self.scored)} trials {len(self.drawn)} are drawn: the best "
            f"{MOST_DRAWN // 2}, and others evenly spread over the search."
        )

    @cached_property
    def _by_cell(self) -> dict[str, list[Trial]]:
        by_cell: dict[str, list[Trial]] = {}
        for trial in self.trials:
            by_cell.setdefault(trial.cell, []).append(trial)
        return by_cell

    @property
    def num_cells(self) -> int:
        """Cells of all trials."""
        return len(self._by_cell)

    def of(self, row: ConfigurationResult) -> list[Trial]:
        """Trials behind a row: those of the winner's confirmation, or of the selection."""
        cells = dict.fromkeys(row.cells.values())
        found = [trial for cell in cells for trial in self._by_cell.get(cell, ())]
        return sorted(found, key=lambda trial: trial.number)


def content_of(
    history: History,
    cells: CellStore,
    outcome: SweepOutcome,
    *,
    state: ReportState,
    holder: str | None,
    code: str,
    made_at: float,
    data_root: Path | None = None,
) -> Content:
    """Read a sweep for its report.

    Args:
        history: Its record.
        cells: The storage.
        outcome: What it has come to so far.
        state: How it stands.
        holder: The driver at work, if any.
        code: Fingerprint of the present training code.
        made_at: Unix time in seconds.
        data_root: Folder of the prepared data sets, for the posts with errors; None: as the
            sweep's file says.
    """
    stale = set(history.stale(code))
    trials = read_trials(history, cells, outcome.winner, state, stale)
    declared: dict[str, Any] = (
        read_json(cells.store, in_sweep(history.sweep.name, DECLARATION)) or {}
    )
    winner = outcome.winner
    asked = _asked(trials, winner)
    return Content(
        name=history.sweep.name,
        state=state,
        holder=holder,
        made_at=made_at,
        code=code,
        sweep=history.sweep,
        outcome=outcome,
        planned=history.protocol.planned(),
        trials=tuple(trials),
        importance=importance_of(history.sweep.space, history.protocol.history()),
        experiment=None if winner is None else history.sweep.resolve(winner.values),
        inputs=declared.get("inputs", {}),
        surroundings=_surroundings(cells, asked),
        num_asked=len(asked),
        scores={split: _scores(cells, winner, split) for split in ("valid", "test")},
        errors=_errors(cells, history.sweep, outcome, data_root),
    )


def _scores(
    cells: CellStore, winner: ConfigurationResult | None, split: Split
) -> dict[int, Mapping[str, float]]:
    if winner is None:
        return {}
    seeds = winner.test if split == "test" else winner.val
    found = {seed: cells.evaluation(winner.cells[seed], split) for seed in seeds}
    return {seed: record["metrics"] for seed, record in found.items() if record is not None}


def _errors(
    cells: CellStore, sweep: SweepConfig, outcome: SweepOutcome, data_root: Path | None
) -> Errors | str | None:
    """Errors of the kept cell, else of the reported one with the best validation F1."""
    winner = outcome.winner
    if winner is None or not winner.val:
        return None
    best = max(winner.val, key=lambda seed: (winner.val[seed], -seed))
    key = outcome.champion or winner.cells[best]
    return read_errors(cells, key, sweep.runtime, data_root)


def _asked(trials: list[Trial], winner: ConfigurationResult | None) -> list[str]:
    """Cells whose surroundings are read."""
    reported = () if winner is None else winner.cells.values()
    every = list(dict.fromkeys(trial.cell for trial in trials))
    return list(dict.fromkeys((*spread(every, MOST_ASKED), *reported)))


def _surroundings(cells: CellStore, asked: list[str]) -> tuple[tuple[Mapping[str, Any], int], ...]:
    """Distinct environments of the cells, the most used first."""
    found: Counter[str] = Counter()
    for key in asked:
        parts = [part | {"from_epoch": 0} for part in cells.environments(key)]
        found.update(dict.fromkeys(map(json.dumps, parts), 1))
    return tuple((json.loads(text), number) for text, number in found.most_common())
