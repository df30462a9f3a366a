"""How probable a stretch of tags is among all tag paths of a post, under a linear-chain CRF.

B batch, W words, n words of a post, L tags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class TagPaths:
    """The distribution over a post's tag paths; scores are logarithms, -inf is impossible.

    Attributes:
        emissions: (n, L) scores of tags.
        before: (n, L) summed paths of the words so far that end in each tag, its emission included.
        after: (n, L) summed paths of the words that follow each tag.
        transitions: (L, L) score of the step from row to column.
    """

    emissions: Scores
    before: Scores
    after: Scores
    transitions: Scores

    def probability(self, start: int, tags: Sequence[int], *, not_before: int) -> float:
        """Summed probability of all paths that hold the tags and do not go on with another one.

        Args:
            start: Word of the first tag.
            tags: Ids of the tags, at least one.
            not_before: Id of the tag that may not follow them.
        """
        first, last = tags[0], tags[-1]
        end = start + len(tags)
        score = self.before[start, first]
        for word, (previous, tag) in enumerate(pairwise(tags), start + 1):
            score += self.transitions[previous, tag] + self.emissions[word, tag]
        if end == len(self.emissions):
            score += self.after[end - 1, last]
        else:
            onward = self.transitions[last] + self.emissions[end] + self.after[end]  # (L,)
            score += _log_sum(np.delete(onward, not_before))
        return min(1.0, math.exp(score - _log_sum(self.before[-1] + self.after[-1])))


def tag_paths(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> list[TagPaths]:
    """Forward and backward sums of all posts, in float64; the arguments are those of `viterbi`."""
    emissions, start, transitions, end = (
        scores.double() for scores in (emissions, start, transitions, end)
    )
    before = [start + emissions[:, 0]]  # (B, L) each
    for emission in emissions.unbind(1)[1:]:
        before.append(torch.logsumexp(before[-1][:, :, None] + transitions, dim=1) + emission)
    after = [end.expand_as(before[0])]  # (B, L) each, from the last word
    for emission, valid in zip(
        reversed(emissions.unbind(1)[1:]), reversed(mask.unbind(1)[1:]), strict=True
    ):
        step = torch.logsumexp(transitions + (emission + after[-1])[:, None], dim=2)
        after.append(torch.where(valid[:, None], step, end))
    words, sums_before, sums_after = (
        table.numpy() for table in (emissions, torch.stack(before, 1), torch.stack(after[::-1], 1))
    )
    steps = transitions.numpy()
    return [
        TagPaths(words[post, :length], sums_before[post, :length], sums_after[post, :length], steps)
        for post, length in enumerate(mask.sum(1).tolist())
    ]


def _log_sum(scores: Scores) -> float:
    return float(np.logaddexp.reduce(scores))
