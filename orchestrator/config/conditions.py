"""Conditional dimensions: which dimensions of a space a setting has.

A dimension with `when` is there where every dimension that it names has one of the values that it
gives for it. One that is not there has no value, so that what depends on it is not there either,
and the experiment's own value applies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.config.dimensions import ChoiceDimension, Dimension, Scalar, Values

Space = Mapping[str, Dimension]
LONGEST_CHAIN = 100
Required = dict[str, tuple[Scalar, ...]]


def check_conditions(space: Space) -> None:
    """Make sure that every condition can be told, and can hold.

    Raises:
        ValueError: It names what is no choice of the space, a value that the choice has not, or
            itself over others; or it contradicts the condition of what it names.
    """
    for key, dimension in space.items():
        for above, values in dimension.when.items():
            choice = space.get(above)
            if choice is None:
                keys = ", ".join(other for other in space if other != key) or "none"
                problem = f"{above} is no other dimension of the space ({keys})"
            elif not isinstance(choice, ChoiceDimension):
                problem = f"{above} is of type {choice.type}; expected a dimension of type choice"
            elif unknown := [value for value in values if not choice.holds(value)]:
                shown = ", ".join(map(repr, choice.values))
                problem = f"{above} has no value {unknown[0]!r}; expected some of {shown}"
            else:
                continue
            raise ValueError(f"space.{key}.when: {problem}")
    for key, dimension in space.items():
        needs = required(space, key) if dimension.when else {}
        never = [above for above, values in needs.items() if not values]
        if never:
            raise ValueError(
                f"space.{key}.when: never holds: {never[0]} would need a value that the condition "
                "of another dimension on the way excludes"
            )


def is_conditional(space: Space) -> bool:
    """Whether any dimension has a condition."""
    return any(dimension.when for dimension in space.values())


def in_order(space: Space) -> list[str]:
    """The keys of a space, each after those that its condition names; else as they stand.

    Raises:
        ValueError: Conditions go round in a circle.
    """
    order: dict[str, None] = {}

    def add(key: str, way: tuple[str, ...]) -> None:
        if key in way:
            circle = " → ".join((*way[way.index(key) :], key))
            raise ValueError(f"space.{key}.when: conditions go round in a circle ({circle})")
        if len(way) > LONGEST_CHAIN:
            raise ValueError(
                f"space.{way[0]}.when: more than {LONGEST_CHAIN} conditions one upon the other"
            )
        if key not in order:
            for above in space[key].when:
                add(above, (*way, key))
            order[key] = None

    for key in space:
        add(key, ())
    return list(order)


def required(space: Space, *keys: str) -> Required:
    """What other dimensions must be for some to be there, over all conditions on the way.

    Args:
        space: Dimensions by dotted key.
        keys: Which are to be there.

    Returns:
        The values allowed by dimension; none at all where conditions contradict each other.

    Raises:
        ValueError: Conditions go round in a circle.
    """
    found: Required = {}
    if not is_conditional(space):
        return found
    wanted = set(keys)
    for key in reversed(in_order(space)):
        if key not in wanted:
            continue
        for above, values in space[key].when.items():
            wanted.add(above)
            allowed = found.get(above, space[above].corners())
            found[above] = tuple(value for value in allowed if _among(value, values))
    return found


def present(space: Space, values: Values) -> dict[str, Scalar]:
    """A setting without the dimensions whose condition does not hold, in the order of the space."""
    return settings_of(space)(values)


def settings_of(space: Space) -> Callable[[Values], dict[str, Scalar]]:
    """`present` of a space, for many settings."""
    keys = list(space)
    if not is_conditional(space):
        return lambda values: {key: values[key] for key in keys}
    order = in_order(space)

    def setting(values: Values) -> dict[str, Scalar]:
        found: dict[str, Scalar] = {}
        for key in order:
            if is_present(space[key], found):
                found[key] = values[key]
        return {key: found[key] for key in keys if key in found}

    return setting


def is_present(dimension: Dimension, found: Values) -> bool:
    """Whether a dimension is there, given the values of those that its condition names."""
    return all(
        above in found and _among(found[above], values) for above, values in dimension.when.items()
    )


def within(space: Space) -> Callable[[Values], bool]:
    """Tells whether a setting lies in a space, as one that a file gives need not."""
    dimensions = {key: space[key] for key in in_order(space)}
    can_lack = is_conditional(space)

    def holds(values: Values) -> bool:
        there = dimensions
        if can_lack:
            there = {key: part for key, part in dimensions.items() if is_present(part, values)}
        return there.keys() == values.keys() and all(
            part.holds(values[key]) for key, part in there.items()
        )

    return holds


def _among(value: Scalar, values: tuple[Scalar, ...]) -> bool:
    return repr(value) in map(repr, values)
