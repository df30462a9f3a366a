"""Shapley values from marginal contributions along sampled permutations (Algorithm 1).

N games, J targets, k players, S scans; a scan adds the players one by one in some order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Generator, Tensor

from shapca.shapley.game import Game, WithGradient, open_game, ratio_or_zero


def cyclic(
    similarity: Tensor,
    temperature: float,
    *,
    permutation: Tensor | None = None,
    player_mask: Tensor | None = None,
    diagonal: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Shapley values by cyclic shifts of one random permutation (Algorithm 1).

    A permutation P of the k players is scanned, shifted by k//2, scanned, shifted by k//4, and so
    on while the stride is at least 1; phi_i is the mean over the scans of player i's marginal
    contribution `u(P[1..i]) - u(P[1..i-1])`. Each scan's permutation is uniform, so the estimate
    is unbiased; it adds up to u(K) exactly. k = 28 has 4 scans, at offsets 0, 14, 21 and 24.

    Args:
        similarity: (..., J, k) cosine, in [-1, 1], of each target with each player.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        permutation: (k,) or (..., k) orders to start from instead of random ones.
        player_mask: (..., k) true on players that take part; strides follow their number.
        diagonal: only phi_jj, which a contrastive loss needs; faster. Needs J = k.
        generator: source of the permutations, one for each leading index, shared by its targets.

    Returns:
        (..., J, k) values, or (..., k) with `diagonal`.

    Raises:
        ValueError: a shape, a data type, the temperature or the permutation is not allowed.
    """
    game = open_game(similarity, temperature, player_mask, diagonal=diagonal)
    shape = (len(game.similarity), game.num_players)
    if permutation is None:
        order_Nk = _random_orders(shape, generator, similarity.device)
    else:
        order_Nk = _check_permutation(permutation, game).reshape(shape)
    rank_Nk = _ranks(order_Nk, game.player_mask)
    positions_NSk, weights_NS = _shift(rank_Nk, game.player_mask)
    return _scan(game, positions_NSk, weights_NS, diagonal=diagonal)


def monte_carlo(
    similarity: Tensor,
    temperature: float,
    *,
    num_permutations: int,
    player_mask: Tensor | None = None,
    diagonal: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Shapley values by independent random permutations: mean marginal contributions.

    Args:
        similarity: (..., J, k) cosine, in [-1, 1], of each target with each player.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        num_permutations: permutations for each leading index, shared by its targets.
        player_mask: (..., k) true on players that take part.
        diagonal: only phi_jj; needs J = k.
        generator: source of the permutations.

    Returns:
        (..., J, k) values, or (..., k) with `diagonal`.

    Raises:
        ValueError: a shape, a data type, the temperature or the number is not allowed.
    """
    if num_permutations < 1:
        raise ValueError(f"num_permutations: expected at least 1, got {num_permutations}")
    game = open_game(similarity, temperature, player_mask, diagonal=diagonal)
    shape = (len(game.similarity), num_permutations, game.num_players)
    order_NSk = _random_orders(shape, generator, similarity.device)
    mask = None if game.player_mask is None else game.player_mask[:, None].expand(shape)
    weights_NS = order_NSk.new_full(shape[:2], 1.0 / num_permutations, dtype=torch.float64)
    return _scan(game, _ranks(order_NSk, mask), weights_NS, diagonal=diagonal)


def _random_orders(
    shape: tuple[int, ...], generator: Generator | None, device: torch.device
) -> Tensor:
    """Uniform permutations along the last axis; the same for a generator whatever the device."""
    source = device if generator is None else generator.device
    keys = torch.rand(shape, generator=generator, device=source, dtype=torch.float64)
    return keys.argsort(-1).to(device, non_blocking=True)


def _check_permutation(permutation: Tensor, game: Game) -> Tensor:
    players = torch.arange(game.num_players, device=permutation.device)
    if permutation.shape[-1:] != players.shape or bool(
        (permutation.sort(-1).values != players).any()
    ):
        raise ValueError(
            f"permutation: expected each of 0..{game.num_players - 1} once along the last axis, "
            f"got shape {tuple(permutation.shape)}"
        )
    return permutation.to(game.similarity.device).expand(*game.lead, game.num_players)


def _ranks(order: Tensor, player_mask: Tensor | None) -> Tensor:
    """The place (..., k) of each player in an order (..., k); absent ones come at the end."""
    if player_mask is not None:
        absent = ~player_mask.gather(-1, order)
        order = order.gather(-1, absent.to(torch.uint8).argsort(dim=-1, stable=True))
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


@lru_cache(maxsize=256)
def _offsets(num_players: int) -> tuple[int, ...]:
    """Offsets of Algorithm 1's scans into the first permutation, e.g. (0, 14, 21, 24) for 28."""
    offsets, stride = [0], num_players // 2
    while stride >= 2:
        offsets.append(offsets[-1] + stride)
        stride //= 2
    return tuple(offsets)


@lru_cache(maxsize=64)
def _offset_table(num_players: int) -> tuple[np.ndarray, np.ndarray]:
    """For 0..k present players: offsets (k + 1, S) and the weights (k + 1, S) of the scans."""
    shape = (num_players + 1, len(_offsets(num_players)))
    offsets, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float64)
    for present in range(num_players + 1):
        scans = _offsets(present)
        offsets[present, : len(scans)] = scans
        weights[present, : len(scans)] = 1.0 / len(scans)
    return offsets, weights


def _shift(rank_Nk: Tensor, player_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Places (N, S, k) of the players in the shifted permutations, and the scans' weights (N, S).

    The permutation shifted by an offset begins with the player of rank `offset`. Only the present
    players, whose ranks come first, are shifted.
    """
    num_players = rank_Nk.shape[-1]
    offsets, weights = (
        torch.from_numpy(table).to(rank_Nk.device, non_blocking=True)
        for table in _offset_table(num_players)
    )
    if player_mask is None:
        shifted_NSk = (rank_Nk[:, None] - offsets[-1][:, None]) % num_players
        return shifted_NSk, weights[-1].expand(len(rank_Nk), -1)
    present_N = player_mask.sum(-1)
    modulus_N11 = present_N.clamp(min=1)[:, None, None]
    shifted_NSk = (rank_Nk[:, None] - offsets[present_N][:, :, None]) % modulus_N11
    return torch.where(player_mask[:, None], shifted_NSk, rank_Nk[:, None]), weights[present_N]


def _scan(game: Game, positions_NSk: Tensor, weights_NS: Tensor, *, diagonal: bool) -> Tensor:
    if diagonal:
        return game.restore(_own_marginals(game, positions_NSk, weights_NS))
    return game.restore(_all_marginals(game, positions_NSk, weights_NS))


def _all_marginals(game: Game, positions_NSk: Tensor, weights_NS: Tensor) -> Tensor:
    """Weighted mean over scans of every player's marginal contribution (N, J, k).

    A scan is two prefix sums, of `w` and of `w s`: their ratio is the utility of the players so
    far, and its differences are the marginal contributions.
    """
    shape = (*positions_NSk.shape[:2], *game.similarity.shape[1:])
    order_NSJk = positions_NSk.argsort(-1)[:, :, None].expand(shape)
    weights_NJk = game.log_weights.exp()
    w_NSJk, ws_NSJk = (
        x[:, None].expand(shape).gather(-1, order_NSJk).cumsum(-1)
        for x in (weights_NJk, weights_NJk * game.similarity)
    )
    utility_NSJk = ratio_or_zero(ws_NSJk, w_NSJk)
    before_NSJk = torch.nn.functional.pad(utility_NSJk[..., :-1], (1, 0))  # u of nobody is 0
    marginal_NSJk = (utility_NSJk - before_NSJk).gather(-1, positions_NSk[:, :, None].expand(shape))
    return torch.einsum("ns,nsjk->njk", weights_NS, marginal_NSJk)


def _own_marginals(game: Game, positions_NSk: Tensor, weights_NS: Tensor) -> Tensor:
    """Weighted mean over scans of player j's marginal contribution to target j (N, k).

    Only the coalition that comes before player j matters to it: its weight W and weighted sum of
    similarities come out of one matrix product with the mask of who comes before whom. With
    `u = sum_i w_i s_i / W`, a coalition's gradient is `du/ds_i = w_i / W (1 + (s_i - u) / tau)`.
    """
    tau = game.temperature
    s_Njk, w_Njk = game.similarity.detach(), game.log_weights.detach().exp()
    before_NjSk = positions_NSk[:, None] < positions_NSk.mT[..., None]  # [n, j, s, i]: i before j
    before_NjSk = before_NjSk.to(torch.float64)

    sums_NjS2 = before_NjSk @ torch.stack((w_Njk, w_Njk * s_Njk), dim=-1)
    own_w_Nj1, own_s_Nj1 = (x.diagonal(dim1=1, dim2=2)[..., None] for x in (w_Njk, s_Njk))
    weight_NjS2 = torch.stack((sums_NjS2[..., 0], sums_NjS2[..., 0] + own_w_Nj1), dim=-1)
    numerator_NjS2 = torch.stack(
        (sums_NjS2[..., 1], sums_NjS2[..., 1] + own_w_Nj1 * own_s_Nj1), dim=-1
    )
    utility_NjS2 = ratio_or_zero(numerator_NjS2, weight_NjS2)  # without, with player j
    scan_weights_N1S = weights_NS[:, None]
    value_Nj = ((utility_NjS2[..., 1] - utility_NjS2[..., 0]) * scan_weights_N1S).sum(-1)
    if not (game.similarity.requires_grad and torch.is_grad_enabled()):
        return value_Nj

    inverse_NjS2 = ratio_or_zero((weight_NjS2 > 0).to(weight_NjS2), weight_NjS2)
    slope_NjS22 = torch.stack((inverse_NjS2, inverse_NjS2 * utility_NjS2 / tau), dim=-2)
    change_NjS2 = (slope_NjS22[..., 1] - slope_NjS22[..., 0]) * weights_NS[:, None, :, None]
    others_Nj2k = change_NjS2.mT @ before_NjSk
    gradient_Njk = w_Njk * ((1 + s_Njk / tau) * others_Nj2k[:, :, 0] - others_Nj2k[:, :, 1])
    own_NjS = inverse_NjS2[..., 1] * (1 + (own_s_Nj1 - utility_NjS2[..., 1]) / tau)
    own_Nj = own_w_Nj1[..., 0] * (own_NjS * scan_weights_N1S).sum(-1)
    gradient_Njk.diagonal(dim1=1, dim2=2).add_(own_Nj)
    return WithGradient.apply(game.similarity, value_Nj, gradient_Njk)
