"""What every kind of protocol keeps to; a new kind joins by one line in `KINDS`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal, get_args

import pytest

from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import LISTED, ProtocolConfig, SweepConfig
from orchestrator.search.protocol import Protocol, Signal
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.search.samplers import Tried
from orchestrator.search.standings import Outcome, Proposal, Standing, rank, standing_of

KINDS: dict[str, dict[str, Any]] = {
    "confirm": {"trials": 5, "shortlist": 2, "shortlist_seeds": [2, 3], "confirm_seeds": [11, 12]},
    "replicate": {"trials": 4, "seeds": [1, 2]},
    "single": {"trials": 5, "shortlist": 3},
    "listed": {"seeds": [1, 2, 3]},
}
Keep = Literal["confirmed", "leaders", "all"]
ROWS = {f"row {number}": {"keep_models": number % 2 == 0} for number in range(1, 5)}
SEVERAL = {"type": "int", "low": 1, "high": 9}
VERDICTS = ("finished", "finished", "finished", "pruned", "diverged", "failed")

every_kind = pytest.mark.parametrize("kind", list(KINDS))
every_luck = pytest.mark.parametrize("luck", range(8))


def sweep_of(kind: str, keep: Keep = "confirmed") -> SweepConfig:
    protocol = {"kind": kind, "seeds": [1], **KINDS[kind]}
    varied = {"configurations": ROWS} if kind == "listed" else {"space": {"x": SEVERAL}}
    return SweepConfig.model_validate(
        {"name": "small", "protocol": protocol, "keep_models": keep, **varied}
    )


def make(sweep: SweepConfig, target: float | None = None, given: Sequence[Values] = ()) -> Protocol:
    def ask(index: int, history: Sequence[Tried]) -> Values:
        return {LISTED: f"row {index}"} if sweep.configurations else {"x": index}

    return PROTOCOLS[sweep.protocol.kind](
        sweep.protocol,
        ask,
        lambda values: f"configuration of {next(iter(values.values()))}",
        limit=len(sweep.configurations) or None,
        target=target,
        given=given,
    )


def random_outcome(generator: random.Random, proposal: Proposal) -> Outcome:
    verdict = generator.choice(VERDICTS) if proposal.phase == "search" else "finished"
    if generator.random() < 0.1:
        verdict = "failed"
    value = None if verdict == "failed" else generator.uniform(0, 100)
    return Outcome(verdict, value, epoch=generator.randint(1, 5))  # type: ignore[arg-type]


Record = list[tuple[str, Any]]
"""Proposals and the ends of proposals, in order."""


def play(protocol: Protocol, luck: int, slots: int = 3) -> tuple[Record, list[Proposal | Signal]]:
    """Run to the end with several slots; the record, and every answer with the length it had."""
    generator = random.Random(luck)
    record: Record = []
    answers: list[Proposal | Signal] = []
    running: list[Proposal] = []
    while True:
        following = protocol.propose()
        if following is Signal.DONE:
            assert not running
            return record, answers
        if isinstance(following, Proposal) and len(running) < slots:
            answers.append(following)
            protocol.proposed(following)
            running.append(following)
            record.append(("proposed", following))
            continue
        assert running, "waits for nothing"
        ended = running.pop(generator.randrange(len(running)))
        outcome = random_outcome(generator, ended)
        protocol.ended(ended.number, outcome)
        record.append(("ended", (ended.number, outcome)))


def replay(protocol: Protocol, record: Record) -> None:
    for kind, what in record:
        if kind == "proposed":
            protocol.proposed(what)
        else:
            protocol.ended(*what)


def test_every_kind_of_a_sweeps_file_is_there_and_tested() -> None:
    named = get_args(ProtocolConfig.model_fields["kind"].annotation)
    assert set(named) == set(PROTOCOLS) == set(KINDS)


@every_luck
@every_kind
def test_what_is_planned_bounds_what_is_proposed(kind: str, luck: int) -> None:
    protocol = make(sweep_of(kind))
    planned = protocol.planned()
    play(protocol, luck)
    phases = [proposal.phase for proposal in protocol.proposals]
    assert set(phases) <= set(planned)
    assert all(phases.count(phase) <= planned[phase] for phase in set(phases))
    assert protocol.planned() == planned


@every_luck
@every_kind
def test_equal_history_gives_equal_proposals_at_any_point(kind: str, luck: int) -> None:
    """Interrupted anywhere and made again from its record, a protocol goes on as it would have."""
    record, answers = play(make(sweep_of(kind)), luck)
    assert len(answers) >= 4
    for place, (what, following) in enumerate(record):
        again = make(sweep_of(kind))
        replay(again, record[:place])
        if what == "proposed":
            assert again.propose() == following
            assert again.propose() == following
    replay(finished := make(sweep_of(kind)), record)
    assert finished.propose() is Signal.DONE


def by_hand(protocol: Protocol, *phases: str) -> list[Standing]:
    """All configurations looked at anew, in order."""
    groups: dict[str, list[tuple[Proposal, Outcome]]] = {}
    for proposal in protocol.proposals:
        if proposal.phase in phases and (end := protocol.outcomes.get(proposal.number)):
            groups.setdefault(proposal.configuration, []).append((proposal, end))
    return sorted(map(standing_of, groups.values()), key=rank)


@every_luck
@every_kind
def test_what_is_kept_as_events_come_is_what_they_give_at_once(kind: str, luck: int) -> None:
    record, _ = play(make(sweep_of(kind)), luck)
    protocol, phases = make(sweep_of(kind)), PROTOCOLS[kind].search_phase
    averaged, _ = protocol.averaged("shortlist")
    for place in range(len(record)):
        replay(protocol, record[place : place + 1])
        replay(again := make(sweep_of(kind)), record[: place + 1])
        assert protocol.standings(phases) == again.standings(phases) == by_hand(again, phases)
        assert protocol.standings(*averaged) == by_hand(again, *averaged)
        assert protocol.history() == again.history()
        assert protocol.unfinished() == again.unfinished()
        if record[place][0] == "ended":  # run again, with another end: what was kept must go
            number, outcome = record[place][1]
            protocol.reopened(number)
            protocol.standings(phases)
            protocol.ended(number, Outcome("failed", reason="lost"))
            protocol.history()
            protocol.standings(phases)
            protocol.reopened(number)
            protocol.ended(number, outcome)


@every_luck
@every_kind
def test_a_complete_protocol_proposes_nothing(kind: str, luck: int) -> None:
    protocol = make(sweep_of(kind))
    play(protocol, luck)
    assert protocol.propose() is Signal.DONE
    assert not protocol.unfinished()
    last = protocol.proposals[-1]
    outcome = protocol.outcomes[last.number]
    protocol.reopened(last.number)
    assert protocol.unfinished() == [last]
    assert last.number not in protocol.outcomes
    protocol.ended(last.number, outcome)
    assert protocol.propose() is Signal.DONE


@every_luck
@every_kind
def test_no_cell_is_proposed_twice_for_the_same_end(kind: str, luck: int) -> None:
    protocol = make(sweep_of(kind))
    play(protocol, luck)
    cells = [(p.phase == "confirm", p.configuration, p.seed) for p in protocol.proposals]
    assert len(set(cells)) == len(cells)
    assert all(p.test == (p.phase in ("confirm", "study")) for p in protocol.proposals)


@every_luck
@every_kind
def test_the_winner_is_ranked_and_is_confirmed_on_seeds_of_its_own(kind: str, luck: int) -> None:
    sweep = sweep_of(kind)
    protocol = make(sweep)
    play(protocol, luck)
    ranking = protocol.ranking()
    proposed = {proposal.configuration for proposal in protocol.proposals}
    assert {standing.configuration for standing, _ in ranking} == proposed
    winner, confirmation = protocol.winner(), protocol.confirmation()
    if winner is None:
        assert confirmation is None
        return
    assert winner in [standing for standing, _ in ranking]
    assert winner in protocol.shortlist() or kind == "confirm"
    assert set(winner.scores) <= {*sweep.protocol.seeds, *sweep.protocol.shortlist_seeds}
    if confirmation is not None:
        seeds = winner.scores if kind == "replicate" else sweep.protocol.confirm_seeds
        assert set(confirmation.numbers) == set(seeds)


@pytest.mark.parametrize("keep", ["confirmed", "leaders", "all"])
@every_luck
@every_kind
def test_kept_weights_are_of_proposed_cells_and_as_many_as_forecast(
    kind: str, luck: int, keep: Keep
) -> None:
    sweep = sweep_of(kind, keep)
    record, _ = play(make(sweep), luck)
    protocol = make(sweep)
    for place in range(len(record)):
        replay(protocol, record[place : place + 1])
        kept = protocol.kept(sweep)
        assert kept <= {proposal.number for proposal in protocol.proposals}
        assert kept >= {proposal.number for proposal in protocol.unfinished()}
    cells = {(p.configuration, p.seed) for p in protocol.proposals if p.number in kept}
    assert len(cells) <= PROTOCOLS[kind].num_kept(sweep, protocol.planned())
    if (confirmation := protocol.confirmation()) is not None:
        assert kept >= set(confirmation.numbers.values())
    if keep == "all":
        assert len(kept) == len(protocol.proposals)


@every_luck
@every_kind
def test_averages_are_whole_in_the_end(kind: str, luck: int) -> None:
    protocol = make(sweep_of(kind))
    play(protocol, luck)
    for proposal in protocol.proposals:
        phase = protocol.shown_phase(proposal.phase)
        if phase == "search":
            continue  # single seeds are averaged with nothing
        phases, num_seeds = protocol.averaged(phase)
        standings = {s.configuration: s for s in protocol.standings(*phases)}
        assert len(standings[proposal.configuration].numbers) == num_seeds


GIVEN = ({"x": 100}, {"x": 101})


@every_luck
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "listed"])
def test_given_points_come_first_and_the_baseline_is_reported_beside_the_winner(
    kind: str, luck: int
) -> None:
    sweep = sweep_of(kind)
    protocol = make(sweep, given=GIVEN)
    planned = protocol.planned()
    record, _ = play(protocol, luck)
    assert protocol.planned() == planned
    phases = [proposal.phase for proposal in protocol.proposals]
    assert all(phases.count(phase) <= planned[phase] for phase in set(phases))
    searched = [p for p in protocol.proposals if p.phase == protocol.search_phase]
    entries = {p.entry: p.values for p in searched}
    assert len(entries) == sweep.protocol.trials
    assert [entries[1], entries[2]] == list(GIVEN)
    assert [values["x"] for values in entries.values()][2:] == list(range(1, len(entries) - 1))
    assert {p.entry for p in searched if p.given} == {1, 2}
    for place, (what, following) in enumerate(record):
        again = make(sweep, given=GIVEN)
        replay(again, record[:place])
        if what == "proposed":
            assert again.propose() == following
    winner, baseline = protocol.winner(), protocol.baseline()
    confirmed = protocol.confirmed(baseline)
    if kind == "single" or winner is None or baseline is None:
        assert confirmed is None or kind != "single"
        return
    assert baseline.values == GIVEN[0]
    assert confirmed is not None
    if kind == "confirm":
        assert set(confirmed.numbers) == set(sweep.protocol.confirm_seeds)
        assert set(protocol.confirmation().numbers) == set(confirmed.numbers)  # type: ignore[union-attr]
    assert {p.configuration for p in protocol.proposals if p.phase == "confirm"} == {
        winner.configuration, baseline.configuration,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["confirm", "replicate", "single"])
def test_what_scores_0_wins_nothing(kind: str) -> None:
    protocol = make(sweep_of(kind))
    while isinstance(following := protocol.propose(), Proposal):
        protocol.proposed(following)
        protocol.ended(following.number, Outcome("finished", 0.0, epoch=3))
    assert following is Signal.DONE
    assert protocol.winner() is None
    assert {p.phase for p in protocol.proposals} == {protocol.search_phase}


@every_kind
def test_a_target_ends_the_search_alone(kind: str) -> None:
    protocol = make(sweep_of(kind), target=0.0)
    play(protocol, 0, slots=1)
    assert sum(item.state == "finished" for item in protocol.history()) <= 1
    if kind == "listed":
        assert len(protocol.proposals) == len(ROWS) * 3


@every_kind
def test_the_protocol_is_said_in_words(kind: str) -> None:
    sweep = sweep_of(kind)
    words = PROTOCOLS[kind].words(sweep)
    assert words.startswith((", ", ": "))
    assert words.endswith(".")
    assert str(sweep.protocol.seeds[0]) in words
    make(sweep).check_seeds()
