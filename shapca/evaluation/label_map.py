"""From a model's label sets to those of another data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shapca.config import read_yaml
from shapca.data.schema import NONE, Labels, Prediction
from shapca.errors import InputError


def complete_label_map(model: Labels, data: Labels, label_map: Mapping[str, str]) -> dict[str, str]:
    """Fill a label map up with the names that both sides share, and check that it covers both.

    Args:
        model: Label sets that the model tells apart.
        data: Label sets of the data that it is scored on.
        label_map: The model's types to the data's, as far as their names differ.

    Returns:
        The differing names alone: every type that is not in it maps to itself.

    Raises:
        InputError: another task, a name that is no label, or a label of either side without a
            counterpart.
    """
    if model.task != data.task:
        raise InputError(f"the model is one for {model.task}, the data set one for {data.task}")
    sides = (
        ("entity type", model.entity_types, data.entity_types),
        ("relation type", model.relation_types, data.relation_types),
    )
    known = {*model.entity_types, *model.relation_types}
    if unknown := sorted(label_map.keys() - known):
        raise InputError(
            f"label map: the model has no label {unknown[0]!r}; it has {_listed(known)}"
        )
    for kind, of_model, of_data in sides:
        mapped = {name: label_map.get(name, name) for name in of_model}
        for name, counterpart in mapped.items():
            if counterpart not in of_data:
                raise InputError(
                    f"the model's {kind} {name!r} has no counterpart in the data set, which has "
                    f"{_listed(of_data)}; give a label map"
                )
        if missing := sorted(set(of_data) - set(mapped.values())):
            raise InputError(
                f"the data set's {kind} {missing[0]!r} has no counterpart in the model, which has "
                f"{_listed(of_model)}; give a label map"
            )
    return {name: other for name, other in sorted(label_map.items()) if name != other}


def rename_types(prediction: Prediction, label_map: Mapping[str, str]) -> Prediction:
    """A prediction in the words of another data set."""
    if not label_map:
        return prediction
    tags = prediction.tags
    return Prediction(
        tags=None if tags is None else tuple(_rename_tag(tag, label_map) for tag in tags),
        entities=tuple(
            entity._replace(type=None if entity.type is None else _renamed(entity.type, label_map))
            for entity in prediction.entities
        ),
        relations=tuple(
            relation._replace(type=_renamed(relation.type, label_map))
            for relation in prediction.relations
        ),
    )


def _renamed(name: str, label_map: Mapping[str, str]) -> str:
    return name if name == NONE else label_map.get(name, name)


def _rename_tag(tag: str, label_map: Mapping[str, str]) -> str:
    prefix, dash, kind = tag.partition("-")
    return prefix + dash + label_map.get(kind, kind) if dash else tag


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def read_label_map(items: Sequence[str]) -> dict[str, str]:
    """The model's types to those of another data set.

    Args:
        items: `A=B` pairs and YAML files that hold `A: B` lines; later ones win.

    Raises:
        InputError: a file that is missing or holds something else, or a pair without `=`.
    """
    names: dict[str, str] = {}
    for item in items:
        if Path(item).suffix in (".yaml", ".yml"):
            names |= _read_file(item)
            continue
        of_model, equals, of_data = item.partition("=")
        if not (equals and of_model and of_data):
            raise InputError(
                f"--label-map {item}: expected MODEL_TYPE=DATA_TYPE, e.g. OTHER=MISC, or the name "
                "of a YAML file"
            )
        names[of_model] = of_data
    return names


def _read_file(file: str) -> dict[str, str]:
    names = read_yaml(file)
    for of_model, of_data in names.items():
        if not isinstance(of_model, str) or not isinstance(of_data, str):
            raise InputError(
                f"{file}: {of_model}: expected MODEL_TYPE: DATA_TYPE, both text, got {of_data!r}"
            )
    return names
