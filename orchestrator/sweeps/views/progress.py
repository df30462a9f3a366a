"""The view of a running sweep: live on a terminal, plain lines anywhere else; both on stderr."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.sweeps.record.trial_view import TrialView
from orchestrator.sweeps.views.estimate import time_left
from orchestrator.sweeps.views.snapshot import SweepView
from orchestrator.tracking.state import TrackingState
from shapca.commands.display.training_display import duration
from shapca.words import counted

_SECONDS_BETWEEN_SIGNS_OF_LIFE = 60.0
_MOST_LINES_OF_REUSED = 5
_NUM_ENDED_SHOWN = 5
_NUM_RUNNING_SHOWN = 12
_STYLES = {"finished": "green", "pruned": "yellow", "failed": "red", "diverged": "red"}


@contextmanager
def showing(console: Console | None = None) -> Iterator[Callable[[SweepView], None]]:
    """Shows snapshots of a sweep; afterwards a terminal is as it was.

    A view that cannot be written is given up: the sweep goes on without.

    Args:
        console: Where to; None: stderr.

    Yields:
        What is called with each newer snapshot.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda view: live.update(render(view), refresh=True)
        return
    plain = PlainLines()

    def show(view: SweepView) -> None:
        with contextlib.suppress(OSError):
            for line in plain.lines(view):
                console.print(line, soft_wrap=True, markup=False, highlight=False)

    yield show


class PlainLines:
    """Turns snapshots into lines, one per event, for output that is no terminal."""

    def __init__(self) -> None:
        self._num_shown = 0
        self._phase: str | None = None
        self._message: str | None = None
        self._is_behind = False
        self._last_line_at: float | None = None

    def lines(self, view: SweepView) -> list[str]:
        """What has happened since the last snapshot; a sign of life once a minute."""
        lines = []
        if view.phase != self._phase:
            self._phase = view.phase
            done, planned = _phase_counts(view).get(view.phase, (0, 0))
            if planned > done:
                lines.append(f"{view.phase}: {planned - done} of {planned} trials to do")
        lines += self._ended_lines(view)
        if view.message != self._message:
            self._message = view.message
            lines += [view.message] if view.message else []
        is_behind = view.tracking.status == "behind"
        if is_behind != self._is_behind:
            self._is_behind = is_behind
            lines.append(tracking_line(view.tracking) if is_behind else "MLflow answers again")
        last = view.started_at if self._last_line_at is None else self._last_line_at
        if not lines and view.now - last >= _SECONDS_BETWEEN_SIGNS_OF_LIFE:
            lines.append(f"{_running_words(view)}; {_time_words(view)}")
        if lines:
            self._last_line_at = view.now
        clock = time.strftime("%H:%M:%S", time.localtime(view.now))
        return [f"{clock} {view.sweep} {line}" for line in lines]

    def _ended_lines(self, view: SweepView) -> list[str]:
        new = view.ended[self._num_shown :]
        first = self._num_shown + 1
        self._num_shown = len(view.ended)
        num_reused = sum(trial.found for trial in new)
        fold = num_reused > _MOST_LINES_OF_REUSED
        lines = [f"{counted(num_reused, 'trial')} found finished in the storage"] if fold else []
        return lines + [
            f"{number}/{view.total} {_ended_words(trial)}"
            for number, trial in enumerate(new, start=first)
            if not (fold and trial.found)
        ]


def render(view: SweepView) -> RenderableType:
    """The live view."""
    parts: list[RenderableType] = [_headline(view), _bar(view), _facts(view)]
    if view.running:
        parts.append(_running_table(view))
    if view.ended:
        parts.append(_ended_table(view))
    return Group(*parts)


def tracking_line(state: TrackingState) -> str:
    """How far MLflow follows, in words."""
    reason = f" ({state.error})" if state.error else ""
    runs = counted(state.pending, "run")
    return {
        "off": "MLflow: off",
        "starting": "MLflow: connecting",
        "current": "MLflow: up to date",
        "publishing": f"MLflow: {runs} on the way",
        "behind": f"MLflow: behind by {runs}{reason}; training continues, "
        "`orchestrator sync` catches up",
    }[state.status]


def _phase_counts(view: SweepView) -> dict[str, tuple[int, int]]:
    """Trials done and planned of each phase."""
    ended = Counter[str](trial.phase for trial in view.ended)
    return {phase: (ended[phase], planned) for phase, planned in view.planned}


def _headline(view: SweepView) -> Text:
    text = Text.assemble((view.sweep, "bold"))
    for phase, (done, planned) in _phase_counts(view).items():
        style = "bold cyan" if phase == view.phase else "dim"
        text.append("  ·  ", style="dim").append(f"{phase} {done}/{planned}", style=style)
    return text


def _bar(view: SweepView) -> Table:
    done = len(view.ended)
    counts = [f"{len(view.running)} running"]
    for status, word in (("finished", "done"), ("pruned", "pruned"), ("diverged", "diverged")):
        if number := view.count(status):  # type: ignore[arg-type]
            counts.append(f"{number} {word}")
    if failed := view.count("failed"):
        counts.append(f"[red]{failed} failed[/red]")
    if reused := sum(trial.found for trial in view.ended):
        counts.append(f"{reused} from the storage")
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(view.total, done, 1), completed=done, width=30)
    grid.add_row(bar, f"{done}/{view.total}", " · ".join(counts))
    return grid


def _facts(view: SweepView) -> Table:
    grid = Table.grid(padding=(0, 2))
    best = view.best
    if best is not None:
        grid.add_row("best", Text.assemble((f"{best.value:.2f}", "bold"), f"  {best.name}"))
    grid.add_row("time", Text(_time_words(view)))
    style = "red" if view.tracking.status == "behind" else ""
    grid.add_row("", Text(tracking_line(view.tracking), style=style))
    if view.message:
        grid.add_row("", Text(view.message, style="yellow"))
    return grid


def _running_table(view: SweepView) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("#", "running", "epoch", "val F1", "time"):
        table.add_column(column, justify="left" if column == "running" else "right", no_wrap=True)
    for trial in view.running[:_NUM_RUNNING_SHOWN]:
        table.add_row(
            str(trial.entry),
            Text(trial.name),
            f"{trial.epoch}/{trial.epochs}",
            _score(trial),
            duration(trial.seconds),
        )
    if (hidden := len(view.running) - _NUM_RUNNING_SHOWN) > 0:
        table.add_row("", Text(f"and {hidden} more", style="dim"))
    return table


def _ended_table(view: SweepView) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("#", "ended", "", "epochs", "val F1"):
        justify: JustifyMethod = "left" if column in ("ended", "") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for trial in view.ended[-_NUM_ENDED_SHOWN:]:
        table.add_row(
            str(trial.entry),
            Text(trial.name),
            Text(_verdict(trial), style=_STYLES[trial.status]),
            str(trial.epoch),
            _score(trial),
        )
    return table


def _verdict(trial: TrialView) -> str:
    """How a trial ended, with the beginning of the reason if it failed."""
    if trial.reason is None:
        return trial.status
    reason = trial.reason if len(trial.reason) <= 60 else trial.reason[:59] + "…"
    return f"{trial.status}: {reason}"


def _ended_words(trial: TrialView) -> str:
    words = f"{trial.phase} #{trial.entry} {trial.name} {trial.status}"
    if trial.reason is not None:
        words += f": {trial.reason}"
    if trial.value is not None:
        words += f", val F1 {trial.value:.2f}"
    if trial.found:
        return f"{words} (found in the storage)"
    return f"{words}, {counted(trial.epoch, 'epoch')} in {duration(trial.seconds)}"


def _running_words(view: SweepView) -> str:
    words = f"{len(view.ended)}/{view.total} trials ended, {len(view.running)} running"
    if view.running:
        words += f" (epoch {', '.join(f'{t.epoch}/{t.epochs}' for t in view.running[:4])})"
    return words


def _time_words(view: SweepView) -> str:
    gone = f"{duration(view.now - view.started_at)} elapsed"
    left = time_left(view)
    if left is None:
        return f"{gone}, time left to be known after the first epochs"
    words = f"{gone}, about {duration(left.expected)} left"
    if left.at_most > 1.2 * left.expected:
        words += f" (at most {duration(left.at_most)})"
    return words


def _score(trial: TrialView) -> str:
    return "" if trial.value is None else f"{trial.value:.2f}"
