"""Nodes and weights of the two integrals behind the exact Shapley value.

M games times targets (rows), k players, T nodes of t, Q nodes of q.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=256)
def inclusion_rule(num_players: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights (Q,) on [0, 1] for the probability q of inclusion.

    The integrand is a polynomial of degree k - 1, for which ceil(k / 2) nodes are exact. Fewer
    serve a tolerance: the least number that integrates `(1 - c q)^(k - 1)` to within a k-th of it
    for every c in [0, 1], so that the sum of all values keeps it too. 10 do for 1e-6 and k = 28.
    """
    decay = np.linspace(0.01, 1.0, 100)[:, None]
    expected = (1 - (1 - decay) ** num_players) / (num_players * decay)
    exact = (num_players + 1) // 2
    for count in range(1, exact + 1):
        nodes, weights = np.polynomial.legendre.leggauss(count)
        nodes, weights = (nodes + 1) / 2, weights / 2
        found = ((1 - decay * nodes) ** (num_players - 1) * weights).sum(-1, keepdims=True)
        if count == exact or num_players * np.abs(found - expected).max() <= tolerance:
            break
    return nodes, weights


def reciprocal_rule(log_weights_Mk: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Double-exponential nodes for `1 / X = int_0^inf exp(-t X) dt`, a rule for each row.

    With `t = exp(x - exp(-x)) / W`, W a row's total weight, the trapezoidal rule in x has a
    relative error of at most `tolerance` for every X between the row's least weight and W: for
    the weight of each coalition. The ends of x cut off tails of that size; the step
    `pi^2 / (ln(1 / tolerance) + 4.5)` follows from the integrand being analytic in the strip
    `|Im x| < pi / 2` (the 4.5 is measured, for tolerances of 1e-12 to 1e-4).

    Args:
        log_weights_Mk: (M, k) ln w, at most 0 in a row; minus infinity for absent players.
        tolerance: relative error of the reciprocal.

    Returns:
        ln t (M, T), and the weights (M, T) less their factor t: `sum_T weights t exp(-t X)`.
    """
    log_weights_Mk = log_weights_Mk.nan_to_num(nan=0.0, neginf=-torch.inf)
    present_Mk = log_weights_Mk > -torch.inf
    total_M = log_weights_Mk.exp().sum(-1).clamp(min=1.0).log()
    least_M = log_weights_Mk.masked_fill(~present_Mk, 0.0).amin(-1)

    digits = -math.log(tolerance)
    step = math.pi**2 / (digits + 4.5)
    first = _invert(torch.tensor(-digits, dtype=torch.float64, device=total_M.device))
    last_M = _invert(total_M - least_M + math.log(digits))
    num_nodes = 1 + math.ceil(float((last_M - first).amax()) / step)

    grid_T = torch.linspace(0.0, 1.0, num_nodes, dtype=torch.float64, device=total_M.device)
    x_MT = first + (last_M - first)[:, None] * grid_T
    decay_MT = torch.exp(-x_MT)
    log_nodes_MT = x_MT - decay_MT - total_M[:, None]
    steps_M = (last_M - first) / (num_nodes - 1)
    return log_nodes_MT, steps_M[:, None] * (1 + decay_MT)


def _invert(y: Tensor) -> Tensor:
    """The x with `x - exp(-x) = y`, by Newton's method: convex from below, so it cannot fail."""
    x = torch.where(y > 0, y, -torch.log1p(-y))
    for _ in range(8):
        decay = torch.exp(-x)
        x = x - (x - decay - y) / (1 + decay)
    return x
