"""What stays idle on the nodes, and which value would use it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import ray

from orchestrator.cluster import resources as of_nodes
from orchestrator.cluster.resources import idle, wait_for_gpu
from orchestrator.config.resources import ResourceConfig


@pytest.mark.parametrize(
    ("nodes", "resources", "said"),
    [
        ([{"CPU": 2.0}], ResourceConfig(cpu=1), None),
        ([{"CPU": 16.0, "GPU": 4.0}], ResourceConfig(cpu=4, gpu=1), None),
        (
            [{"CPU": 8.0, "GPU": 4.0}], ResourceConfig(cpu=4, gpu=1),
            "2 GPUs stay idle: resources.cpu=2 (now 4) runs 4 trials at once",
        ),
        (
            [{"CPU": 2.0, "GPU": 4.0}], ResourceConfig(cpu=1, gpu=1),
            "2 GPUs stay idle: resources.cpu=0.5 (now 1) runs 4 trials at once",
        ),
        ([{"CPU": 16.0, "GPU": 1.0}], ResourceConfig(cpu=1, gpu=0.01), None),
        (
            [{"CPU": 8.0, "GPU": 2.0}], ResourceConfig(cpu=1),
            "2 GPUs stay idle: resources.gpu=1 trains on them",
        ),
        (
            [{"CPU": 4.0, "GPU": 1.0}], ResourceConfig(cpu=1, gpu=0.6),
            "0.4 GPUs stay idle: resources.gpu=0.5 (now 0.6) runs 2 trials at once",
        ),
        (
            [{"CPU": 8.0, "GPU": 4.0}], ResourceConfig(cpu=2, gpu=1, max_concurrent=3),
            "1 GPU stays idle: resources.max_concurrent=4 runs 4 trials at once",
        ),
        (
            [{"CPU": 16.0, "GPU": 1.0}], ResourceConfig(cpu=1, gpu=1),
            "15 cores stay idle: resources.cpu=16 (now 1) gives them to the trials",
        ),
        (
            [{"CPU": 8.0}], ResourceConfig(cpu=3),
            "2 cores stay idle: resources.cpu=4 (now 3) gives them to the trials",
        ),
        (
            [{"CPU": 7.0}], ResourceConfig(cpu=2),
            "1 core stays idle: resources.cpu=1 (now 2) runs 7 trials at once",
        ),
        ([{"CPU": 2.0}], ResourceConfig(cpu=4), None),  # an error of its own
    ],
)  # fmt: skip
def test_what_stays_idle_is_said_with_the_value_that_uses_it(
    nodes: list[dict[str, float]], resources: ResourceConfig, said: str | None
) -> None:
    assert idle(nodes, resources) == said
    if said is None:
        return
    key, value = re.search(r"resources\.(\w+)=([\d.]+)", said).groups()  # type: ignore[union-attr]
    better = resources.model_copy(update={key: float(value)})
    again = idle(nodes, better)
    assert again is None or ("GPU" in said and "GPU" not in again)  # at most cores are left


def test_a_gpu_that_is_still_to_come_is_asked_for_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []
    looks = 0

    class Asked:
        def __call__(self, function: Any) -> Asked:
            return self

        def remote(self) -> str:
            return "task"

    def remote(**options: Any) -> Asked:
        asked.append(options)
        return Asked()

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 9:
            raise RuntimeError("the lease is lost")

    def wait(tasks: list[str], timeout: float) -> tuple[list[str], list[str]]:
        return (tasks, []) if looks == 3 else ([], tasks)

    cancelled: list[str] = []
    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "cancel", cancelled.append)
    monkeypatch.setattr(of_nodes, "node_resources", lambda: [{"CPU": 4.0}, {"GPU": 1.0}])
    wait_for_gpu(look)
    assert asked == []
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(of_nodes, "node_resources", lambda: [{"CPU": 4.0}])
    wait_for_gpu(look)
    assert asked == [{"num_cpus": 0, "num_gpus": 1}]
    assert looks == 3
    assert "waiting for a node with a GPU" in capsys.readouterr().err
    looks = 4
    with pytest.raises(RuntimeError, match="lease is lost"):
        wait_for_gpu(look)
    assert cancelled == ["task"] * 2
