"""Which weights go at each end, and that an end late in a sweep costs no more than an early one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.standings import Proposal
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.retention import Retention
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from shapca.storage import FolderStore
from tests.orchestrator.fakes import open_sweep, sweep_config

FEW = {"optimisation.batch_size": {"type": "int", "low": 1, "high": 8}}
"""So few settings that a random search tries some of them twice."""
VERDICTS = ("finished", "finished", "finished", "pruned", "diverged", "failed")


def ends(history: History, luck: int, slots: int = 3) -> Iterator[Ended]:
    """What may become of a sweep's proposals, each before it is recorded."""
    generator, running = random.Random(luck), list[Proposed]()
    while True:
        following = history.propose() if len(running) < slots else None
        if isinstance(following, Proposed):
            running.append(following)
            continue
        if not running:
            return
        event = running.pop(generator.randrange(len(running)))
        status: Any = generator.choice(VERDICTS) if event.phase == "search" else "finished"
        yield Ended(status, generator.uniform(1, 99), 2, number=event.number, at=1.0)


@pytest.mark.parametrize("keep", ["confirmed", "leaders", "all"])
@pytest.mark.parametrize(
    "protocol", [{}, {"kind": "single"}, {"kind": "replicate", "seeds": [1, 2]}]
)
def test_weights_go_as_if_all_ends_were_looked_at_each_time(
    tmp_path: Path, protocol: dict[str, Any], keep: str
) -> None:
    sweep = sweep_config(
        protocol={"trials": 12, "sampler": "random", **protocol}, keep_models=keep
    ).model_copy(update={"space": SweepConfig.model_validate({"name": "few", "space": FEW}).space})
    history = open_sweep(tmp_path, sweep).history
    retention, expected = Retention(CellStore(FolderStore(tmp_path)), history), set[str]()
    for end in ends(history, luck=0):
        history.end(end, lambda: None)
        retention.apply()
        kept = {history.proposed[number].cell for number in history.protocol.kept(sweep)}
        stay = {history.proposed[n].cell for n, e in history.ended.items() if e.status != "failed"}
        expected |= stay - kept
        assert retention.dropped == expected
        for event in history.proposed.values():
            others = [n for n, other in history.proposed.items() if other.cell == event.cell]
            assert list(history.twins.of(event.cell)) == others
    assert bool(expected) == (keep != "all")


def test_an_end_late_in_a_sweep_looks_at_as_few_proposals_as_an_early_one(tmp_path: Path) -> None:
    sweep = sweep_config(protocol={"kind": "single", "sampler": "random", "trials": 150})
    history = open_sweep(tmp_path, sweep).history
    retention = Retention(CellStore(FolderStore(tmp_path)), history)
    keeps, looked_at = history.protocol.keeps, list[Proposal]()

    def counting(of: SweepConfig) -> Any:
        keeps_it = keeps(of)
        return lambda proposal: looked_at.append(proposal) or keeps_it(proposal)

    history.protocol.keeps = counting  # type: ignore[method-assign]
    counts = []
    for end in ends(history, luck=1, slots=1):
        history.end(end, lambda: None)
        before = len(looked_at)
        retention.apply()
        counts.append(len(looked_at) - before)
    assert len(counts) == 150
    assert max(counts) <= 2  # the leader so far, and the one that ended
