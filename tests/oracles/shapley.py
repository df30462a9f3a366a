"""Shapley values and their loss as the paper writes them: loops over players, nothing clever.

J targets, k players.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, permutations

import torch
from torch import Tensor


def utility(similarity: Sequence[float], coalition: Sequence[int], temperature: float) -> float:
    """Eq. 4 for one target, in Python floats."""
    if not coalition:
        return 0.0
    peak = max(similarity[i] for i in coalition)
    weights = [math.exp((similarity[i] - peak) / temperature) for i in coalition]
    return sum(w * similarity[i] for w, i in zip(weights, coalition, strict=True)) / sum(weights)


def values_by_definition(similarity: Sequence[float], temperature: float) -> list[float]:
    """Eq. 3 for one target: all coalitions without player i."""
    k = len(similarity)
    values = []
    for i in range(k):
        others = [player for player in range(k) if player != i]
        total = 0.0
        for size in range(k):
            for coalition in combinations(others, size):
                with_i = utility(similarity, (*coalition, i), temperature)
                without = utility(similarity, coalition, temperature)
                total += (with_i - without) / math.comb(k - 1, size)
        values.append(total / k)
    return values


def values_by_orders(similarity: Sequence[float], temperature: float) -> list[float]:
    """The other definition: marginal contributions, averaged over all k! orders of arrival."""
    k = len(similarity)
    totals = [0.0] * k
    for order in permutations(range(k)):
        for place, player in enumerate(order):
            after = utility(similarity, order[: place + 1], temperature)
            totals[player] += after - utility(similarity, order[:place], temperature)
    return [total / math.factorial(k) for total in totals]


def algorithm_1(similarity: Tensor, temperature: float, permutation: Sequence[int]) -> Tensor:
    """Algorithm 1 over torch scalars with autograd, (J, k) -> (J, k); sums run along a scan."""
    num_targets, k = similarity.shape
    rows = []
    for j in range(num_targets):
        scalars = list(similarity[j].unbind())
        weights = [torch.exp((s - 1.0) / temperature) for s in scalars]
        contributions: list[list[Tensor]] = [[] for _ in range(k)]
        order, stride = list(permutation), k // 2
        while True:
            numerator = denominator = before = torch.zeros((), dtype=similarity.dtype)
            for i in order:
                numerator = numerator + weights[i] * scalars[i]
                denominator = denominator + weights[i]
                after = numerator / denominator
                contributions[i].append(after - before)
                before = after
            order = order[stride:] + order[:stride]
            stride //= 2
            if stride < 1:
                break
        rows.append(torch.stack([sum(found) / len(found) for found in contributions]))
    return torch.stack(rows)


def contrastive_loss(values: Tensor, negatives: str = "sum") -> Tensor:
    """Eq. 5 of Shapley values (k, k), literally."""
    k = len(values)
    total = torch.zeros((), dtype=values.dtype)
    for j in range(k):
        negative = sum(values[j, i] for i in range(k) if i != j)
        total = total + values[j, j] - (negative if negatives == "sum" else negative / (k - 1))
    return -total / k


def softmax_loss(
    values: Tensor,
    temperature: float | Tensor,
    present: Sequence[int] | None = None,
    duplicates: Sequence[tuple[int, int]] = (),
) -> Tensor:
    """Cross-entropy of the own player by Shapley values (k, k), a target at a time.

    `present` are the posts that take part; of `duplicates`, target and player, the player counts
    for nothing.
    """
    posts = range(len(values)) if present is None else present
    losses = []
    for j in posts:
        players = [i for i in posts if i == j or (j, i) not in duplicates]
        total = sum(torch.exp(values[j, i] / temperature) for i in players)
        losses.append(-torch.log(torch.exp(values[j, j] / temperature) / total))
    return sum(losses) / len(losses)
