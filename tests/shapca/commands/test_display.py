"""What is shown while a run trains, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from shapca.commands.display import training_display
from shapca.commands.display.training_display import TrainingDisplay, duration
from shapca.runs.epochs import EpochRecord
from shapca.training import StepProgress

RECORD = EpochRecord(
    epoch=2,
    metrics={"train/loss": 1.25, "val/f1": 71.5, "train/samples_per_second": 40.0},
    is_best=True,
    seconds=90.0,
    finished_at=0.0,
)


def show(terminal: bool) -> str:
    file = io.StringIO()
    with TrainingDisplay(4, Console(file=file, force_terminal=terminal, width=100)) as display:
        display.on_step(StepProgress(2, 5, 10, examples_per_second=40.0, seconds=30.0))
        display.on_epoch(RECORD)
        logging.getLogger("shapca.model.inputs").info("train: 3 posts, of which 1 cut texts")
        logging.getLogger("shapca.training.learning").warning("[mind] this")
    logging.getLogger("shapca").info("after the end")
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_epochs_and_messages_are_lines(terminal: bool) -> None:
    shown = show(terminal)
    assert (
        "epoch 2 of 4: loss 1.2500, val F1 71.50 (best), 40.0 posts/s, 90.0 s, "
        "at most 3 min 00 s left"
    ) in shown
    assert "train: 3 posts, of which 1 cut texts" in shown
    assert "warning: [mind] this" in shown
    assert "after the end" not in shown


def test_batches_are_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "batch" not in show(terminal=False)
    monkeypatch.setattr(training_display, "SECONDS_BETWEEN_LINES", -1.0)
    assert "epoch 2 of 4: batch 5 of 10, 40.0 posts/s, 30 s left" in show(terminal=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7_500, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
