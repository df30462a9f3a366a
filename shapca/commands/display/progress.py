"""Progress of long work: a live bar on a terminal, plain lines anywhere else. Both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Report = Callable[[str, int, int], None]
_SECONDS_BETWEEN_LINES = 5.0


class _RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """The cell of one task."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def progress_report() -> Iterator[Report]:
    """A callable `(what, done, total)` that shows rate and time left until the block ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:  # what an earlier run had done counts for no rate
                tasks[what] = bars.add_task(what, total=total, completed=done - 1)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def _plain_lines() -> Report:
    started: dict[str, tuple[float, int]] = {}
    printed: dict[str, float] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        began, at_first = started.setdefault(what, (now, done - 1))
        last = printed.setdefault(what, now)
        if done < total and now - last < _SECONDS_BETWEEN_LINES:
            return
        printed[what] = now
        rate = (done - at_first) / max(now - began, 1e-3)
        left = (total - done) / rate
        print(
            f"{what}: {done:,} of {total:,}, {rate:,.0f}/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    return report
