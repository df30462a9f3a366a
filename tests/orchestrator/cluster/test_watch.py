"""The loss of Ray reaches a driver that waits for it."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from orchestrator.cluster import watch as ray_watch
from orchestrator.cluster.watch import RayLostError, RayWatch, Sight, watched


@pytest.mark.parametrize(
    ("sights", "lost"),
    [
        (["alive", "alive", "dead"], "the Ray that this driver is connected to has died"),
        (["alive", "silent"], "the head of Ray has not answered for 0 s"),
    ],
)
def test_a_driver_that_waits_is_interrupted(sights: list[Sight], lost: str) -> None:
    seen = iter([*sights, *sights[-1:] * 1000])
    watch = RayWatch(lambda: next(seen), interval=0.02, patience=0.1)
    with pytest.raises(KeyboardInterrupt):
        with watch:
            time.sleep(30)
    assert watch.lost == lost


def test_a_head_that_is_silent_for_a_moment_is_waited_for() -> None:
    seen: list[Sight] = ["silent", "silent", "alive"] * 30
    answers = iter(seen)
    with RayWatch(lambda: next(answers), interval=0.01, patience=60) as watch:
        time.sleep(0.4)
    assert watch.lost is None


@pytest.mark.parametrize(("sight", "error"), [("dead", RayLostError), ("alive", KeyboardInterrupt)])
def test_a_loss_is_told_from_an_interrupt(
    sight: Sight, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    look: Callable[..., Callable[[], Sight]] = lambda is_local: lambda: sight  # noqa: E731
    monkeypatch.setattr(ray_watch, "look_at_ray", look)
    monkeypatch.setitem(RayWatch.__init__.__kwdefaults__, "interval", 0.01)
    with pytest.raises(error):
        with watched():
            if error is KeyboardInterrupt:
                raise KeyboardInterrupt
            time.sleep(30)


def test_a_driver_that_waits_in_ray_itself_is_ended_from_outside() -> None:
    ended: list[str] = []
    watch = RayWatch(lambda: "dead", interval=0.01, grace=0.1, otherwise=ended.append)
    with pytest.raises(KeyboardInterrupt):
        with watch:
            deadline = time.monotonic() + 10
            while not ended and time.monotonic() < deadline:  # as a call that no signal reaches
                try:
                    time.sleep(0.01)
                except KeyboardInterrupt:
                    continue
            raise KeyboardInterrupt
    assert ended == ["the Ray that this driver is connected to has died"]


def test_a_head_that_never_answers_is_silent_and_one_that_refuses_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = threading.Event()
    context = SimpleNamespace(get_node_id=lambda: "n", gcs_address="")

    def never() -> None:
        asked.set()
        time.sleep(600)

    ray = SimpleNamespace(get_runtime_context=lambda: context, nodes=never)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_watch, "ANSWER_SECONDS", 0.05)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        context.gcs_address = f"127.0.0.1:{head.getsockname()[1]}"
        look = ray_watch.look_at_ray(is_local=True)
        remote = ray_watch.look_at_ray()
        assert [look(), look()] == ["silent", "silent"]
        assert asked.is_set()
    assert look() == "dead"
    assert remote() == "silent"
