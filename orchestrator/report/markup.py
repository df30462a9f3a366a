"""HTML and SVG that nothing can be injected into: elements are built, and text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "meta", "circle", "line", "path", "rect", "polyline", "col"})


@dataclass(frozen=True)
class Html:
    """Markup, as opposed to text.

    Attributes:
        text: well-formed HTML.
    """

    text: str


Child: TypeAlias = "Html | str | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element.

    Args:
        name: of the element.
        *children: markup as it is, text escaped, iterables flattened, None left out.
        **attributes: by name; `class_` becomes `class` and `data_value` `data-value`. None and
            False leave an attribute out, True gives one without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(shown if value is True else f'{shown}="{escape(_text(value))}"')
    opening = " ".join(parts)
    if name in _VOID:
        return Html(f"<{opening}/>")  # as HTML and as XML alike
    return Html(f"<{opening}>{join(children).text}</{name}>")


def join(children: Child) -> Html:
    """Children side by side."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(escape(children, quote=False))
    return Html("".join(join(child).text for child in children))


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
