"""Label maps as a user gives them: pairs, or a YAML file of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapca.commands.evaluate import parse_label_map
from shapca.config import read_yaml
from shapca.errors import InputError


def read_label_map(items: Sequence[str]) -> dict[str, str]:
    """The model's types to those of another data set.

    Args:
        items: `A=B` pairs and files that hold `A: B` lines; later ones win.

    Raises:
        InputError: a file that is missing or holds something else, or a pair without `=`.
    """
    names: dict[str, str] = {}
    for item in items:
        if Path(item).suffix not in (".yaml", ".yml"):
            names |= parse_label_map([item])
            continue
        for of_model, of_data in read_yaml(item).items():
            if not isinstance(of_model, str) or not isinstance(of_data, str):
                raise InputError(
                    f"{item}: {of_model}: expected MODEL_TYPE: DATA_TYPE, both text, "
                    f"got {of_data!r}"
                )
            names[of_model] = of_data
    return names
