"""What a user sees while a run trains: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from shapca.commands.display.console import open_console
from shapca.commands.display.messages import shown_messages

if TYPE_CHECKING:
    from shapca.runs.epochs import EpochRecord
    from shapca.training import StepProgress

SECONDS_BETWEEN_LINES = 20.0


class TrainingDisplay:
    """Shows batches and epochs as they are done; everything goes to stderr.

    Args:
        num_epochs: Epochs at most.
        console: Where to write; None: stderr.
    """

    def __init__(self, num_epochs: int, console: Console | None = None) -> None:
        self._num_epochs = num_epochs
        self._console = console or open_console(stderr=True)
        self._epoch_seconds: list[float] = []
        self._last_line = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("at most"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._shown = ExitStack()
        self._task = self._progress.add_task("starting", total=None, rate="")

    def __enter__(self) -> Self:
        self._shown.enter_context(self._progress)
        self._shown.enter_context(shown_messages(self.say))
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_step(self, step: StepProgress) -> None:
        """Show a batch that is done."""
        rate = f"{step.examples_per_second:,.1f} posts/s"
        if self._console.is_terminal:
            self._progress.update(
                self._task,
                description=f"epoch {step.epoch} of {self._num_epochs}",
                total=self._num_epochs * step.num_batches,
                completed=(step.epoch - 1) * step.num_batches + step.batch,
                rate=rate,
            )
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = (step.num_batches - step.batch) * step.seconds / step.batch
            self.say(
                f"epoch {step.epoch} of {self._num_epochs}: batch {step.batch} of "
                f"{step.num_batches}, {rate}, {left:.0f} s left"
            )

    def on_epoch(self, record: EpochRecord) -> None:
        """Show an epoch that is committed."""
        self._epoch_seconds.append(record.seconds)
        self._last_line = time.monotonic()
        metrics = record.metrics
        mean = sum(self._epoch_seconds) / len(self._epoch_seconds)
        left = (self._num_epochs - record.epoch) * mean
        self.say(
            f"epoch {record.epoch} of {self._num_epochs}: loss {metrics['train/loss']:.4f}, "
            f"val F1 {metrics['val/f1']:.2f}{' (best)' if record.is_best else ''}, "
            f"{metrics['train/samples_per_second']:,.1f} posts/s, {record.seconds:.1f} s, "
            f"at most {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """A duration as people write it, e.g. `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
