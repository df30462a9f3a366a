"""Ray Tune's three extension points, each handed straight to the conductor.

Tune logs and swallows what a searcher, scheduler or callback raises. Here the first error is kept,
all trials are told to stop, and the runner raises it when Tune has returned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.search.protocol import Signal
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.record.event_log import Proposed
from orchestrator.sweeps.trials.trainable import report_of


@dataclass
class Bridge(Callback):
    """What the adapters share, and what Tune calls as it goes on.

    It keeps the view alive, and trials that ran the machine out of memory from being repeated.

    Attributes:
        conductor: Decides.
        on_change: Called whenever something has happened.
        check: Raises where the sweep must not go on (its lease was lost).
        error: The first error, if any.
        numbers: Proposal of each of Tune's trials at work.
    """

    conductor: Conductor
    on_change: Callable[[], None]
    check: Callable[[], None]
    error: Exception | None = None
    numbers: dict[str, int] = field(default_factory=dict)

    def attempt(self, action: Callable[[], Any], otherwise: Any) -> Any:
        """Do something unless the sweep has failed; an error fails it."""
        if self.error is not None:
            return otherwise
        try:
            self.check()
            answer = action()
            self.on_change()
        except Exception as error:
            self.error = error
            return otherwise
        return answer

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Some ten times a second."""
        self.attempt(lambda: None, None)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial lost its process and is about to get another."""
        number, error = self.numbers.get(trial.trial_id), trial.get_pickled_error()
        if number is not None and isinstance(error, ray.exceptions.OutOfMemoryError):
            self.attempt(lambda: self.conductor.lost_for_memory(number), None)


class SweepSearcher(Searcher):
    """Gives Tune the conductor's assignments.

    Args:
        bridge: What the adapters share.
    """

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next cell; None where trials must end first; `FINISHED` where there is no more."""
        following = self._bridge.attempt(self._bridge.conductor.next, Signal.DONE)
        if isinstance(following, Proposed):
            self._bridge.numbers[trial_id] = following.number
            record = json.dumps(self._bridge.conductor.cell_of(following).to_json())
            return {"cell": following.cell, "test": following.test, "record": record}
        if following is Signal.DONE:
            finished: str = Searcher.FINISHED
            return finished
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial is gone: ended, stopped, or lost for good."""
        number = self._bridge.numbers.pop(trial_id, None)
        if number is not None:
            report = report_of(result) if result else None
            self._bridge.attempt(
                lambda: self._bridge.conductor.complete(number, report, error), None
            )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the sweep's record is the only memory."""
        with open(checkpoint_path, "wb"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class SweepScheduler(FIFOScheduler):
    """Stops trials as the conductor says; otherwise first come, first served.

    Args:
        bridge: What the adapters share.
    """

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on after an epoch."""
        number = self._bridge.numbers.get(trial.trial_id)
        report = report_of(result)
        if number is None or report is None:
            stop = self._bridge.error is not None
        else:
            stop = self._bridge.attempt(lambda: self._bridge.conductor.report(number, report), True)
        decision: str = TrialScheduler.STOP if stop else TrialScheduler.CONTINUE
        return decision
