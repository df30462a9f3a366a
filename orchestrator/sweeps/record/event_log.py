"""A sweep's record: what was proposed and how it ended, in the order in which it happened.

Only the driver that holds the sweep's lease writes it, one immutable object per event. Every
hundred events are also kept together in one object, so that a long sweep is read fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias, get_args

from orchestrator.search.standings import Outcome, Proposal
from orchestrator.store.lease import LeaseLost
from orchestrator.store.sweep_folder import EVENTS, PACKED_EVENTS, in_sweep, number_of, numbered
from shapca.errors import InputError
from shapca.storage import ObjectStore, read_json, to_json
from shapca.storage.records import check_form

PACK = 100


@dataclass(frozen=True)
class Opened:
    """A driver took the sweep up.

    Attributes:
        at: Unix time in seconds.
        driver: Who it is.
        code: Fingerprint of the training code.
    """

    at: float
    driver: str = ""
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposed(Proposal):
    """The protocol asked for a cell.

    Attributes:
        cell: Key of the cell.
        at: Unix time in seconds.
    """

    cell: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Ended(Outcome):
    """A proposed cell ended, by this sweep's verdict: another may continue one that it pruned.

    Attributes:
        number: Which proposal.
        at: Unix time in seconds.
        best_epoch: Epoch of the best validation F1.
        trained: Epochs that this sweep trained of it; 0 for a cell found in the store.
        seconds: Time that it occupied its resources, in this sweep.
        codes: Fingerprints of the code that worked on the cell.
        found: The cell had ended before: no trial was needed.
        curve: Best validation F1 so far after each epoch: what early stopping has seen.
        alignment: What became of the alignment (`shapca.training.FitResult`), if it finished.
    """

    number: int
    at: float
    best_epoch: int | None = None
    trained: int = 0
    seconds: float = 0.0
    codes: Sequence[str] = field(default_factory=list)
    found: bool = False
    curve: Sequence[float] = field(default_factory=list)
    alignment: str | None = None


@dataclass(frozen=True)
class Interrupted:
    """A trial was let go before its end; its cell goes on when the sweep is taken up again.

    Attributes:
        number: Which proposal.
        seconds: Time that it had occupied its resources.
        at: Unix time in seconds.
    """

    number: int
    seconds: float
    at: float


@dataclass(frozen=True)
class Reopened:
    """A failed cell is tried again on request.

    Attributes:
        number: Which proposal.
        at: Unix time in seconds.
    """

    number: int
    at: float


@dataclass(frozen=True)
class Restarted:
    """All that was recorded before counts no more.

    Attributes:
        at: Unix time in seconds.
        reason: Why.
    """

    at: float
    reason: str


Event: TypeAlias = Opened | Proposed | Ended | Interrupted | Reopened | Restarted
_OFTEN = {"alignment": None, "given": False}
"""What older storages do not have, as it is where it is not there."""
_KINDS: dict[str, type[Event]] = {kind.__name__.lower(): kind for kind in get_args(Event)}


@dataclass
class EventLog:
    """The record of one sweep.

    Attributes:
        store: The storage.
        sweep: The sweep's name.
        events: What has happened, in order.
    """

    store: ObjectStore
    sweep: str
    events: list[Event] = field(default_factory=list)

    @classmethod
    def load(cls, store: ObjectStore, sweep: str) -> EventLog:
        """Read a sweep's record; it is empty where the sweep has not begun.

        Raises:
            InputError: An event is missing from the middle, or of a kind not known.
        """
        log = cls(store, sweep)
        packed = read_json(store, log._pack_name(), list[dict[str, Any]]) or []
        log.events += [_decode(record, log._pack_name()) for record in packed]
        for name in store.list(in_sweep(sweep, EVENTS)):
            number = number_of(name)
            if number <= len(log.events):
                continue
            record = read_json(store, name, dict[str, Any])
            if number > len(log.events) + 1 or record is None:
                raise InputError(
                    f"sweep {sweep}: its record lacks event {len(log.events) + 1} in the storage; "
                    "give the sweep another name (--set name=…) to begin anew"
                )
            log.events.append(_decode(record, name))
        return log

    def append(self, event: Event) -> None:
        """Write an event.

        Raises:
            LeaseLost: Another driver wrote one in its place.
        """
        number = len(self.events) + 1
        if not self.store.put_new(self._name(number), to_json(_encode(event))):
            raise LeaseLost(f"sweep {self.sweep}: another driver has taken it over")
        self.events.append(event)
        if number % PACK == 0:
            self.store.put(self._pack_name(), to_json([_encode(event) for event in self.events]))

    def current(self) -> list[Event]:
        """The events that count: those after the last restart."""
        restarts = [p for p, event in enumerate(self.events, 1) if isinstance(event, Restarted)]
        return self.events[max(restarts, default=0) :]

    def _name(self, number: int) -> str:
        return in_sweep(self.sweep, numbered(EVENTS, number))

    def _pack_name(self) -> str:
        return in_sweep(self.sweep, PACKED_EVENTS)


def _encode(event: Event) -> dict[str, Any]:
    record = {"kind": type(event).__name__.lower(), **asdict(event)}
    for key, usual in _OFTEN.items():
        if record.get(key, "") is usual:
            del record[key]
    return record


def _decode(record: dict[str, Any], name: str) -> Event:
    fields = dict(record)
    kind = _KINDS.get(str(fields.pop("kind", "")))
    if kind is None:
        raise InputError(f"{name}: an event of unknown kind; written by a newer version?")
    check_form(fields, kind, name)
    return kind(**fields)
