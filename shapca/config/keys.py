"""What keys a file may have, from the JSON schema that pydantic makes of its model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

MOST_NAMED = 12
"""Keys that a message lists where none is near."""
_LIMITS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
}  # fmt: skip
_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "minItems": "at least {}", "maxLength": "at most {} letters", "pattern": "matching {}",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key of a file.

    Attributes:
        name: Dotted; `NAME` stands for a name of one's own, `[]` for each item of a list.
        type: In words.
        bounds: In words; empty where there are none.
        is_required: Whether a file must have it.
        default: As JSON has it; of a section, what its keys have as well.
        meaning: One or two sentences; empty where the name says it.
        is_section: Whether it holds keys that are listed after it.
    """

    name: str
    type: str
    bounds: str
    is_required: bool
    default: Any
    meaning: str
    is_section: bool


class _Whole(GenerateJsonSchema):
    """With what pydantic leaves out: defaults that a function makes, and bounds of a `Number`."""

    def get_default_value(self, schema: Any) -> Any:
        if "default_factory" in schema:
            return schema["default_factory"]()
        return super().get_default_value(schema)

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        written = super().model_schema(schema)
        for name, field in schema["cls"].model_fields.items():
            form = written["properties"][name]
            numbers = [f for f in form.get("anyOf", [form]) if f.get("type") == "number"]
            for part in _metadata(field) if len(numbers) == 1 else ():
                for limit, key in _LIMITS.items():
                    if (value := getattr(part, limit, None)) is not None:
                        numbers[0][key] = value
        return written


def _metadata(annotation: Any) -> Iterator[Any]:
    """What stands beside the type in `Annotated`, at any depth."""
    if isinstance(annotation, FieldInfo):
        yield from annotation.metadata
        yield from _metadata(annotation.annotation)
        return
    for part in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
        yield part
        yield from _metadata(part)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, by which an editor completes and checks a file."""
    schema = model.model_json_schema(schema_generator=_Whole)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


_known_schema = cache(schema_of)  # a file of wrong keys alone asks for it many times


def keys_of(schema: JsonSchemaValue) -> list[Key]:
    """Every key of a file in its order, each section before what it holds."""
    return list(_keys(schema, schema, ""))


def _keys(root: JsonSchemaValue, node: JsonSchemaValue, prefix: str) -> Iterator[Key]:
    for name, field in node.get("properties", {}).items():
        dotted, is_required = f"{prefix}{name}", name in node.get("required", ())
        yield from _key(root, field, dotted, is_required=is_required)


def _key(root: JsonSchemaValue, field: Any, dotted: str, *, is_required: bool) -> Iterator[Key]:
    inside = [*_held(root, field, dotted)]
    yield Key(
        dotted,
        _type(root, field),
        ", ".join(_bounds(root, field)),
        is_required,
        field.get("default"),
        " ".join(field.get("description", "").split()),
        bool(inside),
    )
    yield from inside


def _held(root: JsonSchemaValue, field: Any, dotted: str) -> Iterator[Key]:
    for form in _forms(root, field):
        if isinstance(form.get("additionalProperties"), dict):
            yield from _held(root, form["additionalProperties"], f"{dotted}.NAME")
        elif isinstance(form.get("items"), dict):
            yield from _held(root, form["items"], f"{dotted}[]")
        elif "properties" in form:
            tag = next(
                (f" ({v['const']})" for v in form["properties"].values() if "const" in v), ""
            )
            yield from _keys(root, form, f"{dotted}{tag}.")


def _forms(root: JsonSchemaValue, field: Any) -> list[dict[str, Any]]:
    """The schemas that a value may have: references followed, alternatives apart."""
    if "$ref" in field:
        return _forms(root, root["$defs"][field["$ref"].rpartition("/")[2]])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return [form for one in field[several] for form in _forms(root, one)]
    return [field]


def _type(root: JsonSchemaValue, field: Any) -> str:
    names = dict.fromkeys(_form_type(root, form) for form in _forms(root, field))
    return "plain value" if len(names) == len(_SCALARS) else " | ".join(names)


_SCALARS = ("true | false", "whole number", "number", "text", "null")


def _form_type(root: JsonSchemaValue, form: dict[str, Any]) -> str:
    if "enum" in form:
        return " | ".join(map(str, form["enum"]))
    if "const" in form:
        return str(form["const"])
    if form.get("type") == "array":
        return f"list of {_type(root, form['items'])}"
    if isinstance(form.get("additionalProperties"), dict):
        return f"{_type(root, form['additionalProperties'])} by name"
    if "properties" in form:
        return "section"
    names = {"integer": "whole number", "string": "text", "boolean": "true | false",
             "object": "mapping"}  # fmt: skip
    kind = form.get("type", "any value")
    return names.get(kind, kind)


def _bounds(root: JsonSchemaValue, field: Any) -> Iterator[str]:
    for form in _forms(root, field):
        yield from (words.format(form[key]) for key, words in _BOUNDS.items() if key in form)


def suggestion(model: type[BaseModel], place: Sequence[str | int]) -> str:
    """What an unknown key was meant to be, in words to follow `unknown key`.

    Args:
        model: What the file was read as.
        place: Where the key stands, as pydantic says it; the key is last.
    """
    schema = _known_schema(model)
    *path, last = place
    nodes = [schema]
    for part in path:
        nodes = [form for node in nodes for form in _inside(schema, node, part)]
    known = list(dict.fromkeys(name for node in nodes for name in node.get("properties", {})))
    if near := difflib.get_close_matches(str(last), known, n=1):
        return f"; did you mean {near[0]}?"
    names = [key.name for key in keys_of(schema) if key.name.endswith(f".{last}")]
    if not path and (elsewhere := [name for name in names if re.fullmatch(r"[a-z0-9_.]+", name)]):
        return f"; did you mean {' or '.join(elsewhere)}?"
    return f"; expected {', '.join(known)}" if 0 < len(known) <= MOST_NAMED else ""


def _inside(root: JsonSchemaValue, node: Any, part: str | int) -> list[dict[str, Any]]:
    """What a value's part may be: of a key, of an item, or the alternative that has this tag."""
    if part in node.get("properties", {}):
        return _forms(root, node["properties"][part])
    if any(field.get("const") == part for field in node.get("properties", {}).values()):
        return [node]
    inner = node.get("items" if isinstance(part, int) else "additionalProperties")
    return _forms(root, inner) if isinstance(inner, dict) else []
