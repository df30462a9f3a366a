"""The CRF's likelihood with its gradient, against the package `pytorch-crf`, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchcrf import CRF as LibraryCRF

from shapca.model.heads.crf import CRF
from tests.benchmarks.timing import best_seconds
from tests.head_batches import prefix_mask

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

B, L = 28, 9


@pytest.mark.parametrize("num_words", [10, 20, 40, 100])
def test_against_the_library(num_words: int) -> None:
    torch.manual_seed(0)
    mask = prefix_mask([num_words - post % (num_words // 2) for post in range(B)])
    tags = torch.randint(L, mask.shape) * mask
    emissions = (3 * torch.randn(*mask.shape, L)).requires_grad_()
    library, own = LibraryCRF(L, batch_first=True), CRF(L)
    own.load_state_dict(library.state_dict())

    def step(crf: Any, likelihood: Callable[[], Tensor]) -> Callable[[], list[Tensor]]:
        wanted = [emissions, *crf.parameters()]

        def run() -> list[Tensor]:
            loss = -likelihood().mean()
            return [loss, *torch.autograd.grad(loss, wanted)]

        return run

    theirs = step(library, lambda: library(emissions, tags, mask, reduction="none"))
    ours = step(own, lambda: own(emissions, tags, mask))
    for found, expected in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    slow, fast = best_seconds(theirs, ours, rounds=20)
    print(
        f"\nCRF of {B} posts of up to {num_words} words, {L} tags: pytorch-crf "
        f"{1e3 * slow:.2f} ms, here {1e3 * fast:.2f} ms; {slow / fast:.1f} times"
    )
    assert slow / fast >= 1.2
