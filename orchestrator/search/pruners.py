"""Early stopping of weak trials by Ray's own schedulers, fed from the sweep's record.

Ray's schedulers keep what they have seen in memory. Here they are told by number, epoch and value,
by running trials and by recorded ones alike: a sweep taken up again tells them what happened
before, so that they decide as if it had never stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from orchestrator.config.sweep import SchedulerConfig


def build_pruner(config: SchedulerConfig, max_epochs: int) -> KeepAll | RayPruner:
    """The pruner that a sweep asks for.

    Args:
        config: The scheduler's settings.
        max_epochs: Epochs of the longest trial; no trial is stopped where all of them lie within
            the grace period.
    """
    if config.kind == "none" or config.grace_period >= max_epochs:
        return KeepAll()
    return RayPruner(config, max_epochs)


class KeepAll:
    """Stops nothing."""

    def observe(self, number: int, epoch: int, value: float) -> bool:
        """Go on."""
        return False

    def end(self, number: int) -> None:
        """Nothing to remember."""


@dataclass(frozen=True)
class _StandIn:
    """What Ray's schedulers read of a trial."""

    trial_id: str


_CONTROLLER = SimpleNamespace(get_live_trials=list)
"""What Ray's schedulers read of a running experiment: no trial waits, so none is paused."""


class RayPruner:
    """Ray's ASHA or median stopping rule, apart from Ray's trials.

    Args:
        config: The scheduler's settings.
        max_epochs: Epochs of the longest trial.
    """

    def __init__(self, config: SchedulerConfig, max_epochs: int) -> None:
        from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

        settings: dict[str, Any] = {"time_attr": "epoch", "metric": "value", "mode": "max"}
        if config.kind == "asha":
            # `stop_last_trials` is off: a trial ends its last epoch by itself, and is not pruned.
            self._scheduler = ASHAScheduler(
                **settings,
                grace_period=config.grace_period,
                reduction_factor=config.reduction_factor,
                max_t=max_epochs,
                stop_last_trials=False,
            )
        else:
            self._scheduler = MedianStoppingRule(**settings, grace_period=config.grace_period)
        self._stop = TrialScheduler.STOP
        self._seen: dict[int, dict[str, float]] = {}
        self._ended: set[int] = set()

    def observe(self, number: int, epoch: int, value: float) -> bool:
        """Take note of a trial's best validation F1 after an epoch; whether to stop it.

        An epoch that was seen before is ignored: a trial that lost its worker repeats some.
        """
        last = self._seen.get(number)
        if number in self._ended or (last is not None and epoch <= last["epoch"]):
            return False
        trial = _StandIn(str(number))
        if last is None:
            self._scheduler.on_trial_add(_CONTROLLER, trial)
        self._seen[number] = {"epoch": epoch, "value": value}
        decision = self._scheduler.on_trial_result(_CONTROLLER, trial, dict(self._seen[number]))
        return bool(decision == self._stop)

    def end(self, number: int) -> None:
        """Take note that a trial has ended; its values stay, for the others to be compared with."""
        if number in self._ended or number not in self._seen:
            return
        self._ended.add(number)
        last = dict(self._seen[number])
        self._scheduler.on_trial_complete(_CONTROLLER, _StandIn(str(number)), last)
