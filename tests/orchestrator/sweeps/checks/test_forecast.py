"""What a sweep will take: early stopping's arithmetic, a real epoch, and how far off it was."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli import app
from orchestrator.config.sweep import SchedulerConfig, SweepConfig
from orchestrator.search.expected_epochs import expected_epochs, simulate
from orchestrator.sweeps.checks import memory
from orchestrator.sweeps.checks.forecast import (
    cost_of_another,
    disk_bytes,
    forecast,
    past_forecasts,
    record,
    recorded_cost,
)
from orchestrator.sweeps.checks.memory import CUDA_ITSELF
from orchestrator.sweeps.checks.probe import EpochCost, middle, probe
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.history import History
from shapca.config import RuntimeConfig
from shapca.errors import InputError
from shapca.storage import FolderStore
from shapca.training.memory import StepMemory
from tests.factories import tiny_config
from tests.orchestrator.fakes import execute, open_sweep, sweep_config

COST = EpochCost(seconds=36.0, checkpoint_bytes=300, best_bytes=100, source="a test")


def asha(grace: int, factor: int) -> SchedulerConfig:
    return SchedulerConfig(kind="asha", grace_period=grace, reduction_factor=factor)


@pytest.mark.parametrize(("grace", "factor", "epochs"), [(1, 2, 8), (2, 3, 18), (3, 3, 27)])
def test_many_trials_take_the_epochs_of_the_formula(grace: int, factor: int, epochs: int) -> None:
    formula, rung, share = float(grace), grace, 1.0
    while rung < epochs:
        share /= factor
        following = min(rung * factor, epochs)
        formula += share * (following - rung)
        rung = following
    assert expected_epochs(asha(grace, factor), epochs, 5000) == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize(("grace", "factor", "epochs"), [(1, 2, 8), (2, 3, 20), (2, 2, 5)])
def test_the_arithmetic_is_the_schedulers_own(grace: int, factor: int, epochs: int) -> None:
    from orchestrator.search.pruners import build_pruner

    generator = random.Random(3)
    qualities = [generator.random() for _ in range(40)]
    pruner, taken = build_pruner(asha(grace, factor), epochs), []
    for number, quality in enumerate(qualities, start=1):
        for epoch in range(1, epochs + 1):
            if pruner.observe(number, epoch, quality):
                break
        taken.append(epoch)
        pruner.end(number)
    assert simulate(asha(grace, factor), epochs, qualities) == taken
    assert len(set(taken)) > 2


def test_few_trials_are_stopped_less() -> None:
    few, many = (expected_epochs(asha(1, 3), 27, trials) for trials in (3, 300))
    assert many < few < 27
    assert expected_epochs(asha(1, 3), 27, 1) == 27
    assert expected_epochs(asha(5, 3), 5, 9) == 5
    assert expected_epochs(SchedulerConfig(kind="none"), 7, 9) == 7


def test_phases_slots_and_gpu_hours(tmp_path: Path) -> None:
    sweep = sweep_config(
        scheduler={"kind": "none"},
        experiment={"optimisation": {"epochs": 10}},
        resources={"gpu": 0.5},
        budget={"wall_hours": 0.5, "cells": 100, "gpu_hours": 0.1},
    )
    history = History.read(FolderStore(tmp_path), sweep)
    found = forecast(sweep, history, COST, slots=2, now=1000.0)
    # 6 + 2 + 2 trials of 10 epochs of 36 s: 0.1 h each.
    assert [(p.phase, p.trials, p.epochs) for p in found.phases] == [
        ("search", 6, 10), ("shortlist", 2, 10), ("confirm", 2, 10),
    ]  # fmt: skip
    assert [p.hours for p in found.phases] == pytest.approx([0.3, 0.1, 0.1])
    assert found.hours == pytest.approx(0.5) == found.hours_at_most
    assert found.gpu_hours == pytest.approx(10 * 0.1 * 0.5)
    assert found.limits == ("gpu_hours 0.1",)
    # A phase takes as long as one of its trials, however many slots there are.
    assert forecast(sweep, history, COST, slots=99).hours == pytest.approx(0.3)
    assert forecast(sweep, history, COST, slots=1).limits == ("wall_hours 0.5", "gpu_hours 0.1")


def test_disk_follows_retention() -> None:
    planned = {"search": 6, "shortlist": 2, "confirm": 2}
    busy = 2 * (300 + 100)
    for keep, kept in (("confirmed", 2), ("leaders", 2 + 2 * 2), ("all", 10)):
        sweep = sweep_config(keep_models=keep)
        assert disk_bytes(sweep, planned, COST, slots=1) == busy + kept * 100
        assert disk_bytes(sweep, planned, COST, slots=3) == 3 * busy + kept * 100


def test_a_sweep_is_compared_with_what_was_said_of_it(tmp_path: Path) -> None:
    store, sweep = FolderStore(tmp_path), sweep_config()

    before = forecast(sweep, History.read(store, sweep), COST, slots=1)
    record(store, before)
    assert past_forecasts(store) == []  # not begun
    remember(store, sweep)
    assert past_forecasts(store) == []
    conductor = open_sweep(tmp_path, sweep)
    execute(conductor, tmp_path)
    history = History.read(store, sweep)
    [past] = past_forecasts(store)
    assert past.sweep == "small"
    assert past.forecast_hours == pytest.approx(before.hours)
    assert past.actual_hours == pytest.approx(history.wall_seconds() / 3600)
    assert past.error == pytest.approx(past.actual_hours / before.hours - 1)
    # Now the sweep's own epochs say what one costs, and nothing is left.
    cost = recorded_cost(store, history)
    assert cost is not None
    trained = [end for end in history.ended.values() if end.trained]
    assert cost.seconds * sum(end.trained for end in trained) == pytest.approx(
        sum(end.seconds for end in trained)
    )
    assert cost.best_bytes == len(b"weights")
    after = forecast(sweep, history, cost, slots=1)
    assert after.hours == 0
    record(store, after)
    assert len(past_forecasts(store)) == 1


def test_the_middle_of_a_space() -> None:
    sweep = sweep_config(
        space={
            "optimisation.batch_size": {"type": "int", "low": 4, "high": 64, "log": True},
            "fusion.gate": {"type": "choice", "values": ["tanh", "sigmoid"]},
        }
    )
    assert middle(sweep) == {
        "optimisation.learning_rate": pytest.approx(1e-3),
        "alignment.alpha": 0.5,
        "optimisation.batch_size": 16,
        "fusion.gate": "sigmoid",
    }
    sweep.resolve(middle(sweep))


def space_of(tmp_path: Path, **changes: Any) -> Path:
    experiment = tiny_config(**{"image.encoder": "none"})
    tree = {
        "name": "probed",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3, 1e-3]}},
        "protocol": {"sampler": "grid", "shortlist": 1, "confirm_seeds": [11]},
        **changes,
    }
    path = tmp_path / "probed.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_the_command_trains_one_epoch_and_remembers_what_it_said(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "storage"
    arguments = ["forecast", str(space_of(tmp_path)), "--storage", str(storage), "--slots", "2"]
    with pytest.raises(InputError):  # data that are not there: nothing is made
        app(args=[*arguments, "--data-root", str(tmp_path)], standalone_mode=False)
    assert not storage.exists()
    arguments += ["--data-root", str(tiny_root)]
    app(args=[*arguments, "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert f"storage {storage} did not exist" in err
    found = json.loads(out)
    assert found["cost"]["source"].startswith("one epoch on ")
    assert found["cost"]["seconds"] > 0
    # Weights and two moments of each: the checkpoint is some three times the best weights.
    assert 2.5 < found["cost"]["checkpoint_bytes"] / found["cost"]["best_bytes"] < 3.5
    assert [phase["trials"] for phase in found["phases"]] == [2, 0, 1]
    assert found["past"] == []
    assert len(list(storage.glob("sweeps/probed/forecasts/*.json"))) == 1
    assert not list(storage.glob("cells/*"))  # the probe leaves no cell behind


def test_a_stored_sweep_is_forecast_by_its_name(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "storage"
    options = ["--storage", str(storage), "--data-root", str(tiny_root), "--slots", "2", "--json"]
    options += ["--epoch-seconds", "36", "--set", "protocol.confirm_seeds=[11,12]"]
    with pytest.raises(InputError, match=r"no such file.*nor is there a sweep of that name"):
        app(args=["forecast", "probed", *options], standalone_mode=False)
    remember(FolderStore(storage), SweepConfig.load(space_of(tmp_path)))
    app(args=["forecast", "probed", *options], standalone_mode=False)
    app(args=["forecast", str(tmp_path / "probed.yaml"), *options], standalone_mode=False)
    by_name, by_file = map(json.loads, capsys.readouterr().out.splitlines())
    assert [phase["trials"] for phase in by_name["phases"]] == [2, 0, 2]
    assert by_name["phases"] == by_file["phases"]


def test_a_probe_is_of_the_sweeps_own_configuration(tiny_root: Path, tmp_path: Path) -> None:
    sweep = SweepConfig.load(space_of(tmp_path))
    cost = probe(sweep, RuntimeConfig(data_root=tiny_root, num_threads=1, device="cpu"))
    assert cost.source == "one epoch on cpu, 1 thread"
    assert cost.start_seconds > 0


def test_a_gpu_sweep_is_forecast_on_a_machine_without_a_gpu(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a figure that is given, or from another sweep of the same model and data."""
    storage = tmp_path / "storage"
    space = space_of(tmp_path, resources={"gpu": 1})
    arguments = ["forecast", str(space), "--storage", str(storage), "--data-root", str(tiny_root)]
    with pytest.raises(InputError, match="this machine has no GPU to measure an epoch on: give"):
        app(args=arguments, standalone_mode=False)
    app(args=[*arguments, "--epoch-seconds", "36", "--slots", "2", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["cost"]["seconds"], found["cost"]["source"]) == (36, "as given")
    assert found["cost"]["checkpoint_bytes"] == 3 * found["cost"]["best_bytes"] > 0
    search = found["phases"][0]
    assert search["trial_hours"] == pytest.approx(search["trials"] * search["epochs"] / 100)
    assert found["gpu_hours"] == pytest.approx(sum(p["trial_hours"] for p in found["phases"]))


@pytest.mark.parametrize("size", ["80GiB", "10MiB", None])
def test_gpu_hours_of_auto_are_those_of_its_share(
    size: str | None, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    step = StepMemory(weights=2**30, moments=2**31, peak=6 * 2**30 - CUDA_ITSELF)
    monkeypatch.setattr(memory, "memory_of", lambda *_, **__: step)
    space = space_of(tmp_path, resources={"gpu": "auto"})
    arguments = ["forecast", str(space), "--storage", str(tmp_path / "storage"), "--slots", "2"]
    arguments += ["--data-root", str(tiny_root), "--epoch-seconds", "36", "--json"]
    arguments += [] if size is None else ["--gpu-memory", size]
    app(args=arguments, standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    hours = sum(phase["trial_hours"] for phase in found["phases"])
    share = 0.0833 if size == "80GiB" else 1  # a card that is not known, or has no room, counts one
    assert found["memory"]["trials_a_gpu"] == {"80GiB": 12, "10MiB": 0}.get(size or "")
    assert found["gpu_hours"] == pytest.approx(share * hours)


def test_another_sweep_of_the_same_model_says_what_an_epoch_costs(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    sweep = sweep_config(resources={"gpu": 1}, name="new")
    assert cost_of_another(store, sweep) is None
    for name, gpu in (("on-cpus", 0), ("measured", 1)):
        done = sweep_config(resources={"gpu": gpu}, name=name)
        remember(store, done)
        execute(open_sweep(tmp_path, done), tmp_path)
    found = cost_of_another(store, sweep)
    assert found is not None
    assert found.source.endswith("epochs of sweep measured")
    measured = sweep_config(resources={"gpu": 1}, name="measured")
    its_own = recorded_cost(store, History.read(store, measured))
    assert its_own is not None
    assert found.seconds == its_own.seconds
    other = sweep_config(resources={"gpu": 1}, experiment={"fusion": {"kind": "none"}})
    assert cost_of_another(store, other) is None
