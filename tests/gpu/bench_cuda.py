"""Figures of a real GPU: time and kernels of a training step, of its alignment, and of the CRF.

Models as users train them (a BERT of twelve layers, ResNet-50 at 224 pixels, 28 posts), with
random weights and pictures. `-s` shows the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from shapca.build import build_model
from shapca.config import ExperimentConfig, Task, with_value
from shapca.data.batches.batch import Batch
from shapca.data.prepared import PreparedData
from shapca.model.heads.crf import CRF
from shapca.model.heads.partition import Recursion, Scan
from shapca.model.inputs import encode_split
from shapca.model.network import ShapCA
from shapca.shapley import find_estimator
from shapca.training.optimisation import Optimiser
from tests.factories import tiny_config
from tests.gpu.device import DEVICE, IS_CUDA, device_name, milliseconds, needs_device, num_kernels
from tests.gpu.steps import backward
from tests.head_batches import prefix_mask
from tests.oracles import crf as oracle

pytestmark = needs_device

Datasets = dict[Task, PreparedData]
BATCH, WORDS, PIECES = (28, 24, 96) if IS_CUDA else (4, 8, 24)
FULL: dict[str, Any] = {
    "text.encoder": "bert-base-uncased", "image.encoder": "resnet50", "image.size": 224,
    "fusion.width": 256, "head.hidden": 150, "head.channel_width": 100,
    "optimisation.batch_size": 28,
}  # fmt: skip
SIZES = FULL if IS_CUDA else {}


def full_size(task: Task, **changes: Any) -> ExperimentConfig:
    tree = tiny_config(task).model_dump()
    for key, value in {**SIZES, **changes}.items():
        tree = with_value(tree, key, value)
    return ExperimentConfig.model_validate(tree)


def batch_of(data: PreparedData, config: ExperimentConfig) -> Batch:
    """A batch of `BATCH` posts of `WORDS` words and `PIECES` sub-words, drawn at random."""
    base = encode_split(tiny_config(config.task), data, "train").collate([0] * BATCH)
    words = torch.ones(BATCH, WORDS, dtype=torch.bool)
    num_text, places = 2 * WORDS, torch.arange(PIECES)
    context = torch.arange(num_text + 2, PIECES - 1).expand(BATCH, -1)
    of_task: dict[str, Any] = {}
    if config.task == "mner":
        of_task["tags"] = torch.randint(len(data.labels.tags), words.shape)
    else:
        cells = torch.ones(BATCH, WORDS, WORDS, dtype=torch.bool).triu()
        if config.task == "mre":
            cells &= torch.arange(WORDS)[:, None] < 2
        of_task |= {"pair_mask": cells, "pair_labels": cells.long()}
    return dataclasses.replace(
        base,
        input_ids=torch.randint(5, 60, (BATCH, PIECES)),
        attention_mask=torch.ones(BATCH, PIECES, dtype=torch.long),
        token_type_ids=(places > num_text + 1).long().expand(BATCH, -1).contiguous(),
        text_mask=((places > 0) & (places <= num_text)).expand(BATCH, -1).contiguous(),
        word_starts=torch.arange(1, num_text, 2).expand(BATCH, -1).contiguous(),
        word_mask=words,
        context_positions=context.contiguous(),
        context_mask=torch.ones_like(context, dtype=torch.bool),
        pos=torch.ones(BATCH, WORDS, dtype=torch.long),
        image_mask=torch.arange(BATCH) > 1,
        image_ids=torch.arange(BATCH),
        images=torch.randint(
            256, (BATCH, 3, config.image.size, config.image.size), dtype=torch.uint8
        ),
        **of_task,
    )


def training_step(
    datasets: Datasets, config: ExperimentConfig, precision: str
) -> tuple[ShapCA, Callable[[], None]]:
    """A model and what trains it by one step."""
    data = datasets[config.task]
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = build_model(config, data.labels, device=DEVICE, pretrained=False)
    optimiser = Optimiser(
        model.parameter_groups(0.01, 1e-4, 5e-5), num_steps=1000, warmup_ratio=0.1, clip_norm=1.0
    )
    batch = batch_of(data, config)
    batch = batch.pin_memory() if IS_CUDA else batch

    def step() -> None:
        backward(model, batch.to(DEVICE), precision)
        optimiser.step()

    return model, step


@pytest.mark.parametrize(
    ("task", "precision"),
    [("mner", "fp32"), ("mner", "tf32"), ("mner", "bf16"), ("mre", "bf16"), ("mjere", "bf16")],
)
def test_a_training_step(tiny_datasets: Datasets, task: Task, precision: str) -> None:
    model, step = training_step(tiny_datasets, full_size(task), precision)
    if IS_CUDA:
        torch.cuda.reset_peak_memory_stats(DEVICE)
    taken = milliseconds(step)
    peak = torch.cuda.max_memory_allocated(DEVICE) / 2**30 if IS_CUDA else 0.0
    kernels = num_kernels(step)
    model.alignment.estimator = find_estimator("cyclic")
    sampled = milliseconds(step)
    model.alignment = None
    without = milliseconds(step)
    shares = [100 * (1 - without / whole) for whole in (taken, sampled)]
    print(
        f"\n{device_name()}: {task}, {precision}: {taken:.1f} ms a step, {kernels} kernels, peak "
        f"{peak:.2f} GiB; by cyclic {sampled:.1f} ms, without {without:.1f} ms; alignment is "
        f"{shares[0]:.1f} % of a step, by cyclic {shares[1]:.1f} %"
    )
    assert taken > 0


def test_the_crf_in_a_training_step(tiny_datasets: Datasets) -> None:
    _, step = training_step(tiny_datasets, full_size("mner"), "bf16")
    fast, few = milliseconds(step), num_kernels(step)
    with mock.patch.object(CRF, "forward", oracle.log_likelihood):
        slow, many = milliseconds(step), num_kernels(step)
    print(
        f"\n{device_name()}: mner, bf16: {slow:.1f} ms and {many} kernels a step with the CRF word "
        f"by word, {fast:.1f} ms and {few} kernels with its own gradient"
    )
    assert fast < 1.05 * slow or not IS_CUDA


@pytest.mark.parametrize("num_words", [20, 40, 100])
def test_the_crf_alone(num_words: int) -> None:
    torch.manual_seed(0)
    crf = CRF(9).to(DEVICE)
    mask = prefix_mask([num_words - post % (num_words // 2) for post in range(28)])
    tags = (torch.randint(9, mask.shape) * mask).to(DEVICE)
    emissions = (3 * torch.randn(*mask.shape, 9)).to(DEVICE).requires_grad_()
    mask = mask.to(DEVICE)

    def step(likelihood: Callable[..., Tensor]) -> Callable[[], None]:
        return lambda: likelihood(emissions, tags, mask).mean().backward()

    def by(way: Any) -> tuple[float, int]:
        with mock.patch("shapca.model.heads.crf.log_partition", way.apply):
            return milliseconds(step(crf)), num_kernels(step(crf))

    old = step(lambda *given: oracle.log_likelihood(crf, *given))
    figures = {
        "word by word": (milliseconds(old, rounds=5), num_kernels(old)),
        "recursion": by(Recursion),
        "scan": by(Scan),
    }
    print(
        f"\n{device_name()}: the CRF of 28 posts of up to {num_words} words, forward and backward"
    )
    for name, (taken, kernels) in figures.items():
        print(f"  {name:13} {taken:7.2f} ms {kernels:5d} kernels")
    if IS_CUDA:
        assert figures["scan"][0] < figures["word by word"][0] / 3
