"""JSON records of a store, held against the form that their readers rely on.

A store may have been handed over, or damaged: what a record holds is looked at where it is read, so
that a fault is one message with the record's name and the key.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shapca.errors import InputError
from shapca.storage.objects import ObjectStore, place_name

_SHOWN = 60
MOST_DIGITS = 20
_TO_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)


def parse_json(content: bytes | str, place: str, form: Any = None) -> Any:
    """The value of a JSON text.

    Args:
        content: The text.
        place: What to call it in messages.
        form: The type that it must have, as pydantic knows it: a dataclass, whose fields are all
            that may be there, a TypedDict, `dict[str, int]`, …; `None`: any.

    Raises:
        InputError: it is no JSON, or has another form; the message names the key.
    """
    try:
        value = json.loads(content, parse_int=_whole)
        if b"\\ud" in (content.encode() if isinstance(content, str) else content).lower():
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # half a character can be written nowhere
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is damaged ({error})") from error
    if form is not None:
        check_form(value, form, place)
    return value


def parse_instances(content: bytes, place: str, form: Any) -> Any:
    """As `parse_json`, with dataclasses made of what the form says: for many records at once.

    Raises:
        InputError: it is no JSON, or has another form; the message names the key.
    """
    if b"\\u" in content or b"0" * (MOST_DIGITS + 1) in content.translate(_TO_ZEROS):
        parse_json(content, place, form)  # which looks at each: records hardly ever have those
    try:
        return _adapter(form).validate_json(content, strict=True)
    except ValidationError as error:
        raise InputError(f"{place} is damaged: {_first(error)}") from error


def check_form(value: Any, form: Any, place: str) -> None:
    """Make sure that a JSON value has a form.

    Raises:
        InputError: it has another one; the message names the key, and what was expected.
    """
    if dataclasses.is_dataclass(form) and isinstance(value, dict):
        names = {field.name for field in dataclasses.fields(form)}
        if unknown := sorted(set(value) - names):
            raise InputError(
                f"{place}: {_short(unknown[0])} is no key of it; written by a newer version?"
            )
    try:
        _adapter(form).validate_json(json.dumps(value), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(f"{place} is damaged: {_first(error)}") from error


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:  # no machine's number: it becomes no float either
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


@functools.cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return _short(error)
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(map(str, first["loc"]))
    said = f"{first['msg']} (got {_short(first['input'])})"
    return f"{_short(key)[1:-1]}: {said}" if key else said


def _short(value: Any) -> str:
    try:
        text = repr(value) if not isinstance(value, Exception) else str(value)
    except ValueError:  # a number of thousands of digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def to_json(value: Any) -> bytes:
    """A record as UTF-8 JSON with sorted keys: equal values give equal bytes."""
    return (json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(store: ObjectStore, name: str, form: Any = None) -> Any | None:
    """A JSON record of a store, or `None` where it does not exist.

    Args:
        store: The store.
        name: The record's name.
        form: The type that it must have, see `parse_json`; `None`: any.

    Raises:
        InputError: it is not JSON, or has another form.
    """
    content = store.get(name)
    if content is None:
        return None
    return parse_json(content, f"{place_name(store)}: {name}", form)


def hash_of(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(to_json(value)).hexdigest()


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of a JSON value's hash."""
    return hash_of(value)[:16]
