"""Locks on files and folders that other processes replace, remove, or die over."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from shapca.errors import InputError
from shapca.storage.locks import held, lock_folder, open_locked

FORK = multiprocessing.get_context("fork")
FOLDER = os.O_RDONLY | os.O_DIRECTORY


def hold(folder: Path, ready: Connection) -> None:
    open_locked(folder, FOLDER, shown=folder)
    ready.send(True)
    time.sleep(60)


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    here, there = FORK.Pipe()
    holder = FORK.Process(target=hold, args=(tmp_path, there))
    holder.start()
    try:
        assert here.recv()
        with pytest.raises(InputError, match="is busy"):
            lock_folder(tmp_path, lambda _: None, tmp_path, "is busy")
    finally:
        holder.kill()
        holder.join()
    os.close(lock_folder(tmp_path, lambda _: None, tmp_path, "is busy"))
    assert list(tmp_path.iterdir()) == []


def test_who_waits_gets_what_has_the_name_in_the_end(tmp_path: Path) -> None:
    folder, other = tmp_path / "data", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    first = open_locked(folder, FOLDER, shown=folder)
    seen: list[bool] = []

    def wait() -> None:
        with held(folder):
            descriptor = os.open(folder, FOLDER)
            try:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)
            seen.append(True)

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.1)
    os.rename(folder, tmp_path / "old")
    os.rename(other, folder)
    assert not seen
    os.close(first)
    waiter.join(60)
    assert seen == [True]


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    num_made = 0

    def make(path: Path) -> None:
        nonlocal num_made
        num_made += 1
        if num_made == 2:
            path.mkdir()

    os.close(lock_folder(folder, make, folder, "is busy"))
    assert num_made == 2


def test_a_file_system_without_locks_is_reported_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path):
        assert "its file system knows no locks" in caplog.text
    flags = os.O_RDWR | os.O_CREAT
    with pytest.raises(InputError, match=r"records: cannot be locked \(No locks available\)"):
        open_locked(tmp_path / "records", flags, shown=tmp_path / "records", required=True)
