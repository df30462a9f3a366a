"""What is shown while a run trains, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.table import Table

from shapca.cli import app, run_application
from shapca.commands.display import training_display
from shapca.commands.display.console import open_console
from shapca.commands.display.tables import score_table
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


def test_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    table = Table("[red]type[/red]")
    table.add_row("PER\x1b]0;title\x07[/x]")
    console.print(table)
    console.print("a\rb [bold] :smile:\tc", soft_wrap=True)
    shown = capsys.readouterr().out
    assert "[red]type[/red]" in shown
    assert r"PER\x1b]0;title[/x]" in shown  # rich itself drops the bell and the carriage return
    assert "ab [bold] :smile:" in shown
    assert "\x1b" not in shown


def test_a_message_obeys_nothing_in_the_name_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["evaluate", "no\x1b[2Jrun", "--data", "x", "--split", "test"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "\x1b" not in said


@pytest.mark.parametrize("strict", [80.0, 70.0])
def test_strict_scores_by_type_stand_where_they_differ(strict: float) -> None:
    plain = {"f1": 80.0, "precision": 80.0, "recall": 80.0, "f1_PER": 80.0}
    scores = {"valid": {**plain, "strict_f1": 80.0, "strict_f1_PER": 80.0}}
    scores["test"] = {**plain, "strict_f1": 80.0, "strict_f1_PER": strict}
    console = Console(file=(file := io.StringIO()), width=100)
    console.print(score_table(scores))
    first = [line.split("  ")[0] for line in file.getvalue().splitlines()[4:]]
    last = "strict_f1_PER" if strict == 70.0 else "strict_… by type: the same"
    assert first == ["f1_PER", "strict_f1", last]
