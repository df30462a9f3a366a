"""What the charts of slices, of the baseline, of seeds' bands and of the alignment show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from orchestrator.config.dimensions import ChoiceDimension, FloatDimension
from orchestrator.reports.charts.alignment_figures import (
    gaps,
    health,
    retrieval,
    validation_curve,
)
from orchestrator.reports.charts.charts import Plot
from orchestrator.reports.charts.figures import charts_of, history
from orchestrator.reports.charts.scales import Axis, with_room
from orchestrator.reports.charts.slices import coordinate, dimension_axis, slices
from orchestrator.reports.content import Content
from orchestrator.reports.scores import score_table
from tests.orchestrator.fakes import sweep_config
from tests.orchestrator.reports.conftest import content, run
from tests.orchestrator.reports.test_page import Page


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """A confirmed sweep with a baseline that lies outside of its space."""
    space = sweep_config().model_dump()["space"]
    space["alignment.alpha"] = {"type": "float", "low": 0.5, "high": 1.0}
    weak = {"optimisation": {"epochs": 4, "learning_rate": 1e-5}}
    sweep = sweep_config(space=space, protocol={"first": [{}]}, experiment=weak)
    folder = tmp_path_factory.mktemp("compared")
    return content(run(folder, sweep))


def test_there_is_a_slice_for_each_dimension_from_the_first_trial_on(unfinished: Path) -> None:
    shown = content(unfinished)
    assert sum(trial.state == "done" for trial in shown.searched()) <= 2
    made = slices(shown)
    assert [plot.key for plot in made] == [f"slice_{key}" for key in shown.sweep.space]
    for plot, key in zip(made, shown.sweep.space, strict=True):
        points = {point for series in plot.series if series.mark for point in series.points}
        assert points == {(float(t.values[key] or 0), t.value) for t in shown.searched() if t.value
                          and t.state in ("done", "pruned")}  # fmt: skip


def test_pruned_trials_are_hollow_in_slices(finished: Path) -> None:
    looks = {series.name: series.mark for series in slices(content(finished))[0].series}
    assert looks == {"done": "circle", "pruned": "ring", "winner": "diamond"}


def test_the_baseline_is_a_line_wherever_trials_are_compared(compared: Content) -> None:
    first = next(trial for trial in compared.trials if trial.given)
    lines = [*slices(compared), history(compared)]
    for plot in lines:
        assert isinstance(plot, Plot)
        [line] = [one for one in plot.series if (one.name or "").startswith("defaults (")]
        assert line.points == [(plot.x.low, first.value), (plot.x.high, first.value)]
    alpha = next(plot for plot in slices(compared) if plot.key == "slice_alignment.alpha")
    assert alpha.x.low < 0.2 < 0.5  # as wide as what was tried beyond the bounds


def test_winner_and_baseline_stand_side_by_side(compared: Content) -> None:
    from orchestrator.reports.exports import configuration_table, trials_csv
    from orchestrator.reports.page import page_of

    table = configuration_table(compared)
    assert table is not None
    assert [row.key for row in table.rows[:2]] == ["winner", "baseline"]
    text = Page(page_of(compared, charts_of(compared)).decode()).text
    assert "winner − defaults = +0.00 (95% interval" in text
    seeds = next(chart for chart in charts_of(compared) if chart.key == "seeds")
    assert isinstance(seeds, Plot)
    assert {"defaults, test", "winner, test"} <= set(seeds.y.names)
    assert trials_csv(compared).decode().count(",confirm,") == 4


def test_the_validation_curve_is_mean_and_deviation_over_the_seeds(finished: Path) -> None:
    shown = content(finished)
    plot = validation_curve(shown)
    assert plot is not None
    [curve] = plot.series
    at_two = [trial.scores[1] for trial in shown.reported]
    assert curve.points[1] == (2.0, pytest.approx(fmean(at_two)))
    low, high = curve.band[1]
    assert high - low == pytest.approx(2 * stdev(at_two))


def aligned(shown: Content, *gaps_by_seed: tuple[float, ...]) -> Content:
    cells = dict(zip([t.cell for t in shown.reported], gaps_by_seed, strict=True))
    trials = [
        replace(trial, alignment={
            "alignment_gap_context_image": cells[trial.cell],
            "alignment_gap_context_text_joint": (0.8,) * len(cells[trial.cell]),
            "alignment_r1_context_of_image": (50.0,) * len(cells[trial.cell]),
        }) if trial.cell in cells else trial
        for trial in shown.trials
    ]  # fmt: skip
    return replace(shown, trials=tuple(trials))


def test_the_alignments_health_is_drawn_and_said(finished: Path) -> None:
    shown = aligned(content(finished), (0.0, 0.2), (0.0, 0.4), (0.01, 0.02))
    plot = gaps(shown)
    assert plot is not None
    image, text, limit = plot.series
    assert image.points == [(1.0, pytest.approx(0.01 / 3)), (2.0, pytest.approx(0.62 / 3))]
    assert text.name == "context text (one pass)"
    assert {y for _, y in limit.points} == {0.05}
    assert health(shown) == (
        "Context and image: collapsed (true pairs look like any other) in 1 of 3 seeds, are "
        "aligned in 2 of 3 seeds. Context and text: agree trivially (one pass reads both) in 3 of "
        "3 seeds."
    )
    found = retrieval(shown)
    assert found is not None
    assert found.series[0].points == [(1.0, 50.0), (2.0, 50.0)]


def test_without_alignment_there_is_no_picture_of_it(finished: Path) -> None:
    assert gaps(content(finished)) is None
    assert retrieval(content(finished)) is None


def test_scores_by_type_are_means_over_the_seeds(finished: Path) -> None:
    shown = content(finished)
    scores = {
        seed: {"f1": 90.0 + seed, "precision": 80.0, "recall": 70.0, "f1_PER": 50.0 + seed,
               "precision_PER": 40.0, "recall_PER": 30.0, "strict_f1": 1.0}
        for seed in (11, 12, 13)
    }  # fmt: skip
    del scores[13]["f1_PER"]
    table = score_table(replace(shown, scores={"test": scores, "valid": {}}))
    assert table is not None
    assert [(row.group, row.title) for row in table.rows] == [
        ("entities, as the field counts them", "all"),
        ("entities, as the field counts them", "PER"),
        ("entities, strictly", "all"),
    ]
    whole, person, _ = table.rows
    assert (whole.cells["f1"].mean, whole.cells["f1"].std) == (102.0, 1.0)
    assert (person.cells["f1"].mean, set(person.cells["f1"].missing)) == (61.5, {13})
    assert person.cells["recall"].mean == 30.0


@pytest.mark.parametrize("strict", [50.0, 40.0])
def test_strict_scores_by_type_stand_where_they_differ(finished: Path, strict: float) -> None:
    scores = {
        seed: {"f1": 90.0, "f1_PER": 50.0, "strict_f1": 80.0, "strict_f1_PER": 50.0}
        for seed in (11, 12, 13)
    }
    scores[12]["strict_f1_PER"] = strict
    table = score_table(replace(content(finished), scores={"test": scores, "valid": {}}))
    assert table is not None
    is_same = strict == 50.0
    assert [row.title for row in table.rows] == ["all", "PER", "all"] + ["PER"] * (not is_same)
    assert ("Strict scores by type are the same." in table.notes[0]) == is_same


def test_an_axis_holds_what_lies_beyond_its_dimension() -> None:
    numbers = FloatDimension(type="float", low=1e-3, high=1e-1, log=True)
    axis = dimension_axis("lr", numbers, [1e-4, 1e-2])
    assert (axis.low, axis.high, axis.log) == (1e-4, 1e-1, True)
    choice = ChoiceDimension(type="choice", values=("a", "b"))
    names = dimension_axis("x", choice, ["c", "a"])
    assert names.names == ("a", "b", "c")
    assert coordinate(names, "c") == 2.0
    wider = with_room(Axis("lr", 1.0, 100.0, log=True), 0.5)
    assert (wider.low, wider.high) == (pytest.approx(0.1), pytest.approx(1000.0))
