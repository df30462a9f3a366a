"""Fixed tables of the exact estimator's integrand, kept between batches.

T nodes of t, Q nodes of q, G cells of y, P polynomials in a cell.

With weights that add up to 1 a player enters the integrand through `y = ln w` alone, and y lies
between `-(2 / tau + ln k)` and 0 for cosines. On equal cells of that span the functions of y below
are polynomials to within what a tolerance of 1e-6 needs. Their Chebyshev coefficients at the
points (t, q) depend on the number of players and on tau: not on the similarities.

At a node of t, only weights near 1 / t matter in full: far lighter players change nothing, and a
far heavier one counts as infinite. So nodes come in bands, each with the cells that it needs.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from shapca.shapley.quadrature import inclusion_rule, reciprocal_nodes

TOLERANCE = 1e-6
"""What the tables are made for; half of it goes to either rule."""
NUM_POLYNOMIALS = 13
SIGNS = np.array([(-1) ** (degree // 2) for degree in range(NUM_POLYNOMIALS)])
"""Of the Chebyshev polynomials T_n: with them `S_n = S_(n-2) +- 2 u S_(n-1)`, + for odd n."""
_OWN_WIDTH, _ALL_WIDTH = 1.6, 0.8  # of a cell; 1 / D^2 needs narrower ones
_BAND_NODES = 64
KEPT_BYTES = 2**28
"""Of tables that are kept; the least recently used ones leave first."""

_LIGHTEST = 1e-8  # of all lighter players together
_HEAVIEST = 32.0  # t w, from where exp(-t w) is nothing


@dataclass(frozen=True)
class Band:
    """Coefficients (P g, n) of functions at n points of some nodes of t, on g of the cells.

    With `E = exp(-t w)`, `c = 1 - E` and `D = 1 - q c`.

    Attributes:
        nodes: which nodes of t.
        cells: which cells; below them all functions are 0, above them constant.
        tables: `log_d` of ln D; `rho` of `t w E / D`, which is `-1 / q` times its derivative by
            y; `rho_slope` of the derivative of that. Where all players' values are asked for
            also `alpha` of `t w E / D^2`; its derivative `alpha_slope`; and `gamma` of `q c / D`,
            whose derivative is `q alpha`.
        above: (n,) what ln D and gamma are above the cells, where the others are 0.
    """

    nodes: slice
    cells: slice
    tables: Mapping[str, Tensor]
    above: Mapping[str, Tensor]


@dataclass(frozen=True)
class Tables:
    """Both rules' nodes, and what the integrand needs at them.

    Attributes:
        log_t: (T,) ln t.
        q: (Q,) nodes.
        weights: (T, Q) product of both rules' weights, that of t less its factor t.
        bands: all nodes of t in order.
        cells: (G, 1) numbers 0..G-1.
        cell_width: the cells cover y from `-cell_width G` to 0.
    """

    log_t: Tensor
    q: Tensor
    weights: Tensor
    bands: tuple[Band, ...]
    cells: Tensor
    cell_width: float

    @property
    def num_cells(self) -> int:
        """Cells G."""
        return len(self.cells)

    def size(self) -> int:
        """Bytes, the small parts left out."""
        return sum(table.nbytes for band in self.bands for table in band.tables.values())


_kept: OrderedDict[tuple[object, ...], Tables] = OrderedDict()
_lock = threading.Lock()


def find_tables(
    num_players: int,
    temperature: float,
    dtype: torch.dtype,
    like: Tensor,
    *,
    own_only: bool,
) -> Tables:
    """The tables of a game, made at their first use.

    Args:
        num_players: k.
        temperature: tau.
        dtype: of the tables, and so of what is computed with them.
        like: a tensor on the device where they are needed. For one that is no plain tensor, a
            stand-in without numbers say, they are made anew and not kept.
        own_only: the values of one player in each row; otherwise of all players.
    """
    span = 2 / temperature + math.log(num_players) + 1e-3
    cell_width = _OWN_WIDTH if own_only else _ALL_WIDTH
    key = (num_players, math.ceil(span / cell_width), dtype, like.device, own_only)
    if type(like) is not Tensor:
        return _make_tables(*key)
    with _lock:
        if key not in _kept:
            _kept[key] = _make_tables(*key)
        _kept.move_to_end(key)
        while len(_kept) > 1 and sum(tables.size() for tables in _kept.values()) > KEPT_BYTES:
            _kept.popitem(last=False)
        return _kept[key]


def _make_tables(
    num_players: int, num_cells: int, dtype: torch.dtype, device: torch.device, own_only: bool
) -> Tables:
    cell_width = _OWN_WIDTH if own_only else _ALL_WIDTH
    span = num_cells * cell_width
    q_Q, q_weights_Q = inclusion_rule(num_players, TOLERANCE / 2)
    log_t_T, t_weights_T = reciprocal_nodes(span, TOLERANCE / 2)
    num_bands = math.ceil(len(log_t_T) / _BAND_NODES)
    ends = np.linspace(0, len(log_t_T), num_bands + 1).astype(int).tolist()

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype, non_blocking=True)

    bands = []
    for start, stop in pairwise(ends):
        log_t_B = log_t_T[start:stop]
        lowest = math.log(_LIGHTEST / num_players) - log_t_B[-1]
        highest = math.log(_HEAVIEST) - log_t_B[0]
        first, last = (math.floor((y + span) / cell_width) for y in (lowest, highest))
        cells = slice(min(max(first, 0), num_cells - 1), min(max(last + 1, 1), num_cells))
        left_G = np.arange(num_cells)[cells] * cell_width - span
        tables = _coefficients(log_t_B, q_Q, left_G, cell_width, own_only)
        above = {"log_d": np.log1p(-q_Q), "gamma": q_Q / (1 - q_Q)}
        bands.append(
            Band(
                slice(start, stop),
                cells,
                tables={name: tensor(table) for name, table in tables.items()},
                above={name: tensor(np.tile(x, stop - start)) for name, x in above.items()},
            )
        )
    return Tables(
        log_t=tensor(log_t_T),
        q=tensor(q_Q),
        weights=tensor(np.outer(t_weights_T, q_weights_Q)),
        bands=tuple(bands),
        cells=tensor(np.arange(num_cells)[:, None]),
        cell_width=cell_width,
    )


def _coefficients(
    log_t_B: np.ndarray, q_Q: np.ndarray, left_G: np.ndarray, cell_width: float, own_only: bool
) -> dict[str, np.ndarray]:
    """The functions' coefficients (g P, B Q), by least squares at twice as many Chebyshev points.

    Args:
        log_t_B: ln t of a band's nodes.
        q_Q: nodes of q.
        left_G: the left ends of its cells.
        cell_width: of a cell.
        own_only: only the first three functions.
    """
    u_U = np.cos(np.pi * (np.arange(2 * NUM_POLYNOMIALS) + 0.5) / (2 * NUM_POLYNOMIALS))
    basis_UP = chebyshev.chebvander(u_U, NUM_POLYNOMIALS - 1) * SIGNS
    fit_PU = np.linalg.pinv(basis_UP)
    y_GU1 = (left_G[:, None] + cell_width * (u_U + 1) / 2)[..., None]
    names = ("log_d", "rho", "rho_slope", "alpha", "alpha_slope", "gamma")[: 3 if own_only else 6]
    found = np.empty((len(names), NUM_POLYNOMIALS, len(left_G), len(log_t_B), len(q_Q)))
    for node, log_t in enumerate(log_t_B):
        z_GU1 = np.exp(np.minimum(log_t + y_GU1, 50.0))
        c, e = -np.expm1(-z_GU1), z_GU1 * np.exp(-z_GU1)
        d_GUQ = 1 - q_Q * c
        rho, turn = e / d_GUQ, q_Q * e / d_GUQ
        functions = [np.log(d_GUQ), rho, rho * (1 - z_GU1 + turn)]
        if not own_only:
            alpha = rho / d_GUQ
            functions += [alpha, alpha * (1 - z_GU1 + 2 * turn), q_Q * c / d_GUQ]
        found[:, :, :, node] = np.einsum("pu,fguq->fpgq", fit_PU, np.stack(functions))
    found[np.abs(found) < 1e-13] = 0.0  # denormal numbers would take long
    flat = found.reshape(len(names), NUM_POLYNOMIALS * len(left_G), -1)
    return dict(zip(names, flat, strict=True))
