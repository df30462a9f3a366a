"""What a step on tensors without content takes against what one on real tensors takes."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.profiler import ProfilerActivity, profile

from shapca.build import build_model
from shapca.config import ExperimentConfig, Task
from shapca.data.batches.batch import Batch
from shapca.data.prepared import PreparedData
from shapca.data.schema import Labels
from shapca.model.device import arithmetic
from shapca.model.inputs import encode_split
from shapca.training.memory import memory_of_step, memory_of_training
from shapca.training.optimisation import Optimiser
from tests.encoder_families import SAVE
from tests.factories import tiny_config
from tests.gpu import bench_cuda

Datasets = dict[Task, PreparedData]


def measured(config: ExperimentConfig, labels: Labels, batch: Batch) -> int:
    """Bytes at the peak of a third step, by the events of torch's CPU allocator."""
    model = build_model(config, labels, pretrained=False)
    optimiser = Optimiser(
        model.parameter_groups(0.01, 1e-4, 5e-5), num_steps=9, warmup_ratio=0.1, clip_norm=1.0
    )
    generator = Generator().manual_seed(0)

    def step() -> None:
        with arithmetic(torch.device("cpu"), config.optimisation.precision):
            loss = model(batch, generator).loss
            with torch.autocast("cpu", enabled=False):
                loss.backward()
        optimiser.step()

    step()
    step()
    gc.collect()

    def size(tensors: Any) -> int:
        return sum(one.untyped_storage().nbytes() for one in tensors if isinstance(one, Tensor))

    moments = (part for state in optimiser.adamw.state.values() for part in state.values())
    resting = size([*model.parameters(), *model.buffers()]) + size(moments)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = [
        event
        for event in profiled.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.name() == "[memory]"
    ]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return resting + peak


CASES: list[tuple[Task, dict[str, Any]]] = [
    ("mner", {}),
    ("mner", {"optimisation.precision": "bf16", "image.encoder": "none"}),
    ("mner", {"alignment.objective": "none", "text.gradient_checkpointing": True}),
    ("mre", {"alignment.estimator": "cyclic"}),
    ("mjere", {"text.freeze": True}),
]


@pytest.mark.parametrize(("task", "changes"), CASES)
def test_the_forecast_is_within_a_tenth_of_what_is_measured(
    tiny_datasets: Datasets, task: Task, changes: dict[str, Any]
) -> None:
    config, data = tiny_config(task, **changes), tiny_datasets[task]
    split = encode_split(config, data, "train")
    batch = split.collate([row % len(split) for row in range(64)])  # large beside the weights
    forecast = memory_of_step(config, data.labels, batch, on_cuda=False)
    assert forecast.weights + forecast.moments < 0.9 * forecast.peak
    assert forecast.peak == pytest.approx(measured(config, data.labels, batch), rel=0.1)


@pytest.mark.parametrize(("part", "family"), [("text", "modernbert"), ("image", "vit")])
def test_encoders_whose_weights_are_drawn_within_bounds_are_forecast(
    tiny_mner: PreparedData, tmp_path: Path, part: str, family: str
) -> None:
    config = tiny_config(**{f"{part}.encoder": str(SAVE[part](family, tmp_path / family))})
    split = encode_split(config, tiny_mner, "train")
    batch = split.collate([row % len(split) for row in range(64)])
    forecast = memory_of_step(config, tiny_mner.labels, batch, on_cuda=False)
    assert forecast.peak == pytest.approx(measured(config, tiny_mner.labels, batch), rel=0.1)


def test_training_takes_its_largest_batch_and_leaves_the_process_as_it_was(
    tiny_mner: PreparedData,
) -> None:
    def peak(**changes: Any) -> int:
        config = tiny_config(**changes)
        return memory_of_training(config, tiny_mner, seed=1, on_cuda=False).peak

    sizes = [peak(**{"optimisation.batch_size": size}) for size in (4, 8, 16)]
    assert sizes == sorted(set(sizes))
    assert peak(**{"text.gradient_checkpointing": True}) <= peak()
    config = tiny_config()
    model = build_model(config, tiny_mner.labels, pretrained=False)
    batch = encode_split(config, tiny_mner, "train").collate([0, 1, 2, 3])
    assert torch.isfinite(model(batch, Generator().manual_seed(0)).loss)


def test_pictures_of_a_frozen_encoder_are_encoded_before(tiny_mner: PreparedData) -> None:
    frozen = tiny_config(**{"image.freeze": True})
    augmented = tiny_config(**{"image.freeze": True, "image.augment": True})
    found = [
        memory_of_training(config, tiny_mner, seed=1, on_cuda=False)
        for config in (frozen, augmented)
    ]
    assert found[0].at_work < found[1].at_work


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "precision", "on_h100"),
    [
        ("mner", "fp32", 5.29),
        ("mner", "bf16", 3.93),
        ("mre", "bf16", 3.94),
        ("mjere", "bf16", 3.94),
    ],
)
def test_the_forecast_for_a_gpu_is_what_an_h100_took(
    tiny_datasets: Datasets, task: Task, precision: str, on_h100: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """GiB that `tests/gpu/bench_cuda.py` measured: 28 posts, 12 layers, ResNet-50 at 224 pixels."""
    monkeypatch.setattr(bench_cuda, "BATCH", 28)
    monkeypatch.setattr(bench_cuda, "WORDS", 24)
    monkeypatch.setattr(bench_cuda, "PIECES", 96)
    monkeypatch.setattr(bench_cuda, "SIZES", bench_cuda.FULL)
    changes = {"optimisation.precision": precision, "alignment.estimator": "cyclic"}
    config = bench_cuda.full_size(task, **changes)
    data = tiny_datasets[task]
    batch = bench_cuda.batch_of(data, config)
    forecast = memory_of_step(config, data.labels, batch, on_cuda=True)
    assert forecast.peak / 2**30 == pytest.approx(on_h100, rel=0.05)
