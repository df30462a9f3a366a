"""Whether an alignment aligns: its gap, its retrieval and its spread over the pairs of a split.

N posts with both sides of a pair, H width. What is measured, with x and y the sides of a pair:

    alignment_gap_<x>_<y>      mean cosine of true pairs less that of all other pairs
    alignment_r1_<y>_of_<x>    percent of x whose own y is the nearest of all y; ties count in part
    alignment_r5_<y>_of_<x>    the same among the nearest five
    alignment_uniformity_<x>   ln mean exp(-2 |x_i - x_j|^2) over i != j: 0 where all are equal,
                               about -3.9 where they are spread evenly

The first three end in `_joint` where text and context were read in one pass: a true pair can then
be told from others without being aligned, so that they say little of the alignment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from shapca.alignment.alignment import Pairs
from shapca.alignment.standing import GAP, JOINT

_BLOCK = 2**22  # elements of one block of cosines


class AlignmentHealth:
    """The pairs of a split, taken in batch by batch, and what they say of the alignment.

    Args:
        read_together: Whether text and context come out of one pass.
    """

    def __init__(self, *, read_together: bool) -> None:
        self._read_together = read_together
        self._batches: list[tuple[Pairs, ...]] = []

    def add(self, pairs: tuple[Pairs, ...]) -> None:
        """Take in the pairs of a batch, one item an alignment."""
        self._batches.append(pairs)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Measurements by name, as the module lists them; none of fewer than two pairs."""
        found: dict[str, float] = {}
        for whole in zip(*self._batches, strict=True):
            batches = [item.present() for item in whole]  # only now: a GPU is waited for
            x, y = batches[0].left_name, batches[0].right_name
            left = torch.cat([item.left for item in batches])  # (N, H)
            right = torch.cat([item.right for item in batches])
            if len(left) < 2:
                continue
            end = JOINT if self._read_together and {x, y} == {"text", "context"} else ""
            found[f"{GAP}{y}_{x}{end}"] = _gap(left, right)
            for query, targets, name in (
                (left, right, f"{y}_of_{x}"),
                (right, left, f"{x}_of_{y}"),
            ):
                for k, share in zip((1, 5), _recall(query, targets, (1, 5)), strict=True):
                    found[f"alignment_r{k}_{name}{end}"] = 100 * share
            for name, features in ((x, left), (y, right)):
                if (key := f"alignment_uniformity_{name}") not in found:
                    found[key] = _uniformity(features)
        return found


def _gap(left: Tensor, right: Tensor) -> float:
    """Mean cosine of the pairs less that of all others, without the matrix of cosines."""
    num_pairs = len(left)
    positive = (left * right).sum(dtype=torch.float64).item()
    total = (left.sum(0, dtype=torch.float64) @ right.sum(0, dtype=torch.float64)).item()
    return positive / num_pairs - (total - positive) / (num_pairs * (num_pairs - 1))


def _recall(queries: Tensor, targets: Tensor, ranks: tuple[int, ...]) -> list[float]:
    """Share of queries whose own target is among the first; of equals each is as likely first."""
    hits = [0.0] * len(ranks)
    for rows, cosines in _cosines(queries, targets):
        own = cosines.gather(1, rows[:, None])  # (b, 1)
        num_better, num_equal = (cosines > own).sum(1), (cosines == own).sum(1)
        for place, rank in enumerate(ranks):
            hits[place] += ((rank - num_better) / num_equal).clamp(0, 1).sum().item()
    return [found / len(queries) for found in hits]


def _uniformity(features: Tensor) -> float:
    """Logarithm of the mean Gaussian potential of two different posts (Wang and Isola, 2020)."""
    total = 0.0
    for rows, cosines in _cosines(features, features):
        cosines.scatter_(1, rows[:, None], -torch.inf)
        total += (4 * cosines - 4).exp().sum(dtype=torch.float64).item()  # |x - y|^2 = 2 - 2 x y
    return math.log(max(total, 1e-300) / (len(features) * (len(features) - 1)))


def _cosines(queries: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers (b,) of some queries with their cosines (b, N), as many as a block holds."""
    rows = torch.arange(len(queries), device=queries.device)
    for chosen in rows.split(max(1, _BLOCK // len(targets))):
        yield chosen, queries[chosen] @ targets.mT
