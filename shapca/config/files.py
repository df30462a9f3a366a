"""YAML files and overrides, read into validated trees with errors that name file and key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from shapca.config.keys import suggestion
from shapca.errors import InputError

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 2**18
MAX_DEPTH = 50
MAX_DIGITS = 100
MAX_SHOWN = 200
MAX_SUGGESTED = 20
_TOO_DEEP = f"more than {MAX_DEPTH} lists or mappings in each other"


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping.

    Raises:
        InputError: missing, unreadable, longer than `MAX_BYTES`, not such YAML as `parse_yaml`
            reads, or not a mapping.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: expected {MAX_BYTES // 2**10} KiB of YAML at most")
        text = content.decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    try:
        tree = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}{place}: {_problem(error)}") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping at the top, found {type(tree).__name__}")
    return tree


def parse_yaml(text: str) -> Any:
    """The value of a YAML text of plain values, lists and mappings.

    Raises:
        yaml.YAMLError: not YAML, or such that a short text means a large value or two things:
            aliases, merge keys, tags, a key twice in one mapping, long numbers, deep lists, half a
            character.
    """
    loader = _PlainLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node)
    except (ValueError, OverflowError) as error:  # a date or a number that is none
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def to_yaml(value: Any, *, inline: bool = False) -> str:
    """YAML text of plain values, lists and mappings, keys in the order that they have.

    Args:
        value: What to write.
        inline: All on one line; otherwise only lists and mappings of plain values are.
    """
    text: str = yaml.safe_dump(
        value,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf") if inline else 100,
        default_flow_style=inline or None,
    )
    return text


class _PlainLoader(yaml.SafeLoader):
    """Refuses what no file of this project needs, while it reads, before anything is made of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        # The scanner runs ahead, in a time that grows with the square of the depth.
        if self.flow_level == MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.get_mark())
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            _refuse(event, "aliases (*name) are not read: write out what they mean")
        if getattr(event, "tag", None) is not None:
            _refuse(event, "tags (!name) are not read")
        if isinstance(event, yaml.ScalarEvent) and _has_half_a_character(event.value):
            _refuse(event, "a text has half a character in it")
        if self._depth == MAX_DEPTH:
            _refuse(event, _TOO_DEEP)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float")):
            if len(node.value) > MAX_DIGITS:
                _refuse(node, f"a number of more than {MAX_DIGITS} digits")
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node


def _check_keys(node: yaml.MappingNode) -> None:
    """YAML would take the last value of a key that is given twice, and say nothing."""
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(key, "expected a name as key, found a list or mapping")
        if key.tag.endswith(":merge"):
            _refuse(key, "merge keys (<<) are not read: write out what they mean")
        if key.value in seen:
            _refuse(key, f"the key {key.value!r} is given twice")
        seen.add(key.value)


def _has_half_a_character(text: str) -> bool:
    return any("\ud800" <= sign <= "\udfff" for sign in text)


def _refuse(place: Any, problem: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and type(error) is yaml.MarkedYAMLError:
        return str(error.problem)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or error.args[:1]
    return f"not valid YAML ({said[0] if isinstance(said, tuple) else said})"


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
            raise InputError(
                f"--set {_short(override)}: expected key=value, e.g. optimisation.epochs=5"
            )
        if key.count(".") > MAX_DEPTH:
            raise InputError(f"--set {_short(override)}: more than {MAX_DEPTH} names in one key")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            shown = f"--set {_short(override)}: the value: {_problem(error)}"
            raise InputError(shown) from error
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
        for number, item in enumerate(error.errors()):
            dotted = ".".join([prefix, *map(str, item["loc"])] if prefix else map(str, item["loc"]))
            if item["type"] == "extra_forbidden":
                problem = "unknown key"
                problem += suggestion(model, item["loc"]) if number < MAX_SUGGESTED else ""
            else:
                problem = item["msg"].removeprefix("Value error, ")
                if item["loc"] and isinstance(item.get("input"), str | int | float | bool):
                    problem += f" (got {_short(repr(item['input']))})"
            lines.append(f"{source}: {dotted}: {problem}" if dotted else f"{source}: {problem}")
        raise InputError("\n".join(lines)) from error


def _short(text: str) -> str:
    """A text as far as a message shows it, in characters that can be written."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} …"
