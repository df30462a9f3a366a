"""What sections of a configuration are made of: immutable parts, numbers and names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: Any) -> Any:
    """Mend what PyYAML leaves a string: it reads `1e-6` as text because the dot is missing."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What names of sweeps, data sets and context sets look like: file names, never paths."""

Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A part of the tree: immutable, and no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
