"""Contrastive losses over similarity matrices: of Shapley values (Eq. 5), and InfoNCE.

k posts, as targets (rows) and as players (columns); the diagonal holds the positive pairs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from shapca.shapley import Estimator, find_estimator, utility_of_all

Negatives = Literal["sum", "mean"]


def shapley_contrastive_loss(
    similarity: Tensor,
    temperature: float,
    estimator: str | Estimator = "cyclic",
    negatives: Negatives = "sum",
    *,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Raise the Shapley value of the positive pairs and lower those of the others (Eq. 5).

    `L = -1/k sum_j [phi_j(u_j) - sum_{i != j} phi_i(u_j)]`. The values of a target add up to the
    utility of all players, exactly and in each scan of the sampled estimators, so that
    `L = mean_j [u_j(K) - 2 phi_j(u_j)]` needs the diagonal alone.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        estimator: a name of `shapca.shapley.ESTIMATORS`, or an estimator.
        negatives: `sum` as printed; `mean` divides the negatives' values by their number, k - 1.
            Under `sum` a common rise of all similarities raises the loss, and from a tau of about
            0.35 its optimum is all cosines at -1; `mean` prefers alignment at every tau.
        mask: (..., k) true on posts that take part, as targets and as players. Where fewer than
            two do, the loss is 0 with a gradient of 0.
        duplicates: (..., k, k) true on pairs of different posts that are no negatives of each
            other: the player stays in the game, but its value leaves the sum of the negatives.
        generator: source of the sampled permutations.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape, the temperature, the estimator or `negatives` is not allowed.
    """
    if negatives not in ("sum", "mean"):
        raise ValueError(f"negatives: expected sum or mean, got {negatives!r}")
    mask, duplicates = _check_square(similarity, mask, duplicates)
    estimate = find_estimator(estimator) if isinstance(estimator, str) else estimator
    values = estimate(
        similarity,
        temperature,
        player_mask=mask,
        diagonal=duplicates is None,
        generator=generator,
    )  # (..., k), or (..., k, k) where some negatives must be left out
    negative = utility_of_all(similarity, temperature, player_mask=mask)
    num_players = similarity.shape[-1] if mask is None else mask.sum(-1, keepdim=True)
    num_negatives: Tensor | int = num_players - 1
    if duplicates is None:
        positive = values
    else:
        excluded = duplicates if mask is None else duplicates & mask[..., None, :]
        positive = values.diagonal(dim1=-2, dim2=-1)
        negative = negative - values.masked_fill(~excluded, 0.0).sum(-1)
        num_negatives = num_negatives - excluded.sum(-1)
    negative = negative - positive
    if negatives == "mean":
        negative = negative / torch.as_tensor(num_negatives, device=negative.device).clamp(min=1)
    return _mean_over_targets(negative - positive, mask)


def infonce_loss(
    similarity: Tensor,
    temperature: float,
    *,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive pair among all players (the row "w/o Shapley Value").

    `L = -mean_j ln [exp(s_jj / tau) / sum_i exp(s_ji / tau)]`; symmetric where the loss of the
    transposed matrix is averaged with it.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: tau, above 0.
        mask: (..., k) true on posts that take part, as targets and as players.
        duplicates: (..., k, k) true on pairs of different posts left out of the denominator.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape or the temperature is not allowed.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected above 0, got {temperature}")
    mask, duplicates = _check_square(similarity, mask, duplicates)
    logits = similarity / temperature
    if mask is not None:
        kept = mask[..., None, :] | positive_pairs(similarity)
        logits = logits.masked_fill(~kept, -torch.inf)
    if duplicates is not None:
        logits = logits.masked_fill(duplicates, -torch.inf)
    losses = logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)
    return _mean_over_targets(losses, mask)


def _check_square(
    similarity: Tensor, mask: Tensor | None, duplicates: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Refuse what is no batch of square matrices.

    Returns:
        The mask in the matrices' leading dimensions, and duplicates without the diagonal.
    """
    shape = similarity.shape
    if similarity.ndim < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"similarity: expected (..., k, k), got shape {tuple(shape)}")
    if duplicates is not None:
        if duplicates.dtype != torch.bool or duplicates.shape[-2:] != shape[-2:]:
            raise ValueError(
                f"duplicates: expected booleans (..., {shape[-1]}, {shape[-1]}), "
                f"got {duplicates.dtype} of shape {tuple(duplicates.shape)}"
            )
        duplicates = duplicates & ~positive_pairs(similarity)
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape[-1:] != shape[-1:]:
            raise ValueError(
                f"mask: expected booleans (..., {shape[-1]}), "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        mask = mask.expand(shape[:-1])
    return mask, duplicates


def positive_pairs(similarity: Tensor) -> Tensor:
    """(k, k) true on the diagonal."""
    return torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)


def _mean_over_targets(losses: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of losses (..., k) over the targets that take part; 0 for fewer than two."""
    if mask is None:
        return losses.mean(-1) if losses.shape[-1] > 1 else losses.sum(-1) * 0.0
    count = mask.sum(-1)
    mean = losses.masked_fill(~mask, 0.0).sum(-1) / count.clamp(min=1)
    return mean * (count > 1)
