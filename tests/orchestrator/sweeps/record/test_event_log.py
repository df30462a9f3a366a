"""The sweep's record: immutable, in order, and of one driver only."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.store.lease import LeaseLost
from orchestrator.sweeps.record import event_log as events
from orchestrator.sweeps.record.event_log import (
    Ended,
    EventLog,
    Interrupted,
    Opened,
    Proposed,
    Reopened,
    Restarted,
)
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.stores import DyingStore, Killed, MemoryStore


def proposed(number: int) -> Proposed:
    return Proposed(number, "search", number, {"x": 0.1}, 1, "abc", cell="def", at=5.0)


def test_what_became_of_an_alignment_is_kept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ended = Ended("finished", 50.0, 3, number=1, at=2.0, alignment="collapsed")
    EventLog.load(store, "s").append(ended)
    assert EventLog.load(store, "s").events == [ended]


def test_events_are_written_as_older_storages_have_them(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    log = EventLog.load(store, "s")
    log.append(proposed(1))
    log.append(Ended("failed", None, 3, "no memory", number=1, at=2.0, codes=["code"], curve=[1.0]))
    assert [store.get(name) for name in store.list("sweeps/s/events/")] == [
        b'{"at": 5.0, "cell": "def", "configuration": "abc", "entry": 1, "kind": "proposed", '
        b'"number": 1, "phase": "search", "seed": 1, "test": false, "values": {"x": 0.1}}\n',
        b'{"at": 2.0, "best_epoch": null, "codes": ["code"], "curve": [1.0], "epoch": 3, '
        b'"found": false, "kind": "ended", "number": 1, "reason": "no memory", "seconds": 0.0, '
        b'"status": "failed", "trained": 0, "value": null}\n',
    ]


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    log = EventLog.load(FolderStore(tmp_path), "s")
    written = [
        Opened(1.0, "process 1 on host", "code"),
        proposed(1),
        Ended("finished", 81.5, 3, number=1, at=2.0, best_epoch=2, trained=3, seconds=4.5),
        Reopened(1, 3.0),
    ]
    for event in written:
        log.append(event)
    again = EventLog.load(FolderStore(tmp_path), "s")
    assert again.events == written
    assert EventLog.load(FolderStore(tmp_path), "other").events == []


def test_only_what_follows_the_last_restart_counts(tmp_path: Path) -> None:
    log = EventLog.load(FolderStore(tmp_path), "s")
    for event in (Opened(1.0), proposed(1), Restarted(2.0, "stale"), proposed(1)):
        log.append(event)
    assert log.current() == [proposed(1)]
    assert len(EventLog.load(FolderStore(tmp_path), "s").events) == 4


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    first = EventLog.load(FolderStore(tmp_path), "s")
    second = EventLog.load(FolderStore(tmp_path), "s")
    first.append(proposed(1))
    with pytest.raises(LeaseLost, match="another driver"):
        second.append(replace(proposed(1), at=5.1))


def test_a_missing_event_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    log = EventLog.load(store, "s")
    for number in (1, 2, 3):
        log.append(proposed(number))
    store.delete("sweeps/s/events/000002.json")
    with pytest.raises(InputError, match="lacks event 2"):
        EventLog.load(store, "s")


def of_every_kind(num: int) -> list[events.Event]:
    kinds: list[events.Event] = [
        Opened(1.0, "process 1 on host", "code"),
        proposed(1),
        Ended("finished", 81.5, 3, number=1, at=2.0, curve=[80.0, 81.5], codes=["c"], test_f1=7.5),
        Interrupted(1, 2.0, 3.0),
        Reopened(1, 3.0),
        Restarted(3.5, "stale"),
        Ended("failed", reason="no memory", number=1, at=4.0, alignment="collapsed"),
    ]
    return [kinds[place % len(kinds)] for place in range(num)]


def test_long_records_are_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIZES", (4, 2))
    store = FolderStore(tmp_path)
    log = EventLog.load(store, "s")
    for event in of_every_kind(11):
        log.append(event)
    assert [len(store.list(f"sweeps/s/packed/{size}/")) for size in (4, 2)] == [2, 5]
    for number in range(1, 11):  # the packs suffice for those
        store.delete(f"sweeps/s/events/{number:06}.json")
    for number in range(1, 5):  # and the larger ones for the smaller ones
        store.delete(f"sweeps/s/packed/2/{number:06}.json")
    assert EventLog.load(store, "s").events == of_every_kind(11)


@pytest.mark.parametrize("dies_at", range(1, 20))
def test_a_record_is_whole_whenever_its_driver_is_killed(
    monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """Every write of packs and events is the last one once; the next driver packs what lacks."""
    monkeypatch.setattr(events, "SIZES", (4, 2))
    memory, wanted, log = MemoryStore(), of_every_kind(12), None
    with pytest.raises(Killed):
        log = EventLog.load(DyingStore(memory, dies_at), "s")
        for event in wanted:
            log.append(event)
    assert log is not None
    found = EventLog.load(memory, "s")
    assert found.events == wanted[: len(found.events)]
    assert len(log.events) <= len(found.events) <= len(log.events) + 1
    for event in wanted[len(found.events) :]:
        found.append(event)
    assert EventLog.load(memory, "s").events == wanted
    if dies_at < 18:  # else the last append of all was the one that did not pack
        for name in memory.list("sweeps/s/events/"):
            memory.delete(name)
        assert EventLog.load(memory, "s").events == wanted


def test_a_record_of_an_older_version_is_read_and_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was packed in one object, with no event beside, is packed as now when it goes on."""
    monkeypatch.setattr(events, "SIZES", (4, 2))
    store, wanted = FolderStore(tmp_path), of_every_kind(7)
    store.put("sweeps/s/events.json", to_json([events._encode(event) for event in wanted]))
    log = EventLog.load(store, "s")
    assert log.events == wanted
    log.append(proposed(1))
    store.delete("sweeps/s/events.json")
    assert EventLog.load(store, "s").events == [*wanted, proposed(1)]


@pytest.mark.parametrize(
    ("pack", "problem"),
    [
        ({"order": ["opened"]}, "expected the kind of each event"),
        ({"order": ["teleported", "opened"]}, "expected the kind of each event"),
        ({"order": ["opened"], "opened": [{"at": 1.0}]}, "1 events, expected 2"),
        (
            {"order": ["opened"], "opened": [{"at": 1.0, "mood": 1}]},
            "opened.0.mood: Unexpected keyword",
        ),
        ({"order": ["opened"], "opened": [{"at": "late"}]}, "opened.0.at: Input should be"),
        ({"order": 1}, "order: Input should be"),
    ],
)
def test_a_damaged_pack_is_one_message(
    monkeypatch: pytest.MonkeyPatch, pack: dict[str, object], problem: str
) -> None:
    monkeypatch.setattr(events, "SIZES", (4, 2))
    store, empty = MemoryStore(), {kind: [] for kind in events._KINDS}
    whole = {**empty, "opened": [{"at": 1.0}] * 2, **pack}
    if "opened" not in pack:
        whole["order"] = pack["order"]
    store.put("sweeps/s/packed/2/000001.json", to_json(whole))
    with pytest.raises(InputError, match=re.escape(problem)) as raised:
        EventLog.load(store, "s")
    assert "packed/2/000001.json" in str(raised.value)


def test_an_event_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("sweeps/s/events/000001.json", b'{"kind": "teleported"}')
    with pytest.raises(InputError, match="newer version"):
        EventLog.load(store, "s")
