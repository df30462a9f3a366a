"""How many trials a GPU has room for, and what is said where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.checks import memory
from orchestrator.sweeps.checks.memory import (
    CUDA_ITSELF,
    examine_memory,
    memory_of,
    parse_size,
    room_for,
    with_gpu_share,
)
from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.model.network import ShapCA
from shapca.training.memory import NoForecast, StepMemory
from tests.encoder_families import save_text_encoder
from tests.factories import tiny_config

GIB = 2**30
STEP = StepMemory(weights=GIB, moments=2 * GIB, peak=6 * GIB - CUDA_ITSELF)  # 6 GiB a process


def sweep_of(gpu: Any = "auto", **space: Any) -> SweepConfig:
    experiment = tiny_config(**{"image.encoder": "none"})
    return SweepConfig.model_validate(
        {
            "name": "memory",
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {"optimisation.batch_size": {"type": "choice", "values": [2, 16]}, **space},
            "resources": {"gpu": gpu},
        }
    )


@pytest.mark.parametrize(("gib", "trials"), [(80, 12), (24, 3), (14, 2), (6, 0)])
def test_trials_that_a_gpu_has_room_for(gib: int, trials: int) -> None:
    assert room_for(STEP, gib * GIB) == trials


def test_the_largest_configuration_counts(tiny_root: Path) -> None:
    found = memory_of(sweep_of(), tiny_root, on_cuda=True)
    small = sweep_of(**{"optimisation.batch_size": {"type": "choice", "values": [2, 4]}})
    assert memory_of(small, tiny_root, on_cuda=True).peak < found.peak


def test_weights_that_were_sent_are_found(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submitted driver has no such folder as the sweep's file names."""
    here = save_text_encoder("bert", tmp_path / "received")

    def locate(config: ExperimentConfig) -> ExperimentConfig:
        text = config.text.model_copy(update={"encoder": str(here)})
        return config.model_copy(update={"text": text})

    monkeypatch.setattr(memory, "ask_nodes", lambda *_, **__: {"one": 80 * GIB})
    there = {"type": "choice", "values": [str(tmp_path / "there")]}
    sweep = sweep_of(**{"text.encoder": there})
    assert with_gpu_share(sweep, tiny_root, locate).resources.gpus < 0.012
    with pytest.raises(InputError, match="expected the folder of a model"):
        with_gpu_share(sweep, tiny_root)


@pytest.mark.parametrize(
    ("gib", "share"), [(80, 0.0833), (14, 0.5), (7, 1.0), (6, None), (None, None)]
)
def test_auto_becomes_a_share(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    gib: int | None, share: float | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory, "memory_of", lambda *_, **__: STEP)
    sizes = {"one": None if gib is None else 90 * GIB, "other": None if gib is None else gib * GIB}
    monkeypatch.setattr(memory, "ask_nodes", lambda *_, **__: sizes)
    if share is None:
        message = "no node has a GPU" if gib is None else "takes 5.2 GiB at its peak"
        with pytest.raises(InputError, match=message):
            with_gpu_share(sweep_of(), tiny_root)
        return
    settled = with_gpu_share(sweep_of(), tiny_root)
    assert (settled.resources.gpu, settled.resources.gpus) == (share, share)
    assert f"resources.gpu={share:g}" in capsys.readouterr().err
    assert sweep_of().resources.gpus == 1


@pytest.mark.parametrize(
    ("gpu", "gib", "level", "remedy"),
    [
        (0.25, 24, "fail", "--set resources.gpu=0.34, or auto"),
        (0.34, 24, "ok", ""),
        (1, 24, "ok", ""),
        ("auto", 24, "ok", ""),
        (1, 6, "fail", "--set experiment.optimisation.batch_size=8 with"),
        (1, None, "ok", ""),
    ],
)
def test_what_does_not_fit_is_refused_beforehand(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch, gpu: Any, gib: int | None, level: str,
    remedy: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory, "memory_of", lambda *_, **__: STEP)
    card = None if gib is None else gib * GIB
    [finding] = examine_memory(sweep_of(gpu), tiny_root, card)
    assert finding.level == level, finding
    assert finding.remedy.startswith(remedy)
    assert "5.2 GiB" in finding.message


def test_a_model_that_needs_content_is_one_message(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShapCA, "forward", lambda _, batch, __: torch.nonzero(batch.input_ids))
    with pytest.raises(NoForecast, match="no forecast for this model"):
        memory_of(sweep_of(), tiny_root, on_cuda=True)
    [finding] = examine_memory(sweep_of(), tiny_root, 80 * GIB)
    assert (finding.level, finding.subject) == ("warn", "memory")


def test_data_that_are_not_here_are_not_drawn(tmp_path: Path) -> None:
    tree = sweep_of().model_dump(mode="json")
    tree["experiment"]["data"] = {"dataset": "synthetic"}
    sweep = SweepConfig.model_validate(tree)
    assert list(examine_memory(sweep, tmp_path, 24 * GIB)) == []
    assert not list(tmp_path.iterdir())


def test_sizes() -> None:
    assert parse_size("24GiB") == parse_size(" 24 ") == 24 * GIB
    assert parse_size("80 GB") == 80 * 10**9
    assert parse_size("512MiB") == 512 * 2**20
    for wrong in ("", "24x", "-1GiB", "nan", "infGiB", "GiB"):
        with pytest.raises(InputError, match="--gpu-memory: expected a size"):
            parse_size(wrong)


def test_the_forecast_says_how_many_trials_a_gpu_takes(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(sweep_of(0).model_dump(mode="json", exclude_unset=True)))
    arguments = ["forecast", str(file), "--storage", str(tmp_path / "s"), "--epoch-seconds", "9"]
    arguments += ["--gpu-memory", "2GiB", "--slots", "1"]
    app(args=[*arguments, "--data-root", str(tiny_root), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)["memory"]
    step = memory_of(sweep_of(), tiny_root, on_cuda=True)
    assert (found["peak"], found["weights"]) == (step.peak, step.weights)
    assert found["trials_a_gpu"] == room_for(step, 2 * GIB) > 0
    app(args=[*arguments, "--data-root", str(tmp_path)], standalone_mode=False)
    assert "memory of a trial: not known here (" in capsys.readouterr().out
