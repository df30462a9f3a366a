"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`, so that importing it imports nothing heavy.

    Args:
        package: The package's name.
        places: Names that it hands on, each with its module as a relative import: `.run`.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(places[name], package)
        return module if places[name] == f".{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted(places)

    return get, names
