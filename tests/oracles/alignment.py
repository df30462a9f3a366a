"""The health of an alignment, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np

Vectors = Sequence[np.ndarray]


def gap(left: Vectors, right: Vectors) -> float:
    """Mean cosine of the pairs less that of all others."""
    own = [float(a @ b) for a, b in zip(left, right, strict=True)]
    others = [float(left[i] @ right[j]) for i, j in permutations(range(len(left)), 2)]
    return sum(own) / len(own) - sum(others) / len(others)


def recall(queries: Vectors, targets: Vectors, rank: int) -> float:
    """Percent of queries whose own target is among the first, each order of ties equally likely."""
    total = Fraction(0)
    for number, query in enumerate(queries):
        cosines = [float(query @ target) for target in targets]
        better = sum(cosine > cosines[number] for cosine in cosines)
        equal = sum(cosine == cosines[number] for cosine in cosines)
        places = range(better + 1, better + equal + 1)
        total += Fraction(sum(place <= rank for place in places), equal)
    return float(100 * total / len(queries))


def uniformity(features: Vectors) -> float:
    """ln mean exp(-2 |x_i - x_j|^2) over different posts."""
    pairs = list(permutations(features, 2))
    return math.log(sum(math.exp(-2 * float((a - b) @ (a - b))) for a, b in pairs) / len(pairs))
