"""A sweep's record: what was proposed and how it ended, in the order in which it happened.

Only the driver that holds the sweep's lease writes it, one immutable object per event. Every
hundred events are also kept together in one object, and every ten thousand, so that a long sweep
is read fast. What a killed driver did not pack is read one by one, until the next one packs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, ClassVar, TypeAlias, get_args

from pydantic import ConfigDict
from typing_extensions import TypedDict

from orchestrator.search.standings import Outcome, Proposal
from orchestrator.store.lease import LeaseLost
from orchestrator.store.sweep_folder import (
    EVENTS,
    FORMERLY_PACKED,
    PACKED,
    in_sweep,
    number_of,
    numbered,
    put_own,
)
from shapca.errors import InputError
from shapca.storage import ObjectStore, place_name, read_json, to_json
from shapca.storage.records import check_form, parse_instances

SIZES = (10_000, 100)
"""Events that are packed into one object, the largest first; each is a multiple of the next."""


class _Strict:
    """What is read by its form has no other keys."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Opened(_Strict):
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
class Proposed(Proposal, _Strict):
    """The protocol asked for a cell.

    Attributes:
        cell: Key of the cell.
        at: Unix time in seconds.
    """

    cell: str
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended(Outcome, _Strict):
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
        test_f1: F1 of the test split in percent, of a cell that was to be tested, so that no
            listing need read each cell; None also in older records.
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
    test_f1: float | None = None


def ended_since(ended: dict[int, Ended], num: int) -> list[Ended]:
    """Ends after the first `num`, in order; those are not walked."""
    return list(islice(reversed(ended.values()), len(ended) - num))[::-1]


@dataclass(frozen=True)
class Interrupted(_Strict):
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
class Reopened(_Strict):
    """A failed cell is tried again on request.

    Attributes:
        number: Which proposal.
        at: Unix time in seconds.
    """

    number: int
    at: float


@dataclass(frozen=True)
class Restarted(_Strict):
    """All that was recorded before counts no more.

    Attributes:
        at: Unix time in seconds.
        reason: Why.
    """

    at: float
    reason: str


Event: TypeAlias = Opened | Proposed | Ended | Interrupted | Reopened | Restarted
_OFTEN = {"alignment": None, "given": False, "test_f1": None}
"""What older storages do not have, as it is where it is not there."""
_KINDS: dict[str, type[Event]] = {kind.__name__.lower(): kind for kind in get_args(Event)}


class PackForm(TypedDict):
    """Events packed together: how they follow each other by kind, and those of each kind."""

    order: list[str]
    opened: list[Opened]
    proposed: list[Proposed]
    ended: list[Ended]
    interrupted: list[Interrupted]
    reopened: list[Reopened]
    restarted: list[Restarted]


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

    def __post_init__(self) -> None:
        self._num_packed = dict.fromkeys(SIZES, 0)

    @classmethod
    def load(cls, store: ObjectStore, sweep: str) -> EventLog:
        """Read a sweep's record; it is empty where the sweep has not begun.

        Raises:
            InputError: An event is missing from the middle, or of a kind not known.
        """
        log = cls(store, sweep)
        for size in SIZES:
            log._read_packs(size)
        if not log.events:
            name = in_sweep(sweep, FORMERLY_PACKED)
            packed = read_json(store, name, list[dict[str, Any]]) or []
            log.events += [_decode(record, name) for record in packed]
        events = in_sweep(sweep, EVENTS)
        for name in store.list(events, after=log._name(len(log.events)) if log.events else ""):
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
        if not put_own(self.store, self._name(number), to_json(_encode(event))):
            raise LeaseLost(f"sweep {self.sweep}: another driver has taken it over")
        self.events.append(event)
        if number % SIZES[-1] == 0:
            self._pack()

    def current(self) -> list[Event]:
        """The events that count: those after the last restart."""
        restarts = [p for p, event in enumerate(self.events, 1) if isinstance(event, Restarted)]
        return self.events[max(restarts, default=0) :]

    def _name(self, number: int) -> str:
        return in_sweep(self.sweep, numbered(EVENTS, number))

    def _pack_name(self, size: int, number: int) -> str:
        return in_sweep(self.sweep, numbered(f"{PACKED}{size}/", number))

    def _read_packs(self, size: int) -> None:
        number = len(self.events) // size + 1
        while (content := self.store.get(name := self._pack_name(size, number))) is not None:
            events = _unpacked(content, f"{place_name(self.store)}: {name}")
            if len(events) != size:
                raise InputError(f"{name} is damaged: {len(events)} events, expected {size}")
            self.events += events
            number += 1
        self._num_packed[size] = len(self.events) // size * size

    def _pack(self) -> None:
        """Pack what is not packed, by whomever it was written: a pack is the same from any."""
        for size in SIZES:
            for start in range(self._num_packed[size], len(self.events) - size + 1, size):
                packed = _packed(self.events[start : start + size])
                self.store.put_new(self._pack_name(size, start // size + 1), packed)
                self._num_packed[size] = start + size


def _packed(events: Sequence[Event]) -> bytes:
    """Events as `PackForm` has them."""
    pack: dict[str, list[Any]] = {"order": [], **{kind: [] for kind in _KINDS}}
    for event in events:
        record = _encode(event)
        kind = record.pop("kind")
        pack["order"].append(kind)
        pack[kind].append(record)
    return to_json(pack)


def _unpacked(content: bytes, place: str) -> list[Event]:
    """The inverse of `_packed`.

    Raises:
        InputError: They are damaged.
    """
    pack = parse_instances(content, place, PackForm)
    events = {kind: iter(pack[kind]) for kind in _KINDS}
    try:
        found: list[Event] = [next(events[kind]) for kind in pack["order"]]
    except (KeyError, StopIteration):
        found = []
    if len(found) != sum(len(pack[kind]) for kind in _KINDS):
        raise InputError(f"{place} is damaged: order: expected the kind of each event")
    return found


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
