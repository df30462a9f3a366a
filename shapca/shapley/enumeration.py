"""Shapley values by their definition (Eq. 3), for few players.

N games, J targets, k players, 2^k coalitions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

from shapca.shapley.game import open_game, ratio_or_zero

MOST_PLAYERS = 12


def enumerate_coalitions(
    similarity: Tensor,
    temperature: float,
    *,
    player_mask: Tensor | None = None,
    diagonal: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Shapley values by brute force over all coalitions (Eq. 3), for at most 12 players.

    `phi_i = 1/k sum_{S without i} [u(S + i) - u(S)] / binom(k - 1, |S|)`.

    Args:
        similarity: (..., J, k) cosine, in [-1, 1], of each target with each player.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        player_mask: (..., k) true on players that take part.
        diagonal: only phi_jj; needs J = k.
        generator: not used; all estimators are called alike.

    Returns:
        (..., J, k) values, or (..., k) with `diagonal`.

    Raises:
        ValueError: a shape, a data type or the temperature is not allowed, or k exceeds 12.
    """
    game = open_game(similarity, temperature, player_mask, diagonal=diagonal)
    k = game.num_players
    if k > MOST_PLAYERS:
        raise ValueError(f"enumeration: at most {MOST_PLAYERS} players, got {k}; use `exact`")
    member = (np.arange(2**k)[:, None] >> np.arange(k)) & 1  # (2^k, k)
    size = member.sum(-1, keepdims=True)
    share = np.array([1 / (k * math.comb(k - 1, n)) for n in range(k)])
    # u(S) counts for its members with the share of S without them, against all others.
    factor = np.where(member == 1, share[np.maximum(size - 1, 0)], -share[np.minimum(size, k - 1)])
    member_kS, factor_Sk = (
        torch.from_numpy(x).to(game.similarity, non_blocking=True)
        for x in (member.T.copy(), factor)
    )
    weights_NJk = game.log_weights.exp()
    utility_NJS = ratio_or_zero(
        (weights_NJk * game.similarity) @ member_kS, weights_NJk @ member_kS
    )
    values_NJk = utility_NJS @ factor_Sk
    if game.player_mask is not None:
        values_NJk = values_NJk.masked_fill(~game.player_mask[:, None], 0.0)  # no rounding errors
    return game.restore(values_NJk.diagonal(dim1=1, dim2=2) if diagonal else values_NJk)
