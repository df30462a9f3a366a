"""The cooperative game of Eq. 3-4: one utility per target, shared players.

N games (the leading dimensions, flattened), J targets, k players. The player axis is last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

LOWEST_TEMPERATURE = 0.005
"""Below it the weights of cosines span more than float64 holds in a prefix sum."""


class Estimator(Protocol):
    """How Shapley values are found: every estimator of this package is called like this."""

    def __call__(
        self,
        similarity: Tensor,
        temperature: float,
        *,
        player_mask: Tensor | None = None,
        diagonal: bool = False,
        generator: Generator | None = None,
    ) -> Tensor:
        """Shapley values (..., J, k) of similarities (..., J, k), or their diagonal (..., k).

        Args:
            similarity: (..., J, k) cosine of each target with each player.
            temperature: tau of the utility (Eq. 4), at least 0.005.
            player_mask: (..., k) true on players that take part; an absent one is worth 0 and
                changes nobody's value.
            diagonal: only phi_jj, the value of player j for target j; needs J = k.
            generator: source of randomness of the sampled estimators.
        """
        ...


@dataclass(frozen=True)
class Game:
    """N games in float64, ready for an estimator.

    Attributes:
        similarity: (N, J, k), 0 for absent players.
        log_weights: (N, J, k) ln w, i.e. s / tau less its maximum over a target's players; minus
            infinity for absent players. The maximum is a constant: utilities do not depend on it.
        temperature: tau.
        player_mask: (N, k), or None where all take part.
        lead: the leading dimensions that N stands for.
        dtype: what the caller's similarities were, and what the values are returned in.
    """

    similarity: Tensor
    log_weights: Tensor
    temperature: float
    player_mask: Tensor | None
    lead: torch.Size
    dtype: torch.dtype

    @property
    def num_players(self) -> int:
        """Players k, absent ones included."""
        return self.similarity.shape[-1]

    def restore(self, values: Tensor) -> Tensor:
        """Values (N, ...) in the caller's leading dimensions and precision."""
        return values.to(self.dtype).reshape(self.lead + values.shape[1:])


def open_game(
    similarity: Tensor,
    temperature: float,
    player_mask: Tensor | None = None,
    *,
    diagonal: bool = False,
) -> Game:
    """Check what an estimator was given and bring it to float64.

    Raises:
        ValueError: a shape, a data type or the temperature is not allowed.
    """
    if similarity.ndim < 2 or not similarity.is_floating_point():
        raise ValueError(
            "similarity: expected a floating-point tensor (..., J, k), "
            f"got {similarity.dtype} of shape {tuple(similarity.shape)}"
        )
    *lead, num_targets, num_players = similarity.shape
    if num_players == 0 or num_targets == 0:
        raise ValueError(f"similarity: no players or no targets in {tuple(similarity.shape)}")
    if diagonal and num_targets != num_players:
        raise ValueError(f"diagonal: needs as many targets as players, got {num_targets} targets "
                         f"and {num_players} players")  # fmt: skip
    if not (temperature >= LOWEST_TEMPERATURE and math.isfinite(temperature)):
        raise ValueError(f"temperature: expected at least {LOWEST_TEMPERATURE}, got {temperature}")

    similarity_NJk = similarity.double().reshape(-1, num_targets, num_players)
    mask_Nk = None
    if player_mask is not None:
        if player_mask.dtype != torch.bool or player_mask.shape[-1:] != (num_players,):
            raise ValueError(
                f"player_mask: expected booleans (..., {num_players}), "
                f"got {player_mask.dtype} of shape {tuple(player_mask.shape)}"
            )
        mask_Nk = player_mask.expand(*lead, num_players).reshape(-1, num_players)
        similarity_NJk = similarity_NJk.masked_fill(~mask_Nk[:, None], 0.0)
    logits_NJk = similarity_NJk / temperature
    if mask_Nk is not None:
        logits_NJk = logits_NJk.masked_fill(~mask_Nk[:, None], -torch.inf)
    peak_NJ1 = logits_NJk.detach().amax(-1, keepdim=True)
    if mask_Nk is not None:
        peak_NJ1 = peak_NJ1.masked_fill(peak_NJ1 == -torch.inf, 0.0)  # nobody is present
    return Game(
        similarity=similarity_NJk,
        log_weights=logits_NJk - peak_NJ1,
        temperature=temperature,
        player_mask=mask_Nk,
        lead=torch.Size(lead),
        dtype=similarity.dtype,
    )


def utility_of_all(
    similarity: Tensor, temperature: float, *, player_mask: Tensor | None = None
) -> Tensor:
    """Utility of the coalition of all players (Eq. 4), which their Shapley values add up to.

    `u_j(K) = sum_i s_ji w_ji / sum_i w_ji`, with `w = exp(s / tau)`; 0 where nobody takes part.

    Args:
        similarity: (..., J, k) cosine of each target with each player.
        temperature: tau, at least 0.005.
        player_mask: (..., k) true on players that take part.

    Returns:
        (..., J) utilities.

    Raises:
        ValueError: a shape, a data type or the temperature is not allowed.
    """
    game = open_game(similarity, temperature, player_mask)
    weights_NJk = game.log_weights.exp()
    return game.restore(ratio_or_zero((weights_NJk * game.similarity).sum(-1), weights_NJk.sum(-1)))


def ratio_or_zero(numerator: Tensor, total: Tensor) -> Tensor:
    """`numerator / total`, and 0 for the empty coalition, where both are 0.

    A division, since the gradient of a reciprocal squares it, which overflows where a product of
    the division's own gradient does not.
    """
    return numerator / total.masked_fill(total == 0, 1.0)


class WithGradient(torch.autograd.Function):
    """Attach to values (N, k) the gradient that was found along with them.

    A value phi_jj depends on row j of the similarities alone, so that all of
    `d phi_jj / d s_ji` is one tensor (N, k, k) of the similarities' own shape.
    """

    @staticmethod
    def forward(ctx: Any, similarity: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Pass `value` (N, k) on."""
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        """Chain rule, row by row."""
        (gradient,) = ctx.saved_tensors
        return cotangent[..., None] * gradient, None, None
