"""At most one driver works on a sweep."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.store.lease import (
    EXPIRY_SECONDS,
    Holder,
    Lease,
    LeaseLost,
    abandoned_at,
    holder_of,
)
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json

ELSEWHERE = Holder("elsewhere", "another machine", 7, "1", 0.0)


def held_elsewhere(folder: Path, last_beat: float) -> FolderStore:
    store = FolderStore(folder)
    store.put("sweeps/s/lease/000003.json", to_json(dataclasses.asdict(ELSEWHERE)))
    store.put("sweeps/s/beat/000003.json", to_json({"at": last_beat}))
    return store


def test_a_second_driver_is_told_who_holds_the_sweep(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with Lease(store, "s") as first:
        with pytest.raises(InputError, match=f"process {first.holder.pid} on .* works on it"):
            Lease(store, "s").acquire()
        with Lease(store, "another"):
            first.check()
        assert holder_of(store, "s") == first.holder
    with Lease(store, "s"):  # released: free at once
        pass
    assert holder_of(store, "s") is None


def test_a_living_driver_elsewhere_is_respected_and_a_silent_one_replaced(tmp_path: Path) -> None:
    store = held_elsewhere(tmp_path, time.time() - 5)
    with pytest.raises(InputError, match="process 7 on elsewhere"):
        Lease(store, "s").acquire()
    store = held_elsewhere(tmp_path, time.time() - 100)
    with Lease(store, "s", heartbeat=0.05) as lease:
        assert store.list("sweeps/s/lease/") == ["sweeps/s/lease/000004.json"]
        assert holder_of(store, "s") == lease.holder


def test_a_damaged_sign_of_life_is_named(tmp_path: Path) -> None:
    store = held_elsewhere(tmp_path, time.time())
    store.put("sweeps/s/beat/000003.json", b'{"at": "noon"}')
    for look in (holder_of, abandoned_at):
        with pytest.raises(InputError, match=r"beat/000003\.json is damaged: at: "):
            look(store, "s")


def test_a_living_driver_whose_clock_goes_behind_is_not_replaced(tmp_path: Path) -> None:
    store = held_elsewhere(tmp_path, time.time() - 100)

    def beat() -> None:
        time.sleep(0.2)
        store.put("sweeps/s/beat/000003.json", to_json({"at": time.time() - 99}))

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(InputError, match="process 7 on elsewhere"):
        Lease(store, "s", heartbeat=1.0).acquire()
    heart.join()


def test_a_driver_whose_clock_goes_ahead_is_judged_by_its_heart(tmp_path: Path) -> None:
    store = held_elsewhere(tmp_path, time.time() + 3600)

    def beat() -> None:
        time.sleep(0.2)
        store.put("sweeps/s/beat/000003.json", to_json({"at": time.time() + 3601}))

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(InputError, match=r"process 7 on elsewhere .*last sign of life 0 s ago"):
        Lease(store, "s", heartbeat=1.0, expiry=20.0).acquire()
    heart.join()
    began = time.monotonic()
    with Lease(store, "s", heartbeat=0.05, expiry=0.5) as lease:  # silent for as long as is said
        assert lease.number == 4
        assert 0.5 <= time.monotonic() - began < 10


def test_a_driver_that_was_suspended_asks_before_it_goes_on(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with Lease(store, "s", heartbeat=1000.0) as suspended:
        store.put_new("sweeps/s/lease/000002.json", to_json(dataclasses.asdict(ELSEWHERE)))
        suspended.check()  # it has beaten a moment ago
        suspended._beat_at -= EXPIRY_SECONDS + 1  # as far as its clock says
        with pytest.raises(LeaseLost, match="another driver"):
            suspended.check()


def test_a_driver_killed_on_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from orchestrator.store.lease import Lease\n"
        "from shapca.storage import FolderStore\n"
        "Lease(FolderStore(sys.argv[1]), 's').acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -9
    store = FolderStore(tmp_path)
    assert store.list("sweeps/s/beat/")
    with Lease(store, "s") as lease:
        lease.check()


def test_a_driver_that_was_replaced_notices(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    slow = Lease(store, "s", heartbeat=0.05).acquire()
    store.put_new("sweeps/s/lease/000002.json", to_json(dataclasses.asdict(ELSEWHERE)))
    deadline = time.monotonic() + 10
    while not slow._lost.is_set() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(LeaseLost, match="another driver"):
        slow.check()
    slow.release()
    assert store.get("sweeps/s/lease/000002.json") is not None


def test_the_heartbeat_goes_on(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with Lease(store, "s", heartbeat=0.05):
        beats = set()
        deadline = time.monotonic() + 10
        while len(beats) < 3 and time.monotonic() < deadline:
            beats.add(store.get("sweeps/s/beat/000001.json"))
            time.sleep(0.02)
        assert len(beats) >= 3


def test_the_heart_outlives_a_storage_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    with Lease(store, "s", heartbeat=0.02):
        with monkeypatch.context() as patch:
            patch.setattr(store, "put", lambda *_: 1 / 0)  # a bucket's client raises what it likes
            time.sleep(0.1)
        before = store.get("sweeps/s/beat/000001.json")
        deadline = time.monotonic() + 10
        while store.get("sweeps/s/beat/000001.json") == before:
            assert time.monotonic() < deadline, "no sign of life any more"
            time.sleep(0.02)
