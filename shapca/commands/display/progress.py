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
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int], None]
_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_report() -> Iterator[Report]:
    """A callable `(what, done, total)` that shows rate and time left until the block ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, tuple[TaskID, float, int]] = {}
    printed: dict[str, float] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def report(what: str, done: int, total: int) -> None:
            now = time.monotonic()
            if what not in tasks:  # what an earlier run had done counts for no rate
                task = bars.add_task(what, total=total, completed=done - 1, rate="")
                tasks[what] = task, now, done - 1
            task, began, at_first = tasks[what]
            rate = (done - at_first) / max(now - began, 1e-3)
            bars.update(task, completed=done, total=total, rate=f"{rate:,.0f}/s")
            last = printed.setdefault(what, now)
            if bars.disable and (done >= total or now - last >= _SECONDS_BETWEEN_LINES):
                printed[what] = now
                left = (total - done) / rate
                line = f"{what}: {done:,} of {total:,}, {rate:,.0f}/s, {left:.0f} s left"
                print(line, file=sys.stderr, flush=True)

        yield report
