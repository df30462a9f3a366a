"""Exact Shapley values in polynomial time, as a double integral that factorises over players.

M rows (games times targets), k players, T nodes of t, Q nodes of q; `own` is the player j that a
diagonal value belongs to.

With q the probability that a player is in the coalition (the multilinear extension) and
`1 / X = int exp(-t X) dt`, the expected marginal contribution of player i is

    phi_i = int_0^1 dq int_0^inf dt P_-i [ E_i w_i s_i - c_i sum_{j != i} q E_j w_j s_j / D_j ],
    E_i = exp(-t w_i),  c_i = 1 - E_i,  D_i = 1 - q c_i,  P_-i = prod_{j != i} D_j.

With `a_i = E_i w_i s_i`, `v_i = 1 / D_i`, `P = prod_j D_j` and `R = sum_j a_j v_j` the integrand is
`P v_i (a_i v_i - q c_i R)`: all players share the product and the sum. D_i is at least 1 - q > 0,
and where the product falls below what float64 holds, so does its part of the integral.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shapca.shapley.quadrature import inclusion_rule, reciprocal_rule

# Elements of one grid (rows, T, Q, k): what stays in a core's cache, or what fills a GPU.
_BLOCK = {"cpu": 2**16, "cuda": 2**24}
_LARGEST_EXPONENT = 50.0  # exp(-exp(50)) is 0: beyond it only overflow would follow


@dataclass(frozen=True)
class _Block:
    """The integrand's parts for some rows r; weights of the rule in t are inside e and a.

    Attributes:
        rows: which rows.
        s: (r, 1, k) similarities.
        z: (r, T, k) t w.
        e: (r, T, k) E z.
        c: (r, T, k) 1 - E.
        step: (r, T, 1) the rule's weights less their factor t.
        a: (r T, k, 1) E w s with the rule's weights.
        v: (r T, Q, k) 1 / D.
        p: (r T, 1, Q) P with the weights of the rule in q.
        q: (Q,) nodes.
    """

    rows: slice
    s: Tensor
    z: Tensor
    e: Tensor
    c: Tensor
    step: Tensor
    a: Tensor
    v: Tensor
    p: Tensor
    q: Tensor

    def total(self) -> Tensor:
        """R (r T, 1, Q), the sum over players of a v."""
        return (self.v @ self.a).mT

    def sum_nodes(self, values: Tensor) -> Tensor:
        """Sum (r T, 1, k) over the nodes of t to (r, k)."""
        return values.reshape(self.z.shape).sum(1)

    def to_similarity(self, by_a: Tensor, by_c: Tensor, temperature: float) -> Tensor:
        """Chain the gradients (r, T, k) by a and by c to the similarities (r, k).

        z = t w has the derivative z / tau by s, `a = exp(-z) z s` times the rule's weight.
        """
        slope_a = self.step * (1 + self.s * (1 - self.z) / temperature)
        return (self.e * (by_a * slope_a + by_c / temperature)).sum(1)


def _blocks(s_Mk: Tensor, log_w_Mk: Tensor, tolerance: float) -> Iterator[_Block]:
    """The integrand on the grid of both rules, a few rows at a time."""
    num_rows, num_players = s_Mk.shape
    nodes, weights = inclusion_rule(num_players, tolerance)
    q_Q, weights_Q = (torch.from_numpy(x).to(s_Mk.device) for x in (nodes, weights))
    log_t_MT, step_MT = reciprocal_rule(log_w_Mk, tolerance)
    num_nodes = log_t_MT.shape[-1]
    row_size = num_nodes * len(nodes) * num_players
    rows_at_once = min(max(_BLOCK.get(s_Mk.device.type, 2**16) // row_size, 1), num_rows)
    buffer = s_Mk.new_empty(rows_at_once * num_nodes, len(nodes), num_players)
    for start in range(0, num_rows, rows_at_once):
        rows = slice(start, start + rows_at_once)
        s = s_Mk[rows, None]
        z = (log_t_MT[rows, :, None] + log_w_Mk[rows, None]).clamp_(max=_LARGEST_EXPONENT).exp_()
        c = torch.expm1(-z).neg_()
        e = torch.exp(-z).mul_(z)
        step = step_MT[rows, :, None]
        c_grid = c.reshape(-1, 1, num_players)
        d = buffer[: len(c_grid)]
        torch.mul(c_grid, -q_Q[:, None], out=d).add_(1)
        p = d.prod(-1).mul_(weights_Q)[:, None]
        a = (e * (s * step)).reshape(-1, num_players, 1)
        yield _Block(rows, s, z, e, c, step, a, d.reciprocal_(), p, q_Q)


def own_values(
    s_Mk: Tensor,
    log_w_Mk: Tensor,
    own_M: Tensor,
    temperature: float,
    tolerance: float,
    *,
    needs_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """One player's value in each row (M,) and its gradient by the row's similarities (M, k).

    The integrand f = p (a v^2 - q c v R), a, c and v those of the own player, has the gradients
    `-q c v p v_i` by a_i and `-q f v_i - q^2 c v p a_i v_i^2` by c_i, and for the own player
    `p v^2` and `2 a q p v^3 - q R p v^2` on top.
    """
    values, gradients = [], []
    for block in _blocks(s_Mk, log_w_Mk, tolerance):
        own = own_M[block.rows]
        num_rows, num_nodes, _ = block.z.shape
        pick = own[:, None, None].expand(num_rows, num_nodes, 1)
        own_nodes = own.repeat_interleave(num_nodes)[:, None, None]
        c, a = block.c.gather(-1, pick).reshape(-1, 1, 1), block.a.gather(1, own_nodes)
        v = block.v.gather(-1, own_nodes.expand(-1, len(block.q), 1)).mT  # (r T, 1, Q)
        p, q, total = block.p, block.q, block.total()

        pv = p * v
        f = pv * (a * v - q * c * total)
        values.append(f.reshape(num_rows, -1).sum(-1))
        if not needs_gradient:
            continue
        shared = q * c * pv
        by_v = torch.cat((shared, q * f), dim=1) @ block.v  # (r T, 2, k)
        by_v_squared = (q * shared) @ block.v.square_()  # the last use of v
        by_a = -by_v[:, 0].reshape(block.z.shape)
        by_c = -(by_v[:, 1:] + by_v_squared * block.a.mT).reshape(block.z.shape)
        pvv = pv * v
        own_by_a = pvv.sum(-1).reshape(num_rows, num_nodes, 1)
        own_by_c = (q * pvv * (2 * a * v - total)).sum(-1).reshape(num_rows, num_nodes, 1)
        by_a.scatter_add_(-1, pick, own_by_a)
        by_c.scatter_add_(-1, pick, own_by_c)
        gradients.append(block.to_similarity(by_a, by_c, temperature))
    return torch.cat(values), torch.cat(gradients) if needs_gradient else None


class AllValues(torch.autograd.Function):
    """All values (M, k); the grid is built anew for the gradient, so that it is never kept."""

    @staticmethod
    def forward(
        ctx: Any, s_Mk: Tensor, log_w_Mk: Tensor, temperature: float, tolerance: float
    ) -> Tensor:
        """phi_i is the sum of `a_i <p, v_i^2> - c_i <q p R, v_i>`, products over the nodes of q."""
        ctx.save_for_backward(s_Mk, log_w_Mk)
        ctx.temperature, ctx.tolerance = temperature, tolerance
        values = []
        for block in _blocks(s_Mk, log_w_Mk, tolerance):
            negative = (block.q * block.p * block.total()) @ block.v
            positive = block.p @ block.v.square_()
            c = block.c.reshape(-1, 1, s_Mk.shape[-1])
            values.append(block.sum_nodes(block.a.mT * positive - c * negative))
        return torch.cat(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient of f = p (A - q R C), with A = sum_i g_i a_i v_i^2 and C = sum_i g_i c_i v_i."""
        s_Mk, log_w_Mk = ctx.saved_tensors
        gradients = []
        for block in _blocks(s_Mk, log_w_Mk, ctx.tolerance):
            p, q, total, a = block.p, block.q, block.total(), block.a.mT
            g = cotangent[block.rows, None].expand_as(block.z).reshape(a.shape)
            c = block.c.reshape(a.shape)
            v_squared = block.v.square()
            gain = (v_squared @ (g * a).mT).mT
            loss = q * (block.v @ (g * c).mT).mT
            f = p * (gain - total * loss)
            by_v = torch.cat((p * loss, q * f), dim=1) @ block.v
            by_v_squared = torch.cat((p, q * p * loss, q * p * total), dim=1) @ v_squared
            by_v_cubed = (q * p) @ v_squared.mul_(block.v)
            by_a = g * by_v_squared[:, :1] - by_v[:, :1]
            by_c = (
                2 * g * a * by_v_cubed
                - by_v[:, 1:]
                - a * by_v_squared[:, 1:2]
                - g * by_v_squared[:, 2:]
            )
            shape = block.z.shape
            gradients.append(
                block.to_similarity(by_a.reshape(shape), by_c.reshape(shape), ctx.temperature)
            )
        return torch.cat(gradients), None, None, None
