"""Nodes and weights of the two integrals behind the exact Shapley value.

M games times targets (rows), k players, T nodes of t, Q nodes of q.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=256)
def inclusion_rule(num_players: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights (Q,) on [0, 1] for the probability q of inclusion.

    The integrand is a polynomial of degree k - 1 that falls from 1 as fast as `(1 - q)^(k - 1)`;
    ceil(k / 2) nodes are exact. Fewer serve a tolerance, the more so under the map
    `q = (exp(b v) - 1) / (exp(b) - 1)`, which brings nodes to where a fast fall happens. Returned
    is the least number, over b of 0 to 5, that integrates `(1 - q)^m (1 - c q)^(k - 1 - m)` to
    within a k-th of the tolerance for every c in [0, 1] and several m, so that the sum of all
    values keeps it too. For 1e-6 and k = 28, 64, 128, 256 these are 9, 11, 12 and 14 nodes.
    """
    decay_C, power_C = _falls(num_players)
    whole = (num_players + 1) // 2
    nodes, weights = _legendre(whole)
    expected_C = _integrate(nodes, weights, decay_C, power_C, num_players)

    def keeps(count: int, stretch: float) -> bool:
        rule = _stretched(count, stretch)
        error_C = _integrate(*rule, decay_C, power_C, num_players) - expected_C
        return bool(num_players * np.abs(error_C).max() <= tolerance)

    best = (whole, 0.0)
    for stretch in np.arange(0, 5.5, 0.5):
        count = bisect_left(range(best[0]), True, lo=1, key=partial(keeps, stretch=float(stretch)))
        if count < best[0] and keeps(count, float(stretch)):
            best = (count, float(stretch))
    return _stretched(*best)


def _falls(num_players: int) -> tuple[np.ndarray, np.ndarray]:
    """c and m (C,) of the integrands `(1 - q)^m (1 - c q)^(k - 1 - m)`."""
    powers = [0, *np.unique(np.geomspace(1, max(num_players - 1, 1), 12).astype(int))]
    decays = np.append(0.0, np.geomspace(1e-3, 1.0, 60))
    decay, power = np.meshgrid(decays, [m for m in powers if m < num_players])
    return decay.reshape(-1), power.reshape(-1)


def _integrate(
    nodes: np.ndarray, weights: np.ndarray, decay: np.ndarray, power: np.ndarray, num_players: int
) -> np.ndarray:
    rest = (1 - decay[:, None] * nodes) ** (num_players - 1 - power[:, None])
    return np.asarray(((1 - nodes) ** power[:, None] * rest) @ weights)


@lru_cache(maxsize=512)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _stretched(count: int, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = _legendre(count)
    if stretch == 0:
        return nodes, weights
    whole = np.expm1(stretch)
    return np.expm1(stretch * nodes) / whole, weights * stretch * np.exp(stretch * nodes) / whole


def reciprocal_nodes(span: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """As `reciprocal_rule` for every X from exp(-span) to 1: ln t (T,), weights (T,) less t."""
    digits = -math.log(tolerance)
    first, last = _invert(np.array([-digits, span + math.log(digits)]), np)
    num_nodes = 1 + math.ceil((last - first) / _step(tolerance))
    x_T, step = np.linspace(first, last, num_nodes, retstep=True)
    return x_T - np.exp(-x_T), step * (1 + np.exp(-x_T))


def _step(tolerance: float) -> float:
    return math.pi**2 / (-math.log(tolerance) + 4.5)


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
    first = _invert(torch.tensor(-digits, dtype=torch.float64, device=total_M.device), torch)
    last_M = _invert(total_M - least_M + math.log(digits), torch)
    num_nodes = 1 + math.ceil(float((last_M - first).amax()) / _step(tolerance))

    grid_T = torch.linspace(0.0, 1.0, num_nodes, dtype=torch.float64, device=total_M.device)
    x_MT = first + (last_M - first)[:, None] * grid_T
    decay_MT = torch.exp(-x_MT)
    log_nodes_MT = x_MT - decay_MT - total_M[:, None]
    steps_M = (last_M - first) / (num_nodes - 1)
    return log_nodes_MT, steps_M[:, None] * (1 + decay_MT)


def _invert(y: Any, of: ModuleType) -> Any:
    """The x with `x - exp(-x) = y`, by Newton's method: convex from below, so it cannot fail.

    Args:
        y: An array of numpy or a tensor.
        of: `numpy` or `torch`, which it is of.
    """
    x = of.where(y > 0, y, -of.log1p(abs(y)))
    for _ in range(8):
        decay = of.exp(-x)
        x = x - (x - decay - y) / (1 + decay)
    return x
