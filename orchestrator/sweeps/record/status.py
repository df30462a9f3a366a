"""How a sweep stands, read from the storage alone; nothing is asked of Ray, Optuna or MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.store.cells import CellStore
from orchestrator.store.lease import holder_of
from orchestrator.sweeps.record.history import History, recorded
from orchestrator.sweeps.record.outcome import SweepOutcome, outcome_of
from orchestrator.sweeps.record.trial_view import TrialView, trial_view
from shapca.storage import ObjectStore


@dataclass(frozen=True)
class SweepStatus:
    """A sweep as its storage shows it.

    Attributes:
        state: `running` under a driver, `complete`, or `stopped` before its end.
        holder: The driver at work, if any.
        planned: Trials per phase that the protocol asks for at most.
        done: Trials per phase that have ended.
        open: Trials that have begun and not ended.
        outcome: What there is to report so far.
        history: The record that all this is read from.
    """

    state: Literal["running", "complete", "stopped"]
    holder: str | None
    planned: dict[str, int]
    done: dict[str, int]
    open: tuple[TrialView, ...]
    outcome: SweepOutcome
    history: History


def sweep_status(
    store: ObjectStore, name: str, storage: str, planned: Mapping[str, int] | None = None
) -> SweepStatus:
    """How a sweep stands.

    Args:
        store: The storage.
        name: The sweep.
        storage: The storage's address, to be shown.
        planned: Trials per phase of the whole study that it belongs to, if it is one.

    Raises:
        InputError: No such sweep in this storage.
    """
    history, cells = recorded(store, name), CellStore(store)
    planned = {**history.protocol.planned(), **(planned or {})}
    ended = Counter[str](history.proposed[number].phase for number in history.ended)
    done = {**dict.fromkeys(planned, 0), **ended}
    proposed = [history.proposed[proposal.number] for proposal in history.protocol.unfinished()]
    holder = holder_of(store, name)
    is_complete = _is_complete(history, planned, done)
    return SweepStatus(
        state="running" if holder else "complete" if is_complete else "stopped",
        holder=None if holder is None else str(holder),
        planned=planned,
        done=done,
        open=tuple(
            replace(trial_view(history, event), epoch=cells.num_epochs(event.cell))
            for event in proposed
        ),
        outcome=outcome_of(history, cells, seconds=history.wall_seconds(), storage=storage),
        history=history,
    )


def _is_complete(history: History, planned: dict[str, int], done: dict[str, int]) -> bool:
    """Whether nothing is left to do; the sampler, slow to load, is asked only if it must be."""
    first = next(iter(planned))
    has_target = history.sweep.budget.target is not None
    if not has_target and done[first] < planned[first]:
        return False
    return history.is_complete()
