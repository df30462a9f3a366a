"""Settings of a search space that stand for all others: its corners, its probes, its grid."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from orchestrator.config.conditions import Space, is_conditional, present, required
from orchestrator.config.dimensions import Computed, Scalar

MOST_COMBINATIONS = 256
MOST_BRANCHES = 10_000
"""Ways in which the conditions of a grid may hold or not; each is kept in memory."""

Setting = dict[str, Scalar]


def corners(space: Space) -> Iterator[Setting]:
    """Settings that together show every extreme value of every dimension.

    One dimension at a time moves over its corners while the others keep their first, so that the
    number grows with the sum, not the product, of the dimensions' corners; spaces of at most 256
    combinations are taken whole. A conditional dimension moves where its condition holds.
    """
    axes = {key: dimension.corners() for key, dimension in space.items()}
    if math.prod(map(len, axes.values())) <= MOST_COMBINATIONS:
        combinations = (
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        )
        yield from _distinct(space, combinations)
        return
    moved = (with_present(space, key, value) for key, values in axes.items() for value in values)
    yield from _distinct(space, moved)


def with_present(space: Space, key: str, value: Scalar) -> Setting:
    """The setting of first values, but for one dimension and those that its condition needs."""
    first = {other: dimension.corners()[0] for other, dimension in space.items()}
    return present(space, {**first, **_first_required(space, key), key: value})


def probes(space: Space) -> Iterator[Setting]:
    """Settings beside the corners: every two dimensions at each extreme, and inside of ranges.

    The other dimensions keep their first value, or one that the conditions of the two need; two
    whose conditions exclude each other are no pair.
    """
    axes = {key: dimension.probes() for key, dimension in space.items()}
    first = {key: values[0] for key, values in axes.items()}
    alone = (with_present(space, key, value) for key, values in axes.items() for value in values)
    pairs = (
        {**first, **_first_required(space, one, other), one: value, other: another}
        for one, other in itertools.combinations(axes, 2)
        if all(required(space, one, other).values())
        for value, another in itertools.product(axes[one], axes[other])
    )
    return _distinct(space, itertools.chain(alone, pairs))


def grid(space: Space) -> Computed[Setting]:
    """All combinations of the dimensions' grids, the last key changing fastest.

    With conditions: for each combination of the choices that they name, in the order of the space,
    all combinations of the others that are there; each setting once.

    Raises:
        ValueError: There are more combinations of those choices than can be kept.
    """
    axes = {key: dimension.grid() for key, dimension in space.items()}
    if not is_conditional(space):
        return _product(axes)
    named = [key for key in space if any(key in other.when for other in space.values())]
    choices = {key: space[key] for key in named}
    size = math.prod(axes[key].size for key in named)
    if size > MOST_BRANCHES:
        raise ValueError(
            f"protocol.sampler: grid with conditions (space.….when) takes at most "
            f"{MOST_BRANCHES:,} combinations of {', '.join(named)}; these have {size:,}"
        )
    parts = []
    for branch in _distinct(choices, _product({key: axes[key] for key in named})):
        shown = present(space, {**dict.fromkeys(space), **branch})
        parts.append(_product({key: _fixed(branch[key]) if key in branch else axes[key]
                               for key in shown}))  # fmt: skip
    ends = list(itertools.accumulate(part.size for part in parts))

    def setting(index: int) -> Setting:
        number = bisect_right(ends, index)
        return parts[number][index - (ends[number - 1] if number else 0)]

    return Computed(ends[-1], setting)


def _product(axes: dict[str, Computed[Scalar]]) -> Computed[Setting]:
    def combination(index: int) -> Setting:
        values: Setting = {}
        for key, axis in reversed(axes.items()):
            index, place = divmod(index, axis.size)
            values[key] = axis[place]
        return {key: values[key] for key in axes}

    return Computed(math.prod(axis.size for axis in axes.values()), combination)


def _fixed(value: Scalar) -> Computed[Scalar]:
    return Computed(1, lambda index: value)


def _first_required(space: Space, *keys: str) -> Setting:
    """The first values with which the conditions of some dimensions hold."""
    return {above: values[0] for above, values in required(space, *keys).items() if values}


def _distinct(space: Space, settings: Iterator[Setting] | Sequence[Setting]) -> Iterator[Setting]:
    """Settings as they are, each once where conditions make several the same."""
    if not is_conditional(space):
        yield from settings
        return
    seen = set()
    for values in settings:
        shown = present(space, values)
        if (key := repr(shown)) not in seen:
            seen.add(key)
            yield shown
