"""Arguments of `shapca data prepare` that hold several values in one text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapca.errors import InputError


def context_files(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """Context sets of a command line: name to files, in the order given.

    Raises:
        InputError: a malformed argument, or one file given twice.
    """
    from shapca.data.preparation.captions import parse_context_argument

    sets: dict[str, list[Path]] = {}
    for argument in arguments:
        name, files = parse_context_argument(argument)
        for file in files:
            if file in sets.setdefault(name, []):
                raise InputError(f"contexts {name}: {file} is given twice")
            sets[name].append(file)
    return sets


def names(option: str, text: str) -> tuple[str, ...]:
    """`A,B,…` as names.

    Raises:
        InputError: an empty one.
    """
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise InputError(f"{option} {text!r}: expected names parted by commas")
    return found


def shares(text: str) -> tuple[float, float, float]:
    """`0.8,0.1,0.1` as shares of train, valid and test.

    Raises:
        InputError: not three numbers.
    """
    try:
        train, valid, test = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--split {text!r}: expected three shares, e.g. 0.8,0.1,0.1") from error
    return train, valid, test


def columns(arguments: Sequence[str]) -> dict[str, str]:
    """`KEY=NAME` arguments as names by key.

    Raises:
        InputError: one of another form, or a key twice.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        key, equals, name = argument.partition("=")
        if not equals or not key or not name or key in found:
            raise InputError(f"--column {argument!r}: expected KEY=NAME, each key once")
        found[key] = name
    return found
