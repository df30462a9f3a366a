"""The best tag paths of a batch of posts under a linear-chain CRF.

B batch, W words, L tags.
"""

from __future__ import annotations

import torch
from torch import Tensor


def viterbi(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> list[list[int]]:
    r"""The best paths of all posts at once.

    .. math:: \arg\max_y s_{y_1} + \sum_i e_{i, y_i} + \sum_i t_{y_i, y_{i+1}} + z_{y_n}

    All posts take a step together, and paths are read back from plain lists: reading single numbers
    out of tensors takes many times as long. Sums are in the order of `pytorch-crf`, so that equal
    scores give equal paths; of equal paths the one with the lower tag is taken, from the end.

    Args:
        emissions: (B, W, L) scores of tags.
        mask: (B, W) true on the first words of each post, at least one.
        start: (L,) score of opening a post.
        transitions: (L, L) score of the step from row to column.
        end: (L,) score of closing a post.

    Returns:
        Of each post as many tags as the mask has words.

    Raises:
        ValueError: a post without a word.
    """
    require_words(mask)
    score = start + emissions[:, 0]  # (B, L) of the best path that ends in each tag
    came_from = []
    for emission, valid in zip(emissions.unbind(1)[1:], mask.unbind(1)[1:], strict=True):
        steps = score[:, :, None] + transitions + emission[:, None]  # (B, L, L)
        best, previous = steps.max(dim=1)  # (B, L)
        score = torch.where(valid[:, None], best, score)
        came_from.append(previous)
    last = (score + end).argmax(dim=1).tolist()
    back = (
        torch.stack(came_from, dim=1).tolist() if came_from else [[]] * len(last)
    )  # (B, W - 1, L)
    paths = []
    for tag, steps_back, length in zip(last, back, mask.sum(dim=1).tolist(), strict=True):
        path = [tag]
        for previous_tags in reversed(steps_back[: length - 1]):
            path.append(previous_tags[path[-1]])
        paths.append(path[::-1])
    return paths


def require_words(mask: Tensor) -> None:
    """Refuse a mask (B, W) of words that leaves a post none.

    Raises:
        ValueError: a post without a word.
    """
    if not mask[:, 0].all():
        raise ValueError("mask of the first timestep must be on: a post without an encoded word")
