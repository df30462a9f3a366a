"""The sweep's record: immutable, in order, and of one driver only."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store.lease import LeaseLost
from orchestrator.sweeps.record import event_log as events
from orchestrator.sweeps.record.event_log import (
    Ended,
    EventLog,
    Opened,
    Proposed,
    Reopened,
    Restarted,
)
from shapca.errors import InputError
from shapca.storage import FolderStore


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
        second.append(proposed(1))


def test_a_missing_event_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    log = EventLog.load(store, "s")
    for number in (1, 2, 3):
        log.append(proposed(number))
    store.delete("sweeps/s/events/000002.json")
    with pytest.raises(InputError, match="lacks event 2"):
        EventLog.load(store, "s")


def test_long_records_are_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIZES", (4, 2))
    store = FolderStore(tmp_path)
    log = EventLog.load(store, "s")
    for number in range(1, 11):
        log.append(proposed(number))
    for number in range(1, 9):  # the pack suffices for those
        store.delete(f"sweeps/s/events/{number:06}.json")
    assert EventLog.load(store, "s").events == log.events


def test_an_event_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("sweeps/s/events/000001.json", b'{"kind": "teleported"}')
    with pytest.raises(InputError, match="newer version"):
        EventLog.load(store, "s")
