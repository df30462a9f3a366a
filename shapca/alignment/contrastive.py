"""Contrastive losses over similarity matrices: of Shapley values (Eq. 5), and InfoNCE.

k posts, as targets (rows) and as players (columns); the diagonal holds the positive pairs.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from shapca.shapley import Estimator, find_estimator, utility_of_all

Negatives = Literal["sum", "mean", "softmax"]

VALUE_TEMPERATURE = 0.05
"""Of the cross-entropy over Shapley values, which are a k-th of a cosine in size."""


def shapley_contrastive_loss(
    similarity: Tensor,
    temperature: float,
    estimator: str | Estimator = "exact",
    negatives: Negatives = "softmax",
    *,
    value_temperature: float | Tensor = VALUE_TEMPERATURE,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Raise the Shapley value of the positive pairs and lower those of the others (Eq. 5).

    As printed, `L = -1/k sum_j [phi_j(u_j) - sum_{i != j} phi_i(u_j)]`. The values of a target add
    up to the utility of all players, exactly and in each scan of the sampled estimators, so that
    `L = mean_j [u_j(K) - 2 phi_j(u_j)]` needs the diagonal alone. The cross-entropy over a
    target's values, `L = -mean_j ln [exp(phi_j(u_j) / t) / sum_i exp(phi_i(u_j) / t)]`, needs all.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: Tau of the utility (Eq. 4), at least 0.005.
        estimator: A name of `shapca.shapley.ESTIMATORS`, or an estimator.
        negatives: `sum` as printed; `mean` divides the negatives' values by their number, k - 1;
            `softmax` is the cross-entropy. Under `sum` a common rise of all similarities raises
            the loss, and all cosines at -1 are soon reached and hard to leave: in training it
            collapses at every tau, though only from about 0.35 is that its optimum. The others
            prefer alignment at every tau.
        value_temperature: t of `softmax`, above 0; a tensor learns.
        mask: (..., k) true on posts that take part, as targets and as players. Where fewer than
            two do, the loss is 0 with a gradient of 0.
        duplicates: (..., k, k) true on pairs of different posts that are no negatives of each
            other: the player stays in the game, but its value leaves the sum of the negatives.
        generator: Source of the sampled permutations.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape, a temperature, the estimator or `negatives` is not allowed.
    """
    if negatives not in get_args(Negatives):
        raise ValueError(f"negatives: expected sum, mean or softmax, got {negatives!r}")
    mask, duplicates = _check_square(similarity, mask, duplicates)
    estimate = find_estimator(estimator) if isinstance(estimator, str) else estimator
    values = estimate(
        similarity,
        temperature,
        player_mask=mask,
        diagonal=duplicates is None and negatives != "softmax",
        generator=generator,
    )  # (..., k), or (..., k, k) where the negatives are told apart
    if negatives == "softmax":
        return _cross_entropy(values, value_temperature, mask, duplicates)
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
    temperature: float | Tensor,
    *,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive pair among all players (the row "w/o Shapley Value").

    `L = -mean_j ln [exp(s_jj / tau) / sum_i exp(s_ji / tau)]`; symmetric where the loss of the
    transposed matrix is averaged with it.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: Tau, above 0; a tensor learns.
        mask: (..., k) true on posts that take part, as targets and as players.
        duplicates: (..., k, k) true on pairs of different posts left out of the denominator.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape or the temperature is not allowed.
    """
    mask, duplicates = _check_square(similarity, mask, duplicates)
    return _cross_entropy(similarity, temperature, mask, duplicates)


def _cross_entropy(
    scores: Tensor, temperature: float | Tensor, mask: Tensor | None, duplicates: Tensor | None
) -> Tensor:
    """Mean over targets of the cross-entropy of the own player among all that are no duplicates.

    Raises:
        ValueError: a fixed temperature of 0 or below.
    """
    if not isinstance(temperature, Tensor) and not temperature > 0:  # a tensor would be waited for
        raise ValueError(f"temperature: expected above 0, got {temperature}")
    logits = scores / temperature
    if mask is not None:
        kept = mask[..., None, :] | positive_pairs(scores)
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
