"""Typed dimensions of a search space."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, overload

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from shapca.config import Number, Section

Scalar = bool | int | float | str | None

Values = Mapping[str, Scalar]

Item = TypeVar("Item")


class Computed(Sequence[Item], Generic[Item]):
    """A sequence whose items are made when they are asked for: a grid may have billions.

    Args:
        size: How many items there are.
        item: Gives the item of an index, from 0.
    """

    def __init__(self, size: int, item: Callable[[int], Item]) -> None:
        self.size = size
        self._item = item

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return min(self.size, sys.maxsize)  # `len` allows no more; `size` is exact

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -self.size <= index < self.size:
            raise IndexError(index)
        return self._item(index % self.size)


INSIDE = (math.sqrt(5) - 1) / 2
"""A share of a range at which no round number lies."""


def between(low: float, high: float, share: float, *, log: bool) -> float:
    """The number at a share, 0 to 1, of the way between two others, or between their logarithms."""
    if log:
        low, high = math.log(low), math.log(high)
    place = low + share * (high - low)
    return math.exp(place) if log else place


def _listed(value: Any) -> Any:
    """One value stands for a list of it.

    Raises:
        ValueError: It is neither a value nor a list of values.
    """
    values = value if isinstance(value, list | tuple) else (value,)
    if not values or not all(isinstance(one, bool | int | float | str | None) for one in values):
        raise ValueError("expected a value of the choice, or a list of them")
    return values


Condition = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_listed, json_schema_input_type=Scalar | list[Scalar]),
]


class _Conditional(Section):
    """What every dimension may say beside its values."""

    when: dict[str, Condition] = Field(default_factory=dict)
    """Choices of the space, each with the value or values at which this dimension is there; all
    must hold. Elsewhere it is not varied, and what `experiment` says applies."""

    @model_serializer(mode="wrap")
    def _unconditional(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an empty condition, as sweeps that were begun before there were any have it."""
        record: dict[str, Any] = handler(self)
        if not self.when:
            record.pop("when", None)
        return record


class _Range(_Conditional):
    """Numbers between two bounds, both included."""

    low: Number
    high: Number
    log: bool = False
    """Sample the logarithm uniformly."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high (got {self.low} and {self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"a log scale needs low above 0 (got {self.low})")
        return self

    def corners(self) -> tuple[Scalar, ...]:
        """The extreme values."""
        return self.low, self.high

    def holds(self, value: Scalar) -> bool:
        """Whether a value lies between the bounds."""
        return isinstance(value, int | float) and self.low <= value <= self.high


class FloatDimension(_Range):
    """A real number between two bounds, both included."""

    type: Literal["float"]
    num: Annotated[int, Field(ge=2)] = 3
    """Points that the grid sampler takes between the bounds."""

    def grid(self) -> Computed[Scalar]:
        """`num` evenly spaced values, bounds included."""
        return Computed(self.num, self._point)

    def _point(self, index: int) -> float:
        if index in (0, self.num - 1):  # exactly, whatever logarithms make of them
            return self.low if index == 0 else self.high
        step = index / (self.num - 1)
        return between(self.low, self.high, step, log=self.log)

    def probes(self) -> tuple[Scalar, ...]:
        """The extreme values, and one between them."""
        return *self.corners(), between(self.low, self.high, INSIDE, log=self.log)


class IntDimension(_Range):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    high: int

    def grid(self) -> Computed[Scalar]:
        """Every value."""
        return Computed(self.high - self.low + 1, lambda index: self.low + index)

    def probes(self) -> tuple[Scalar, ...]:
        """The extreme values, and one between them if there is any."""
        return self.low, self.high, (self.low + self.high) // 2


class ChoiceDimension(_Conditional):
    """One of the listed values."""

    type: Literal["choice"]
    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({repr(value) for value in self.values}) < len(self.values):
            raise ValueError("the values of a choice must differ from each other")
        return self

    def corners(self) -> tuple[Scalar, ...]:
        """Every value: none lies between others."""
        return self.values

    def grid(self) -> Computed[Scalar]:
        """Every value."""
        return Computed(len(self.values), self.values.__getitem__)

    def probes(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.values

    def holds(self, value: Scalar) -> bool:
        """Whether a value is among those listed."""
        return repr(value) in map(repr, self.values)


_FIELDS = {"type", "low", "high", "log", "num", "values", "when"}


def _has_type(value: Any) -> Any:
    """Say what a dimension's type may be; the library's own words name no type.

    Raises:
        ValueError: It has none of them.
    """
    kinds = ("float", "int", "choice")
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    if kind in kinds:
        return value
    message = "expected type: float, int or choice"
    if kind is not None:
        message += f" (got type: {kind})"
    elif isinstance(value, Mapping):
        message += f" (its keys are {', '.join(map(str, value)) or 'none'})"
    raise ValueError(message)


def flat(space: Mapping[Any, Any], above: str = "") -> dict[Any, Any]:
    """A space whose keys are dotted: one may also stand in sections, as `--set` makes them.

    Raises:
        ValueError: A key is given twice.
    """
    found: dict[Any, Any] = {}
    for key, part in space.items():
        dotted = f"{above}{key}" if above else key
        is_section = (
            isinstance(part, Mapping)
            and part
            and not _FIELDS & set(part)
            and all(isinstance(inner, Mapping) for inner in part.values())
        )
        for name, dimension in (flat(part, f"{dotted}.") if is_section else {dotted: part}).items():
            if name in found:
                raise ValueError(f"{name} is given twice")
            found[name] = dimension
    return found


Dimension = Annotated[
    FloatDimension | IntDimension | ChoiceDimension,
    Field(discriminator="type"),
    BeforeValidator(_has_type),
]
