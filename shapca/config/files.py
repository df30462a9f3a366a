"""YAML files and overrides, read into validated trees with errors that name file and key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from shapca.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping.

    Raises:
        InputError: missing, unreadable, not YAML, not a mapping, or a key twice in one mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        tree = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except InputError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise InputError(f"{path}{place}: not valid YAML ({problem})") from error
    except ValueError as error:  # a date that is none
        raise InputError(f"{path}: not valid YAML ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: an anchor refers to itself, or lists are too deep") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping at the top, found {type(tree).__name__}")
    return tree


def _refuse_repeated_keys(node: yaml.Node | None, path: str | Path) -> None:
    """YAML would take the last value of a key that is given twice, and say nothing.

    Raises:
        InputError: such a key, or one that is no name.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, path)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{path}:{line}: expected a name as key, found a list or mapping")
            if key.value in seen:
                raise InputError(f"{path}:{line}: the key {key.value!r} is given twice")
            seen.add(key.value)
            _refuse_repeated_keys(value, path)


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set `dotted.key=value` pairs in a copy of a tree; values are read as YAML.

    Keys of the tree may themselves have dots, as those of a search space have:
    `space.optimisation.epochs.low=5`.

    Raises:
        InputError: an override without `=`, or one that goes through a value that is no mapping.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {override}: expected key=value, e.g. optimisation.epochs=5")
        try:
            value = yaml.safe_load(text)
        except (ValueError, RecursionError, TypeError, yaml.YAMLError) as error:
            raise InputError(f"--set {override}: the value is not valid YAML") from error
        tree = with_value(tree, key.strip(), value)
    return tree


def with_value(tree: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy of `tree` in which the dotted key has a value.

    Of the tree's keys the longest with which the dotted one begins is followed, so that keys which
    have dots themselves are reached; where there is none, the first part becomes a key.

    Raises:
        InputError: the key goes through a value that is no mapping.
    """
    parts = dotted.split(".")
    heads = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    head = next((head for head in heads if head in tree), parts[0])
    rest = dotted[len(head) + 1 :]
    copy = dict(tree)
    if not rest:
        copy[head] = value
        return copy
    branch = copy.get(head)
    if branch is None:
        branch = {}
    if not isinstance(branch, dict):
        raise InputError(f"{dotted}: {head} is a value, not a section")
    copy[head] = with_value(branch, rest, value)
    return copy


def validate(model: type[Model], tree: Any, source: str, prefix: str = "") -> Model:
    """Build a pydantic model, turning its errors into one message with dotted paths.

    Raises:
        InputError: one line per wrong key.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            dotted = ".".join([prefix, *map(str, item["loc"])] if prefix else map(str, item["loc"]))
            if item["type"] == "extra_forbidden":
                problem = "unknown key"
            else:
                problem = item["msg"].removeprefix("Value error, ")
                if item["loc"] and isinstance(item.get("input"), str | int | float | bool):
                    problem += f" (got {item['input']!r})"
            lines.append(f"{source}: {dotted}: {problem}" if dotted else f"{source}: {problem}")
        raise InputError("\n".join(lines)) from error
