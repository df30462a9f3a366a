"""Which hyper-parameters mattered in a search, by Optuna's PED-ANOVA from the recorded history.

PED-ANOVA (Watanabe, Bansal and Hutter, 2023) asks how far the distribution of a hyper-parameter
among the best trials departs from that among all; it needs no regression model and is fast.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.config.conditions import within
from orchestrator.config.dimensions import Dimension
from orchestrator.search.samplers import Tried, build_study
from orchestrator.search.spread import spread

FEWEST_TRIALS = 4
FEW_TRIALS = 20
MOST_TRIALS = 2000
"""Of more, so many are looked at, evenly spread over the search: shares hardly change any more."""


@dataclass(frozen=True)
class Importance:
    """Shares of the hyper-parameters.

    Attributes:
        shares: By dotted key, largest first; they sum to 1.
        num_trials: Finished trials that they come from; pruned and failed ones do not count.
        num_finished: Finished trials that there are.
        method: Of what kind they are.
    """

    shares: Mapping[str, float]
    num_trials: int
    num_finished: int
    method: str = "PED-ANOVA"

    @property
    def is_rough(self) -> bool:
        """Whether too few trials stand behind it to rely upon."""
        return self.num_trials < FEW_TRIALS


@contextmanager
def without(package: str) -> Iterator[None]:
    """Let a package look as if it were not installed to what is imported meanwhile.

    Optuna imports scikit-learn, which takes two seconds, for importances of another kind.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def importance_of(space: Mapping[str, Dimension], history: Sequence[Tried]) -> Importance | None:
    """The importance of each dimension for the validation F1.

    Args:
        space: Dimensions by dotted key.
        history: What was tried.

    Returns:
        None where fewer than four trials finished, or where all scored the same.
    """
    lies_within = within(space)
    finished = [
        item
        for item in history
        if item.state == "finished"
        and item.value is not None
        and math.isfinite(item.value)
        and lies_within(item.values)
    ]
    if len(finished) < FEWEST_TRIALS or len({item.value for item in finished}) < 2:
        return None
    with without("sklearn"):
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    some = spread(finished, MOST_TRIALS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(
            build_study(space, some),
            evaluator=PedAnovaImportanceEvaluator(),
        )
    if not math.isfinite(sum(shares.values())) or not sum(shares.values()):
        return None
    ranked = sorted(space, key=lambda key: -shares.get(key, 0.0))
    return Importance(
        {key: float(shares.get(key, 0.0)) for key in ranked}, len(some), len(finished)
    )
