"""The page of a report: what it says, that it stands alone, and that nothing can be injected."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.page import page_of
from shapca.storage import FolderStore
from tests.orchestrator.fakes import sweep_config
from tests.orchestrator.reports.conftest import NASTY, content, run

_VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """The page's elements; fails where one is closed that was not opened last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = 0
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@cache
def page(folder: Path, **options: str) -> Page:
    shown = content(folder, **options)
    return Page(page_of(shown, charts_of(shown)).decode())


def test_the_page_shows_winner_seeds_and_the_commands(finished: Path) -> None:
    shown = content(finished)
    winner = shown.winner
    assert winner is not None
    assert winner.test_mean is not None
    assert winner.test_std is not None
    text = page(finished).text
    assert f"{winner.test_mean:.2f} ± {winner.test_std:.2f} %" in text
    assert "mean ± sample standard deviation over seeds 11, 12, 13" in text
    assert "shapca train winner.yaml --data-root data --seed 11 --test" in text
    assert f"orchestrator sweep sweep.yaml --data-root data --storage {finished}" in text
    for title in (
        "Optimisation history", "Parallel coordinates", "Hyper-parameter importance",
        "Expected validation performance", "Seeds", "Validation against test", "Learning curves",
        "Cost", "Failures and pruned trials", "Slice: lr", "Slice: α", "Validation curve",
        "Error analysis", "Scores by type", "Data, code and versions",
    ):  # fmt: skip
        assert title in text


def test_every_configuration_has_a_row(finished: Path) -> None:
    shown = content(finished)
    text = page(finished).text
    assert len(shown.outcome.rows) == 8
    for row in shown.outcome.rows:
        assert row.configuration in text


def test_test_scores_are_shown_of_the_winner_alone(finished: Path) -> None:
    shown = content(finished)
    winner = shown.winner
    assert winner is not None
    rows = [row for row in shown.outcome.rows if row.configuration != winner.configuration]
    assert page(finished).text.count("n/a") == len(rows)


def test_pruned_and_failed_trials_stand_with_their_reason(finished: Path, troubled: Path) -> None:
    pruned = [trial for trial in content(finished).trials if trial.state == "pruned"]
    assert pruned
    assert page(finished).text.count("stopped early after epoch") == len(pruned)
    failed = [trial for trial in content(troubled).trials if trial.state == "failed"]
    assert failed
    assert page(troubled).text.count("this data makes no sense") >= len(failed)


def test_an_unfinished_sweep_says_so(unfinished: Path) -> None:
    shown = content(unfinished)
    assert shown.state == "stopped"
    assert [trial.state for trial in shown.trials].count("missing") == 1
    text = page(unfinished).text
    assert "stopped before its end" in text
    assert "flattened" not in text
    assert "its score is flattered by the selection" in text
    assert "begun, to be resumed" in text


def test_other_code_is_shown_as_stale(finished: Path) -> None:
    assert "trials stale" not in page(finished).text
    shown = content(finished, code="code-2")
    assert shown.num_stale == len(shown.trials)
    text = page(finished, code="code-2").text
    assert f"{len(shown.trials)} trials stale" in text
    assert "done" not in re.findall(r"\bdone\b(?= search| shortlist)", text)


def test_nothing_is_loaded_from_anywhere(finished: Path) -> None:
    shown = content(finished)
    raw = page_of(shown, charts_of(shown)).decode()
    assert "http://" not in raw
    assert "https://" not in raw
    for tag, attributes in page(finished).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert str(attributes.get("src", "data:")).startswith("data:")
        href = attributes.get("href")
        assert href is None or href.startswith("#")
        assert not any(name.startswith("on") for name in attributes)


@pytest.mark.parametrize("which", ["finished", "troubled"])
def test_charts_share_no_names_and_refer_to_their_own(
    which: str, request: pytest.FixtureRequest
) -> None:
    shown = content(request.getfixturevalue(which))
    raw = page_of(shown, charts_of(shown)).decode()
    tags = Page(raw).tags
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert set(re.findall(r"url\(#(\w+)\)", raw)) <= set(names)
    assert {str(attributes["href"])[1:] for tag, attributes in tags if tag == "use"} <= set(names)
    assert [tag for tag, _ in tags].count("style") == 1
    assert page_of(shown, charts_of(shown)).decode() == raw


@pytest.mark.parametrize("which", ["finished", "troubled", "unfinished"])
def test_every_section_is_linked_and_every_link_leads_to_one(
    which: str, request: pytest.FixtureRequest
) -> None:
    tags = page(request.getfixturevalue(which)).tags
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    sections = [f"#{attributes['id']}" for tag, attributes in tags
                if tag == "section" and attributes.get("id") not in (None, "winner")]  # fmt: skip
    assert links == sections
    assert "#provenance" in links


def test_names_and_reasons_cannot_inject_markup(troubled: Path) -> None:
    shown = page(troubled)
    assert sum(tag == "script" for tag, _ in shown.tags) == 1
    assert NASTY in shown.text
    assert not any("alert" in str(v) and v != NASTY and NASTY not in str(v)
                   for _, attributes in shown.tags for v in attributes.values())  # fmt: skip


def test_a_sweep_without_any_result_has_a_page(tmp_path: Path) -> None:
    from orchestrator.sweeps.record.declaration import remember
    from tests.orchestrator.fakes import open_sweep

    sweep = sweep_config()
    open_sweep(tmp_path, sweep)
    remember(FolderStore(tmp_path), sweep)
    assert "No configuration has finished" in page(tmp_path).text


def test_a_sweep_that_scores_0_throughout_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.orchestrator.fakes.score", lambda cell, epoch: 0.0)
    run(tmp_path, sweep_config(protocol={"trials": 2}))
    text = page(tmp_path).text
    assert "Every seed that finished scores 0, so there is no winner" in text
    assert "winner.yaml" not in text


@pytest.mark.parametrize("which", ["finished", "troubled", "unfinished"])
def test_drawings_stay_within_their_frame(which: str, request: pytest.FixtureRequest) -> None:
    shown = page(request.getfixturevalue(which))
    width = height = 0.0
    places = 0
    for tag, attributes in shown.tags:
        if tag == "svg" and "viewbox" in attributes:
            width, height = (float(v) for v in str(attributes["viewbox"]).split()[2:])
        elif tag == "svg":
            width = height = 0.0
        if tag == "circle" and width:
            places += 1
            assert 0 <= float(str(attributes["cx"])) <= width
            assert 0 <= float(str(attributes["cy"])) <= height
    assert places
