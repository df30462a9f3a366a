"""The logarithm of a linear-chain CRF's partition function, in few steps and with its own gradient.

B batch, W words, L tags, n matrices of a level of the scan.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def log_partition(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    r"""Logarithm of the summed weights of all tag paths of each post.

    .. math:: \ln \sum_y \exp\left(s_{y_1} + \sum_i e_{i, y_i} + \sum_i t_{y_i, y_{i+1}}
              + z_{y_n}\right)

    On a CPU word after word, the least arithmetic; elsewhere, where each operation costs a launch,
    by a scan in ln W steps. Both give the same value and gradient up to rounding.

    Args:
        emissions: (B, W, L) finite scores of tags.
        mask: (B, W) true on the first words of each post, at least one.
        start: (L,) score of opening a post.
        transitions: (L, L) score of the step from row to column.
        end: (L,) score of closing a post.

    Returns:
        (B,).
    """
    function = Recursion if emissions.device.type == "cpu" else Scan
    result: Tensor = function.apply(emissions, mask, start, transitions, end)
    return result


class Recursion(torch.autograd.Function):
    """Word after word: a_j' = ln sum_i exp(a_i + t_ij) + e_j, from a = s + e of the first word.

    The gradient by a is the one by a' times the step's probabilities
    p_ij = exp(a_i + t_ij + e_j - a_j'), which are found for all words at once.
    """

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
    ) -> Tensor:
        """Logarithms (B,), by the scores of the paths so far that end in each tag."""
        score = start + emissions[:, 0]  # (B, L)
        scores = [score]
        for emission, valid in zip(emissions.unbind(1)[1:], mask.unbind(1)[1:], strict=True):
            step = torch.logsumexp(score[:, :, None] + transitions, dim=1).add_(emission)
            score = torch.where(valid[:, None], step, score)
            scores.append(score)
        result = torch.logsumexp(score + end, dim=1)  # (B,)
        ctx.save_for_backward(torch.stack(scores, dim=1), emissions, mask, transitions, end, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor, Tensor]:
        """The recursion's chain rule, from the last word to the first."""
        scores, emissions, mask, transitions, end, result = ctx.saved_tensors
        by_score = (scores[:, -1] + end - result[:, None]).exp_() * gradient[:, None]  # (B, L)
        arriving = emissions[:, 1:] - scores[:, 1:]  # (B, W - 1, L)
        steps = (scores[:, :-1, :, None] + transitions + arriving[:, :, None]).exp_()
        stay = torch.eye(len(end), dtype=steps.dtype, device=steps.device)
        steps = torch.where(mask[:, 1:, None, None], steps, stay)  # (B, W - 1, L, L)
        column = by_score[:, :, None]
        columns = [column]
        for step in reversed(steps.unbind(1)):
            column = step @ column
            columns.append(column)
        by_emission = torch.stack(columns[::-1], dim=1)[..., 0] * mask[:, :, None]  # (B, W, L)
        by_transition = (steps * by_emission[:, 1:, None]).sum((0, 1))
        return by_emission, None, by_emission[:, 0].sum(0), by_transition, by_score.sum(0)


class Scan(torch.autograd.Function):
    """Neighbouring words joined in pairs, the pairs in pairs, until one matrix is left.

    A word is the matrix m_ij = t_ij + e_j, the first one s_j + e_j, one off the mask the identity;
    two matrices join to c_ij = ln sum_k exp(a_ik + b_kj). Posts are the last dimension.
    """

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
    ) -> Tensor:
        """Logarithms (B,), from a level of matrices to the next of half as many."""
        nothing = torch.finfo(emissions.dtype).min / 4  # two of them still add up to a number
        stay = torch.full_like(transitions, nothing).fill_diagonal_(0.0)
        steps = torch.cat(
            (
                start.expand(1, *transitions.shape),
                transitions.expand(emissions.shape[1] - 1, *transitions.shape),
            )
        )  # (W, L, L)
        scores = emissions.permute(1, 2, 0)[:, None]  # (W, 1, L, B)
        matrices = torch.where(
            mask.T[:, None, None], steps[..., None] + scores, stay[..., None]
        )  # (W, L, L, B)
        levels = []
        while len(matrices) > 1:
            first, second = _pairs(matrices)
            paths = first[:, :, :, None] + second[:, None]  # (n, L, L, L, B), over k the third
            peak = paths.amax(2, keepdim=True)
            joined = (paths - peak).exp_().sum(2).log_().add_(peak[:, :, 0])
            levels.append((matrices, joined))
            odd = matrices[2 * len(joined) :]
            matrices = torch.cat((joined, odd)) if len(odd) else joined
        # All rows of the first word are alike: one of them stands for what comes before it.
        whole = matrices[0, 0] + end[:, None]  # (L, B)
        result = torch.logsumexp(whole, dim=0)
        ctx.levels = levels
        ctx.save_for_backward(mask, whole, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor, Tensor]:
        """Each level's share of its paths, from the last to the first."""
        mask, whole, result = ctx.saved_tensors
        by_end = (whole - result).exp_() * gradient  # (L, B)
        by_matrix = F.pad(by_end[None, None], (0, 0, 0, 0, 0, len(by_end) - 1))  # (1, L, L, B)
        for matrices, joined in reversed(ctx.levels):
            first, second = _pairs(matrices)
            shares = (first[:, :, :, None] + (second[:, None] - joined[:, :, None])).exp_()
            shares *= by_matrix[: len(joined), :, None]
            by_pair = torch.stack((shares.sum(3), shares.sum(1)), dim=1).flatten(0, 1)
            odd = by_matrix[len(joined) :]
            by_matrix = torch.cat((by_pair, odd)) if len(odd) else by_pair
        by_matrix = by_matrix * mask.T[:, None, None]  # (W, L, L, B)
        by_step = by_matrix.sum(3)  # (W, L, L)
        return (
            by_matrix.sum(1).permute(2, 0, 1),
            None,
            by_step[0].sum(0),
            by_step[1:].sum(0),
            by_end.sum(1),
        )


def _pairs(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbours (n, L, L, B) each; an odd matrix at the end has none."""
    even = len(matrices) // 2 * 2
    return matrices[0:even:2], matrices[1:even:2]
