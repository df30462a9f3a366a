"""HTML that nothing can be injected into: elements are built, and text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "meta"})


@dataclass(frozen=True)
class Html:
    """Markup, as opposed to text.

    Attributes:
        text: Well-formed HTML.
    """

    text: str


Child: TypeAlias = "Html | str | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element.

    Args:
        name: Of the element.
        *children: Markup as it is, text escaped, iterables flattened, None left out.
        **attributes: By name; `class_` becomes `class` and `data_value` `data-value`. None and
            False leave an attribute out, True gives one without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(shown if value is True else f'{shown}="{escape(str(value))}"')
    opening = " ".join(parts)
    if name in _VOID:
        return Html(f"<{opening}>")
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


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        shown: What is written.
        value: What it sorts by; None: what is written.
        class_: Its looks; `n` is a number.
    """

    shown: Child
    value: float | str | None = None
    class_: str | None = None


def number(value: float | None, digits: int = 2, unit: str = "") -> Cell:
    """A number, or nothing."""
    if value is None:
        return Cell("–", "", "n")
    return Cell(f"{value:.{digits}f}{unit}", repr(float(value)), "n")


def table(
    headings: Sequence[tuple[str, str | None]],
    rows: Sequence[Sequence[Cell]],
    *,
    best: Sequence[int] = (),
    sortable: bool = True,
) -> Html:
    """A table that scrolls sideways where it is too wide.

    Args:
        headings: Each with its class.
        rows: Cells from left to right.
        best: Places of the rows to be set off.
        sortable: Whether a click on a heading sorts.
    """
    head = [
        element(
            "th", element("button", text) if sortable and text else text, class_=class_, scope="col"
        )
        for text, class_ in headings
    ]
    lines = [
        element(
            "tr",
            [element("td", c.shown, class_=c.class_, data_value=c.value) for c in row],
            class_="best" if place in best else None,
        )
        for place, row in enumerate(rows)
    ]
    return element(
        "div",
        element("table", element("thead", element("tr", head)), element("tbody", lines)),
        class_="scroll",
        tabindex=0,
    )


def state_chip(state: str, text: str | None = None) -> Html:
    """A state with its sign."""
    return element("span", text or state, class_=f"state {'na' if state == 'n/a' else state}")


def fact_list(facts: Sequence[tuple[str, Child]]) -> Html:
    """Names with what they say."""
    return element(
        "dl", [[element("dt", name), element("dd", text)] for name, text in facts], class_="facts"
    )
