"""A sweep's record and what follows from it: protocol, cells, budgets used, staleness.

Every change enters protocol and record together, so that both can be made from the record alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.config.conditions import settings_of
from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import LISTED, InvalidSetting, SweepConfig
from orchestrator.search.protocol import Signal
from orchestrator.search.protocols.kinds import PROTOCOLS
from orchestrator.search.samplers import build_sampler
from orchestrator.store.averages import test_metrics
from orchestrator.store.cell_factory import BareFactory, CellFactory
from orchestrator.store.cells import Cell, CellStore
from orchestrator.sweeps.record.declaration import declare, recall, remember
from orchestrator.sweeps.record.event_log import (
    Ended,
    Event,
    EventLog,
    Interrupted,
    Opened,
    Proposed,
    Reopened,
    Restarted,
)
from orchestrator.sweeps.record.twins import Twins
from shapca.errors import InputError
from shapca.storage import ObjectStore, digest

MOST_ASKED = 100
"""Cells whose verdicts are asked for one by one; of more all of the storage are listed."""


@dataclass(eq=False)
class History:
    """What has happened in a sweep.

    Attributes:
        sweep: The sweep's file.
        log: Its record.
        factory: Makes cells of settings.
        clock: Gives the Unix time.
        protocol: What comes next and what follows.
        proposed: Proposals with their cells, by number.
        ended: How they ended, by number.
        twins: Finds the proposals of a cell.
    """

    sweep: SweepConfig
    log: EventLog
    factory: CellFactory
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._replay()

    @classmethod
    def begin(
        cls, store: ObjectStore, sweep: SweepConfig, factory: CellFactory, declared: dict[str, Any]
    ) -> History:
        """Begin a sweep or resume it, under its lease.

        Args:
            store: The storage.
            sweep: The sweep's file, which is remembered.
            factory: Makes cells of settings.
            declared: What identifies the sweep (`declaration`).

        Raises:
            InputError: The sweep of that name is another one, or its file meant something else when
                it was begun, since a default has changed.
        """
        declare(store, sweep.name, declared)
        history = cls(sweep, EventLog.load(store, sweep.name), factory)
        history._check_meaning()
        remember(store, sweep)
        return history

    @classmethod
    def read(cls, store: ObjectStore, sweep: SweepConfig) -> History:
        """What the storage has of a sweep, to be looked at alone: its data may be elsewhere."""
        return cls(sweep, EventLog.load(store, sweep.name), BareFactory())

    def _check_meaning(self) -> None:
        first = next(iter(self.proposed.values()), None)
        if first is None or not self.sweep.space or self.refusal(first.values) is not None:
            return
        now = self.cell(first.values, first.seed).key
        if now != first.cell:
            raise InputError(
                f"sweep {self.sweep.name}: the same file meant something else when it was begun "
                f"(its first trial was cell {first.cell}, and would be {now}): a default of the "
                f"experiment has changed since. --set name={self.sweep.name}-2 begins it anew "
                "beside; to go on as before, write what that cell's cell.json says into the file"
            )

    def _replay(self) -> None:
        sweep = self.sweep
        self.protocol = PROTOCOLS[sweep.protocol.kind](
            sweep.protocol,
            build_sampler(sweep).ask,
            self._configuration_of,
            limit=_limit(sweep),
            target=sweep.budget.target,
            given=sweep.first(),
        )
        self._present = settings_of(sweep.space) if sweep.space else None
        self.proposed: dict[int, Proposed] = {}
        self.ended: dict[int, Ended] = {}
        self.twins = Twins(self.proposed)
        self._tested: dict[str, float | None] = {}
        self._epochs: dict[tuple[object, object], int] = {}
        self._valid: dict[str, bool] = {}
        for event in self.log.current():
            try:
                self._take(event)
            except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
                raise InputError(
                    f"sweep {sweep.name}: its record is damaged: {type(event).__name__} number "
                    f"{getattr(event, 'number', '?')} does not follow from its file and the events "
                    f"before ({error!r}); give the sweep another name (--set name=…) to begin anew"
                ) from error

    def _take(self, event: Event) -> None:
        if isinstance(event, Proposed):
            self._take_proposed(event)
        elif isinstance(event, Ended):
            self._take_ended(event)
        elif isinstance(event, Reopened):
            self.protocol.reopened(event.number)
            self.ended.pop(event.number)

    def _take_proposed(self, event: Proposed) -> None:
        # A record is sorted by key; settings are shown in the order of the space.
        if self._present is not None:
            values = self._present(event.values)
            if len(values) < len(event.values):
                raise ValueError("its setting has a key that the space has not there")
            object.__setattr__(event, "values", values)  # ours alone, and `replace` takes long
        self.protocol.proposed(event)
        self.proposed[event.number] = event
        if event.test:
            self._tested.setdefault(event.cell, None)

    def _take_ended(self, event: Ended) -> None:
        if event.number not in self.proposed:
            raise ValueError("it was never proposed")
        self.protocol.ended(event.number, event)
        self.ended[event.number] = event
        if event.test_f1 is not None:
            self._tested[self.proposed[event.number].cell] = event.test_f1

    def cell(self, values: Values, seed: int) -> Cell:
        """The cell of a setting and a seed.

        Raises:
            InvalidSetting: The setting is no valid experiment.
        """
        return self.factory.cell(self.sweep.resolve(values), seed)

    def epochs(self, values: Values) -> int:
        """Epochs that a valid setting trains at most."""
        key = values.get(LISTED), values.get("optimisation.epochs")
        if key not in self._epochs:
            self._epochs[key] = self.sweep.resolve(values).optimisation.epochs
        return self._epochs[key]

    def is_valid(self, event: Proposed) -> bool:
        """Whether a proposal's setting is a valid experiment; looked at once."""
        if event.configuration not in self._valid:
            self._valid[event.configuration] = self.refusal(event.values) is None
        return self._valid[event.configuration]

    def refusal(self, values: Values) -> str | None:
        """Why a setting is no valid experiment; None where it is one."""
        try:
            self.sweep.resolve(values)
        except InvalidSetting as error:
            return " ".join(str(error).split())
        return None

    def _configuration_of(self, values: Values) -> str:
        if self.refusal(values) is not None:
            return digest(dict(values))
        return self.cell(values, 0).configuration

    def propose(self) -> Proposed | Signal:
        """Ask the protocol for the next cell and record it."""
        following = self.protocol.propose()
        if isinstance(following, Signal):
            return following
        if self.refusal(following.values) is not None:  # recorded, so that the sweep can go on
            cell = digest({"values": dict(following.values), "seed": following.seed})
        else:
            cell = self.cell(following.values, following.seed).key
        event = Proposed(**vars(following), cell=cell, at=self.clock())
        self.log.append(event)
        self._take_proposed(event)
        return self.proposed[event.number]

    def end(self, event: Ended, before_recording: Callable[[], None]) -> None:
        """Record how a proposal ended.

        Args:
            event: How.
            before_recording: What must be in the store by then. A driver that dies in between
                does it again, since the record does not have the end yet.
        """
        self._take_ended(event)
        before_recording()
        self.log.append(event)

    def open(self, driver: str, code: str) -> None:
        """Record that a driver took the sweep up."""
        self.log.append(Opened(self.clock(), driver, code))

    def retry_failed(self, cells: CellStore) -> int:
        """Record that failed cells are tried again; how many."""
        failed = [number for number, end in self.ended.items() if end.status == "failed"]
        for number in failed:
            cells.reopen(self.proposed[number].cell)
            self.log.append(Reopened(number, self.clock()))
            self._take(self.log.events[-1])
        return len(failed)

    def stale(self, code: str) -> list[str]:
        """Cells whose recorded results come from other code than the present one."""
        ended = self.ended.items()
        return sorted({self.proposed[n].cell for n, end in ended if set(end.codes) - {code}})

    def restart(self, cells: CellStore, stale: list[str]) -> None:
        """Begin the record anew, without the stale cells' results."""
        for key in stale:
            cells.reset(key)
        self.log.append(Restarted(self.clock(), f"{len(stale)} cells of older code"))
        self._replay()

    def follow_list(self, cells: CellStore) -> None:
        """Begin the record of listed configurations anew where it does not fit any more.

        That is where the list is another one now, or where a cell was removed from the store since
        it finished. Cells that are there are found again, not trained.
        """
        verdict = cells.statuses().get if len(self.ended) > MOST_ASKED else cells.status
        entries = {name: entry for entry, name in enumerate(self.sweep.configurations, start=1)}
        for place, event in enumerate(self.proposed.values(), start=1):
            name = str(event.values.get(LISTED))
            is_same = (
                entries.get(name) == event.entry
                and event.seed in self.sweep.protocol.seeds
                and self.cell({LISTED: name}, event.seed).key == event.cell
            )
            end = self.ended.get(event.number)
            is_finished = end is not None and end.status == "finished"
            if not is_same or (is_finished and verdict(event.cell) is None):
                self.log.append(Restarted(self.clock(), f"another list from cell {place} on"))
                self._replay()
                return

    def tested(self, key: str, cells: CellStore) -> float | None:
        """Test F1 of a cell that the sweep had tested; the store is asked where no event says it.

        None where it was not tested, or not for this sweep.
        """
        if key not in self._tested:
            return None
        known = self._tested[key]
        return test_metrics(cells, key).get("test/f1") if known is None else known

    def wall_seconds(self) -> float:
        """Time that drivers have spent on the sweep before the present one took it up."""
        total, began, last = 0.0, None, 0.0
        for event in self.log.events:
            if isinstance(event, Opened):
                total += 0.0 if began is None else last - began
                began = event.at
            if not isinstance(event, Reopened | Restarted):
                # Those are a new driver's, made before it opens: the time since then was idle.
                last = event.at
        return total + (0.0 if began is None else last - began)

    def cells_trained(self) -> int:
        """Cells of which this sweep trained at least an epoch."""
        return len({self.proposed[n].cell for n, end in self.ended.items() if end.trained > 0})

    def interrupted(self, number: int, seconds: float) -> None:
        """Record that a trial was let go after it had occupied its resources for so long."""
        self.log.append(Interrupted(number, seconds, self.clock()))

    def trial_seconds(self) -> float:
        """Time that ended and interrupted trials occupied their resources."""
        let_go = (e.seconds for e in self.log.current() if isinstance(e, Interrupted))
        return sum(end.seconds for end in self.ended.values()) + sum(let_go)

    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return not self.protocol.unfinished() and self.protocol.propose() is Signal.DONE


def recorded(store: ObjectStore, name: str) -> History:
    """The history of a sweep or study as the storage has it, to be looked at alone.

    Raises:
        InputError: No sweep of that name in this storage.
    """
    return History.read(store, recall(store, name))


def _limit(sweep: SweepConfig) -> int | None:
    """Configurations that there are at most; None where a sampler can go on for ever."""
    if sweep.configurations:
        return len(sweep.configurations)
    return len(sweep.grid()) if sweep.protocol.sampler == "grid" else None
