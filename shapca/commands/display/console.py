"""A console for people that shows names as they are written: no markup, no control characters.

Names of types, data sets and settings come from files of others. What a terminal takes for a
command, or rich for markup, is shown, not obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from shapca.words import visible


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr."""
    console = Console(stderr=stderr, markup=False, emoji=False)
    console.push_render_hook(_VisibleText())
    return console


class _VisibleText(RenderHook):
    def process_renderables(
        self, renderables: Sequence[ConsoleRenderable]
    ) -> list[ConsoleRenderable]:
        return [_Visible(renderable) for renderable in renderables]


class _Visible:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            if segment.control:  # rich's own, which moves the cursor
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
