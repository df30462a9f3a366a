"""Exact Shapley values against Algorithm 1: time of loss and gradient, and how far they grow.

A step is forward and backward of the loss of four directions of k posts, from float32
similarities. The sides of a ratio are timed in turn, on one thread of a CPU or on a GPU, and the
ratio is of the best rounds. Similarities are `trained` (positive pairs .8, others .1 with a
deviation of .15) or `uniform` in [-1, 1].

`python -m tests.benchmarks.bench_exact --device cuda` prints the ratios of a GPU, the errors
against the whole grid of the integral there, and fails if a step waits for the GPU.
"""

from __future__ import annotations

import argparse
from functools import partial

import pytest
import torch
from torch import Tensor

from shapca import shapley
from shapca.alignment import shapley_contrastive_loss
from tests.benchmarks.timing import Step, best_seconds

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

KINDS = ("trained", "uniform")
PLAYERS = (28, 64, 128, 256)
ROUNDS = {28: 40, 64: 30, 128: 12, 256: 6}
MOST = {28: 5, 64: 10, 128: 12, 256: 6.5}  # times as long as `cyclic`, also on a busy machine
PRECISE = partial(shapley.exact, tolerance=1e-9)


def similarities(num_players: int, kind: str, device: str = "cpu") -> Tensor:
    """Cosines (4, k, k) of four directions."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, num_players, num_players)
    if kind == "uniform":
        matrices = torch.rand(shape, generator=generator) * 2 - 1
    else:
        matrices = (0.1 + 0.15 * torch.randn(shape, generator=generator)).clamp(-1, 1)
        matrices.diagonal(dim1=1, dim2=2).fill_(0.8)
    return matrices.to(device).requires_grad_()


def loss_step(
    similarity: Tensor,
    estimator: str | shapley.Estimator,
    *,
    temperature: float = 0.1,
    negatives: str = "sum",
) -> Step:
    """Loss and gradient, waited for."""
    device = similarity.device
    generator = torch.Generator(device).manual_seed(0)

    def step() -> Tensor:
        losses = shapley_contrastive_loss(
            similarity, temperature, estimator, negatives, generator=generator
        )
        (gradient,) = torch.autograd.grad(losses.mean(), similarity)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return gradient

    return step


def compare(
    num_players: int, kind: str, device: str = "cpu", *, temperature: float = 0.1,
    negatives: str = "sum",
) -> float:  # fmt: skip
    """Print and return how many times as long as `cyclic` the exact values take."""
    similarity = similarities(num_players, kind, device)
    steps = [
        loss_step(similarity, name, temperature=temperature, negatives=negatives)
        for name in ("cyclic", "exact")
    ]
    cyclic, exact = best_seconds(*steps, rounds=ROUNDS[num_players])
    print(
        f"{device}, k = {num_players}, tau = {temperature}, {kind} similarities, negatives "
        f"{negatives}: exact {1e3 * exact:.2f} ms, cyclic {1e3 * cyclic:.2f} ms; "
        f"{exact / cyclic:.1f} times as long"
    )
    return exact / cyclic


@pytest.mark.parametrize("num_players", PLAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_exact_against_cyclic(num_players, kind):
    print()
    assert compare(num_players, kind) <= MOST[num_players]


@pytest.mark.parametrize("temperature", [0.02, 0.3])
def test_other_temperatures(temperature):
    print()
    assert compare(28, "uniform", temperature=temperature) <= 40  # the whole grid took 43 to 69


def test_all_values():
    print()
    for num_players in (28, 64):
        assert compare(num_players, "trained", negatives="softmax") <= 15  # the grid: 15 to 31


def test_growth_with_the_players():
    seconds = {}
    for k in (28, 256):
        similarity = similarities(k, "trained")
        steps = (loss_step(similarity, estimator) for estimator in ("cyclic", "exact"))
        seconds[k] = best_seconds(*steps, rounds=ROUNDS[k])
    # Twice the scans at 256, and 1.6 times the nodes of q.
    for small, large, cost in zip(seconds[28], seconds[256], (2, 1.6), strict=True):
        print(f"\nfrom 28 to 256 players: {large / small:.0f} times as long", end="")
        assert large / small <= 2 * cost * (256 / 28) ** 2


def check_device(device: str) -> None:
    """Errors against the whole grid, and that no step waits for a GPU."""
    for kind in KINDS:
        similarity = similarities(28, kind, device)
        found = loss_step(similarity, "exact")()
        expected = loss_step(similarity, PRECISE)()
        error = (found - expected).abs().max() / expected.abs().max()
        on_cpu = loss_step(similarity.detach().cpu().requires_grad_(), "exact")()
        apart = (found.cpu() - on_cpu).abs().max() / on_cpu.abs().max()
        print(
            f"{device}, {kind}: the gradient is within {error:.1e} of the whole grid's "
            f"and {apart:.1e} of the CPU's, relative to its largest entry"
        )
    if torch.device(device).type != "cuda":
        return
    similarity = similarities(28, "uniform", device)
    for negatives in ("sum", "softmax"):
        loss_step(similarity, "exact", negatives=negatives)()  # tables are made
        torch.cuda.set_sync_debug_mode("error")
        losses = shapley_contrastive_loss(similarity, 0.1, "exact", negatives)
        torch.autograd.grad(losses.mean(), similarity)
        torch.cuda.set_sync_debug_mode("default")
        print(f"{device}, negatives {negatives}: a step of `exact` waits for nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--players", type=int, nargs="+", default=PLAYERS, choices=PLAYERS)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.1])
    parser.add_argument("--negatives", nargs="+", default=["sum", "softmax"])
    arguments = parser.parse_args()
    if torch.device(arguments.device).type == "cuda":
        print(torch.cuda.get_device_name(arguments.device))
    check_device(arguments.device)
    for temperature in arguments.temperatures:
        for negatives in arguments.negatives:
            for num_players in arguments.players:
                for kind in KINDS:
                    compare(
                        num_players, kind, arguments.device,
                        temperature=temperature, negatives=negatives,
                    )  # fmt: skip


if __name__ == "__main__":
    main()
