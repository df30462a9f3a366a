"""Shapley values of the alignment game: Sec. 3.4.1, Eq. 3-4 and Algorithm 1.

For a target j, `s_ji` is its cosine with player i. A coalition S of players is worth the expected
similarity `u_j(S) = sum_{i in S} s_ji w_ji / sum_{i in S} w_ji`, with `w = exp(s / tau)`, and
the empty one 0. The Shapley value phi_i(u_j) is player i's mean marginal contribution.

Four estimators share one interface (`Estimator`), similarities (..., J, k) in and values
(..., J, k) out: `cyclic` (Algorithm 1), `monte_carlo`, `exact` and `enumerate_coalitions`.
They work in float64 inside, whatever the input; `exact` says where float32 serves it.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from shapca.shapley.deterministic import exact
from shapca.shapley.enumeration import enumerate_coalitions
from shapca.shapley.game import LOWEST_TEMPERATURE, Estimator, utility_of_all
from shapca.shapley.sampled import cyclic, monte_carlo

__all__ = [
    "ESTIMATORS",
    "LOWEST_TEMPERATURE",
    "Estimator",
    "cyclic",
    "enumerate_coalitions",
    "exact",
    "find_estimator",
    "monte_carlo",
    "utility_of_all",
]

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "cyclic": cyclic,
        "monte_carlo": partial(monte_carlo, num_permutations=4),
        "exact": exact,
        "enumerate": enumerate_coalitions,
    }
)
"""The estimators by the names that a config uses."""


def find_estimator(name: str, *, num_permutations: int = 4) -> Estimator:
    """The estimator of a name.

    Args:
        name: a key of `ESTIMATORS`.
        num_permutations: permutations that `monte_carlo` draws.

    Raises:
        ValueError: no estimator has this name.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"estimator: expected one of {', '.join(ESTIMATORS)}, got {name!r}")
    if name == "monte_carlo":
        return partial(monte_carlo, num_permutations=num_permutations)
    return ESTIMATORS[name]
