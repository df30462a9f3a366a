"""The protocols as pure state machines: no Ray, no training, no store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import ProtocolConfig
from orchestrator.search import standings
from orchestrator.search.protocol import Protocol, Signal
from orchestrator.search.protocols.confirm import Confirm
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.search.samplers import Tried
from orchestrator.search.standings import Outcome, Proposal, Standing, standing_of
from shapca.errors import InputError


def make(limit: int | None = None, target: float | None = None, **settings: object) -> Protocol:
    def ask(index: int, history: Sequence[Tried]) -> Values:
        assert len(history) == index - 1
        return {"x": index}

    config = ProtocolConfig.model_validate(settings)
    return PROTOCOLS[config.kind](
        config,
        ask,
        lambda values: f"configuration-{values['x']}",
        limit=limit,
        target=target,
    )


def finished(value: float) -> Outcome:
    return Outcome("finished", value, epoch=5)


def advance(protocol: Protocol) -> Proposal:
    proposal = protocol.propose()
    assert isinstance(proposal, Proposal)
    protocol.proposed(proposal)
    return proposal


def run(protocol: Protocol, outcome: dict[tuple[int, int], Outcome]) -> list[Proposal]:
    """One slot, until done; what is not named scores its entry's number."""
    while (proposal := protocol.propose()) is not Signal.DONE:
        assert isinstance(proposal, Proposal)
        protocol.proposed(proposal)
        place = (proposal.entry, proposal.seed)
        protocol.ended(proposal.number, outcome.get(place, finished(float(proposal.entry))))
    return list(protocol.proposals)


def test_confirm_searches_shortlists_and_confirms_on_fresh_seeds() -> None:
    protocol = make(trials=4, shortlist=2, shortlist_seeds=[2, 3], confirm_seeds=[11, 12])
    proposals = run(protocol, {(3, 2): finished(90.0), (3, 3): finished(90.0)})

    assert [(p.phase, p.entry, p.seed, p.test) for p in proposals] == [
        ("search", 1, 1, False),
        ("search", 2, 1, False),
        ("search", 3, 1, False),
        ("search", 4, 1, False),
        ("shortlist", 4, 2, False),
        ("shortlist", 4, 3, False),
        ("shortlist", 3, 2, False),
        ("shortlist", 3, 3, False),
        ("confirm", 3, 11, True),
        ("confirm", 3, 12, True),
    ]
    winner = protocol.winner()
    assert winner is not None
    assert (winner.entry, winner.mean) == (3, 61.0)  # the search seed counts for the mean
    confirmation = protocol.confirmation()
    assert confirmation is not None
    assert confirmation.scores == {11: 3.0, 12: 3.0}
    assert protocol.propose() is Signal.DONE
    assert protocol.planned() == {"search": 4, "shortlist": 4, "confirm": 2}


def test_shortlist_takes_only_what_finished() -> None:
    protocol = make(trials=5, shortlist=2, shortlist_seeds=[2], confirm_seeds=[11])
    run(
        protocol,
        {
            (5, 1): Outcome("pruned", 99.0, epoch=2),
            (4, 1): Outcome("diverged", 98.0, epoch=1, reason="loss is nan"),
            (3, 1): Outcome("failed", None, reason="no memory"),
        },
    )
    assert [standing.entry for standing in protocol.shortlist()] == [2, 1]


def test_ties_go_to_the_earlier_configuration() -> None:
    protocol = make(trials=4, shortlist=2, shortlist_seeds=[2], confirm_seeds=[11])
    run(protocol, {(entry, seed): finished(50.0) for entry in range(1, 5) for seed in (1, 2, 11)})
    assert [standing.entry for standing in protocol.shortlist()] == [1, 2]
    winner = protocol.winner()
    assert winner is not None
    assert winner.entry == 1


def test_a_configuration_with_a_failed_seed_wins_only_where_none_is_whole() -> None:
    settings = {"trials": 2, "shortlist": 2, "shortlist_seeds": [2, 3], "confirm_seeds": [11]}
    failed = Outcome("failed", None, reason="no memory")
    protocol = make(**settings)
    run(protocol, {(2, 3): failed})
    winner = protocol.winner()
    assert winner is not None
    assert winner.entry == 1
    loser = next(s for s in protocol.standings("search", "shortlist") if s.entry == 2)
    assert loser.missing == {3: "no memory"}
    assert loser.mean == 2.0

    protocol = make(**settings)
    run(protocol, {(2, 3): failed, (1, 2): failed, (1, 3): failed})
    winner = protocol.winner()
    assert winner is not None
    assert (winner.entry, winner.missing) == (2, {3: "no memory"})


def test_a_failed_confirm_seed_is_named() -> None:
    protocol = make(trials=1, shortlist=1, confirm_seeds=[11, 12, 13])
    run(protocol, {(1, 12): Outcome("diverged", 3.0, epoch=2, reason="loss is nan")})
    confirmation = protocol.confirmation()
    assert confirmation is not None
    assert confirmation.scores == {11: 1.0, 13: 1.0}
    assert confirmation.missing == {12: "loss is nan"}
    assert not confirmation.whole


def test_a_single_candidate_needs_no_shortlist() -> None:
    protocol = make(trials=3, shortlist=1, shortlist_seeds=[2, 3], confirm_seeds=[11])
    assert [p.phase for p in run(protocol, {})] == ["search"] * 3 + ["confirm"]
    assert [phase for _, phase in protocol.ranking()] == ["search"] * 3


def test_nothing_finished_ends_without_a_winner() -> None:
    protocol = make(trials=2, confirm_seeds=[11])
    run(protocol, {(n, 1): Outcome("failed", None, reason="x") for n in (1, 2)})
    assert protocol.winner() is None
    assert protocol.confirmation() is None


def test_replicate_gives_every_configuration_every_seed_and_tests_the_winner() -> None:
    protocol = make(kind="replicate", trials=2, seeds=[1, 2])
    proposals = run(protocol, {})
    assert [(p.phase, p.entry, p.seed) for p in proposals] == [
        ("replicate", 1, 1),
        ("replicate", 1, 2),
        ("replicate", 2, 1),
        ("replicate", 2, 2),
        ("confirm", 2, 1),
        ("confirm", 2, 2),
    ]
    assert [p.test for p in proposals] == [False] * 4 + [True] * 2
    history = protocol.history()
    assert [item.value for item in history] == [1.0, 2.0]


def test_replicate_tells_the_sampler_of_the_mean_and_of_failures() -> None:
    protocol = make(kind="replicate", trials=3, seeds=[1, 2])
    run(protocol, {(1, 1): finished(10), (1, 2): finished(20), (2, 2): Outcome("failed")})
    assert [(item.state, item.value) for item in protocol.history()] == [
        ("finished", 15.0),
        ("failed", None),
        ("finished", 3.0),
    ]
    winner = protocol.winner()
    assert winner is not None
    assert winner.entry == 1


def test_single_confirms_nothing() -> None:
    protocol = make(kind="single", trials=3)
    assert {p.phase for p in run(protocol, {})} == {"search"}
    winner = protocol.winner()
    assert winner is not None
    assert winner.entry == 3


def test_a_grid_ends_with_its_last_point() -> None:
    protocol = make(kind="single", trials=20, limit=3)
    assert len(run(protocol, {})) == 3
    assert protocol.planned() == {"search": 3}


def test_a_target_ends_the_search_and_confirmation_begins() -> None:
    protocol = make(target=2.0, trials=9, shortlist=1, confirm_seeds=[11])
    assert [(p.phase, p.entry) for p in run(protocol, {})] == [
        ("search", 1),
        ("search", 2),
        ("confirm", 2),
    ]


def test_phases_wait_for_running_trials() -> None:
    protocol = make(trials=2, shortlist=2, shortlist_seeds=[2], confirm_seeds=[11])
    first, second = advance(protocol), advance(protocol)
    assert protocol.propose() is Signal.WAIT
    protocol.ended(second.number, finished(5.0))
    assert protocol.propose() is Signal.WAIT
    protocol.ended(first.number, finished(4.0))
    third, fourth = advance(protocol), advance(protocol)
    assert (third.phase, fourth.phase) == ("shortlist", "shortlist")
    assert protocol.propose() is Signal.WAIT
    assert [tried.state for tried in protocol.history()] == ["finished", "finished"]


def test_running_configurations_are_known_to_the_sampler() -> None:
    protocol = make(trials=3)
    advance(protocol)
    advance(protocol)
    assert [tried.state for tried in protocol.history()] == ["running", "running"]


def test_more_trials_extend_a_finished_sweep() -> None:
    settings = {"shortlist": 2, "shortlist_seeds": [2], "confirm_seeds": [11]}
    protocol = make(trials=2, **settings)
    done = run(protocol, {})
    longer = make(trials=4, **settings)
    for proposal in done:
        longer.proposed(proposal)
        longer.ended(proposal.number, finished(float(proposal.entry)))
    more = run(longer, {})[len(done) :]
    assert [(p.phase, p.entry, p.seed) for p in more] == [
        ("search", 3, 1),
        ("search", 4, 1),
        ("shortlist", 4, 2),
        ("shortlist", 3, 2),
        ("confirm", 4, 11),
    ]


def played(**settings: object) -> Protocol:
    """A sweep of two configurations with the seed 2 for its shortlist and 11 to confirm."""
    first = make(trials=2, shortlist=2, shortlist_seeds=[2], confirm_seeds=[11])
    proposals = run(first, {})
    edited = make(trials=2, shortlist=2, **settings)
    for proposal in proposals:
        edited.proposed(proposal)
        edited.ended(proposal.number, finished(float(proposal.entry)))
    return edited


def test_a_seed_keeps_its_role_when_the_file_is_edited() -> None:
    with pytest.raises(InputError, match=r"protocol.confirm_seeds: 2 has served the search"):
        played(shortlist_seeds=[3], confirm_seeds=[2, 12]).check_seeds()
    with pytest.raises(InputError, match=r"protocol.shortlist_seeds: 11 has confirmed a winner"):
        played(shortlist_seeds=[2, 11], confirm_seeds=[12]).check_seeds()
    more = played(shortlist_seeds=[2, 3], confirm_seeds=[11, 12])
    more.check_seeds()
    assert [(p.phase, p.seed) for p in run(more, {})[5:]] == [
        ("shortlist", 3),
        ("shortlist", 3),
        ("confirm", 12),
    ]


def test_of_what_early_stopping_ended_the_later_and_better_stands_first() -> None:
    protocol = make(kind="single", trials=5)
    run(
        protocol,
        {
            (1, 1): Outcome("pruned", 40.0, epoch=2),
            (2, 1): Outcome("pruned", 60.0, epoch=2),
            (3, 1): Outcome("failed", None, reason="no memory"),
            (4, 1): Outcome("pruned", 50.0, epoch=6),
        },
    )
    assert [standing.entry for standing in protocol.standings("search")] == [5, 4, 2, 1, 3]


def test_of_a_long_search_the_winner_is_found_among_the_few_of_the_shortlist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[str] = []

    def counting(pairs: Sequence[tuple[Proposal, Outcome]]) -> Standing:
        looked_at.append(pairs[0][0].configuration)
        return standing_of(pairs)

    made = make(trials=500, shortlist=3, shortlist_seeds=[2, 3], confirm_seeds=[11])
    run(made, {})
    resumed = make(trials=500, shortlist=3, shortlist_seeds=[2, 3], confirm_seeds=[11])
    for proposal in made.proposals:
        resumed.proposed(proposal)
        resumed.ended(proposal.number, made.outcomes[proposal.number])
    monkeypatch.setattr(standings, "standing_of", counting)
    assert resumed.winner() == made.winner()
    assert len(looked_at) == 500 + 3  # each as it was searched, and three again


def test_duplicates_in_the_search_take_one_place_in_the_shortlist() -> None:
    protocol = Confirm(
        ProtocolConfig(trials=3, shortlist=2, shortlist_seeds=(2,), confirm_seeds=(11,)),
        lambda index, history: {"x": 1 if index < 3 else 2},
        lambda values: f"configuration-{values['x']}",
    )
    proposals = run(protocol, {})
    assert [s.configuration for s in protocol.shortlist()] == [
        "configuration-2",
        "configuration-1",
    ]
    assert [(p.entry, p.seed) for p in proposals if p.phase == "shortlist"] == [(3, 2), (1, 2)]


def test_proposals_are_numbered_without_a_gap() -> None:
    protocol = make(trials=2)
    proposal = advance(protocol)
    with pytest.raises(ValueError, match="proposal 1 after 1"):
        protocol.proposed(proposal)
