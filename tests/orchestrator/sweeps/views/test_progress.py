from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.sweeps.record.trial_view import TrialStatus, TrialView
from orchestrator.sweeps.views.estimate import TimeLeft, time_left
from orchestrator.sweeps.views.progress import PlainLines, render, showing, tracking_line
from orchestrator.sweeps.views.snapshot import SweepView
from orchestrator.tracking.state import TrackingState
from shapca.commands.display.training_display import duration

PLANNED = (("search", 4), ("shortlist", 2), ("confirm", 3))


def a_trial(number: int, status: TrialStatus = "finished", **changes: object) -> TrialView:
    trial = TrialView(
        number=number, phase="search", entry=number, seed=1, configuration="c", cell="k", at=0.0,
        values={"optimisation.learning_rate": number * 1e-4}, epochs=10, status=status, epoch=10,
        value=50.0 + number, seconds=20.0,
    )  # fmt: skip
    return replace(trial, **changes)  # type: ignore[arg-type]


def a_view(*ended: TrialView, running: tuple[TrialView, ...] = (), **changes: object) -> SweepView:
    view = SweepView("demo", "search", PLANNED, running, ended, 1, 1000.0, 1060.0)
    return replace(view, **changes)  # type: ignore[arg-type]


def test_the_best_is_of_trials_that_count() -> None:
    ended = (a_trial(1), a_trial(2, "diverged", value=99.0), a_trial(3, value=None))
    best = a_view(*ended, running=(a_trial(4, "running", value=53.5),)).best
    assert best is not None
    assert best.number == 4
    assert a_view().best is None


def test_time_left_is_not_told_before_anything_is_known() -> None:
    assert time_left(a_view()) is None
    assert time_left(a_view(a_trial(1, found=True), a_trial(2, epoch=0, seconds=3.0))) is None


def test_time_left_by_hand_with_one_slot() -> None:
    # Two seconds an epoch. Search: #1 took 20 s, #2 was pruned after 3 epochs (6 s): 13 s each on
    # average. #3 has run 4 s of them; #4 is to come. The later phases have shown nothing yet: 5
    # trials of 10 epochs.
    pruned = a_trial(2, "pruned", epoch=3, seconds=6.0)
    running = a_trial(3, "running", epoch=2, seconds=4.0)
    left = time_left(a_view(a_trial(1), pruned, running=(running,)))
    assert left == TimeLeft(
        expected=pytest.approx((13 - 4) + 13 + 5 * 20),  # type: ignore[arg-type]
        at_most=pytest.approx(8 * 2 + 20 + 5 * 20),  # type: ignore[arg-type]
    )


def test_an_epoch_under_way_shortens_what_is_left() -> None:
    # 10 epochs of 2 s: 3 are done, 1.5 s of the fourth have passed.
    running = a_trial(1, "running", epoch=3, seconds=7.5, epoch_seconds=6.0)
    left = time_left(a_view(running=(running,), planned=(("search", 1),)))
    assert left == TimeLeft(expected=pytest.approx(12.5), at_most=pytest.approx(12.5))  # type: ignore[arg-type]


def test_replicated_cells_are_not_trained_again_to_be_tested() -> None:
    view = a_view(a_trial(1, phase="replicate"), planned=(("replicate", 2), ("confirm", 2)))
    left = time_left(view)
    assert left is not None
    assert left.at_most == pytest.approx(20)


def test_time_left_with_slots_is_shared_but_never_below_the_longest_trial() -> None:
    ended = tuple(a_trial(number) for number in range(1, 5))
    left = time_left(a_view(*ended, slots=2))
    # The shortlist's two trials run side by side (20 s), the confirmation's three share two slots.
    assert left is not None
    assert left.expected == pytest.approx(20 + 30)
    wide = time_left(a_view(*ended, slots=100))
    assert wide is not None
    assert wide.expected == pytest.approx(20 + 20)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (99, "1 min 39 s"),
        (180, "3 min 00 s"),
        (5970, "1 h 39 min"),
        (4800, "1 h 20 min"),
    ],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_plain_lines_tell_each_event_once() -> None:
    lines = PlainLines()
    begin = lines.lines(a_view(now=1000.0))
    assert len(begin) == 1
    assert begin[0].endswith("demo search: 4 of 4 trials to do")
    assert lines.lines(a_view(now=1001.0)) == []
    failed = a_trial(2, "failed", value=None, epoch=0, reason="out of memory")
    told = lines.lines(a_view(a_trial(1), failed, now=1002.0))
    assert [line.partition(" demo ")[2] for line in told] == [
        "1/9 search #1 lr=1e-4 · seed 1 finished, val F1 51.00, 10 epochs in 20 s",
        "2/9 search #2 lr=2e-4 · seed 1 failed: out of memory, 0 epochs in 20 s",
    ]
    assert lines.lines(a_view(a_trial(1), failed, now=1003.0)) == []
    assert "trials ended" in lines.lines(a_view(a_trial(1), failed, now=1070.0))[0]


def test_plain_lines_do_not_flood() -> None:
    reused = tuple(a_trial(number, found=True) for number in range(1, 2001))
    told = PlainLines().lines(a_view(*reused, a_trial(2001)))
    assert len(told) == 2
    assert "2,000 trials found finished in the storage" in told[0]


def test_plain_lines_tell_of_an_outage_and_its_end_once() -> None:
    lines = PlainLines()
    lines.lines(a_view())
    behind = a_view(tracking=TrackingState("behind", "http://h", 3, "refused"))
    assert "behind by 3 runs (refused)" in lines.lines(behind)[0]
    assert lines.lines(replace(behind, now=1061.0)) == []
    assert "answers again" in lines.lines(a_view(tracking=TrackingState("current")))[0]


def test_every_state_of_tracking_has_words() -> None:
    for status in ("off", "starting", "current", "publishing", "behind"):
        assert tracking_line(TrackingState(status, pending=1)).startswith("MLflow")


def test_the_live_view_shows_what_matters() -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    running = a_trial(3, "running", epoch=2, seconds=4.0, values={"text.encoder": "[odd]"})
    view = a_view(a_trial(1), a_trial(2, "pruned"), running=(running,), message="budget reached")
    console.print(render(view))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("demo", "search 2/4", "confirm 0/3", "2/9", "1 running", "1 pruned", "53.00",
                 "text encoder=[odd] · seed 1", "2/10", "budget reached", "left"):  # fmt: skip
        assert part in text


def test_the_live_view_stays_small_with_many_trials() -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    running = tuple(a_trial(number, "running") for number in range(1, 101))
    ended = tuple(a_trial(n, "failed", reason="out of memory " * 9) for n in range(101, 1101))
    console.print(render(a_view(*ended, running=running, planned=(("search", 5000),))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("\n") < 30
    assert "and 88 more" in text
    assert "failed: out of memory" in text


def test_progress_prints_lines_where_there_is_no_terminal_and_redraws_where_there_is() -> None:
    plain = Console(file=io.StringIO(), force_terminal=False)
    with showing(plain) as show:
        show(a_view(a_trial(1, values={"text.encoder": "a very long name " * 20})))
    assert plain.file.getvalue().count("\n") == 2  # type: ignore[attr-defined]
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    with showing(terminal) as show:
        show(a_view(a_trial(1)))
        show(a_view(a_trial(1), a_trial(2)))
    assert "lr=2e-4" in terminal.file.getvalue()  # type: ignore[attr-defined]
