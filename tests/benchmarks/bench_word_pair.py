"""The word-pair head against Eq. 14 taken literally: time and memory, forward and backward.

B posts, W words, D width of the text channel, D1 of the others, D2 hidden width, L labels.

Both sides have the same weights and inputs, no dropout, and give the same numbers. They are timed
in turn on one thread; the ratio is of the best rounds. Memory is the peak of what live tensors hold
beyond those alive at the start, counted by storage (views once) while the operators run forward and
backward: activations and gradients, without an operator's inner scratch. The upstream gradient of
Eq. 14, equal on both sides, is made beforehand.

- Eq. 14 alone: the three channels of all W x W word pairs.
- The whole head: the loss of MJERE over the upper triangle. The literal side is taken twice:
  concatenating the cells of the triangle only, and all W x W cells, as the equations stand.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shapca.data.batches.batch import Batch
from shapca.model.heads.channels import Channels
from shapca.model.heads.word_pair import WordPairHead
from tests.benchmarks.timing import best_seconds
from tests.head_batches import head_batch, random_channels
from tests.oracles import heads as oracle

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

B, W, D, D1, D2, L = 8, 64, 256, 100, 150, 26
ROUNDS = 7
TOLERANCE = 1e-5

Step = Callable[[], Sequence[Tensor]]


class PeakMemory(TorchDispatchMode):
    """Measures the storages that operators make inside the block.

    Attributes:
        peak: bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = function(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in given and storage._cdata not in self._sizes:
                self._sizes[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self._sizes.pop, storage._cdata)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return result


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def peak_memory(step: Step) -> int:
    """Bytes that one run of a step holds at its peak."""
    with PeakMemory() as memory:
        step()
    return memory.peak


def compare(name: str, literal: Step, factorised: Step) -> tuple[float, float]:
    """Check that two steps agree and measure them.

    Returns:
        How many times faster the second is, and its share of the first's memory.
    """
    for expected, found in zip(literal(), factorised(), strict=True):
        assert (found - expected).abs().max() <= TOLERANCE * max(1, expected.abs().max())
    slow, fast = best_seconds(literal, factorised, rounds=ROUNDS)
    much, little = peak_memory(literal), peak_memory(factorised)
    print(
        f"\n{name}: literal {1e3 * slow:.0f} ms, {much / 2**20:.0f} MiB; "
        f"factorised {1e3 * fast:.0f} ms, {little / 2**20:.0f} MiB; "
        f"{slow / fast:.1f} times faster, {little / much:.2f} of the memory"
    )
    return slow / fast, little / much


def build() -> tuple[WordPairHead, Channels, Batch]:
    """A head in the paper's setting and full posts of W words."""
    torch.manual_seed(0)
    # Without dropout: the two sides would draw different masks.
    head = WordPairHead(D, D1, D2, L, task="mjere", dropout=0.0)
    words = torch.ones(B, W, dtype=torch.bool)
    mask = (words[:, :, None] & words[:, None, :]).triu()
    channels = random_channels(words, D, D1)
    channels = Channels(
        channels.text.float().requires_grad_(),
        words,
        channels.pos.float().requires_grad_(),
        channels.position.float().requires_grad_(),
    )
    labels = torch.randint(L, mask.shape) * mask
    return head, channels, head_batch(words, pair_labels=labels, pair_mask=mask)


def test_eq_14_alone():
    head, channels, batch = build()
    wanted = [*channels.present, *head.pairs.parameters()]
    post, row, column = torch.ones_like(batch.pair_mask).nonzero(as_tuple=True)
    first, second = post * W + row, post * W + column
    upstream = [torch.randn(B * W * W, D2) for _ in head.pairs]

    def literal() -> list[Tensor]:
        pairs = [
            oracle.pair_layer(layer.linear, channel).flatten(0, 2)
            for layer, channel in zip(head.pairs, channels.present, strict=True)
        ]
        return [*pairs, *torch.autograd.grad(pairs, wanted, upstream)]

    def factorised() -> list[Tensor]:
        pairs = [
            layer(channel, first, second)
            for layer, channel in zip(head.pairs, channels.present, strict=True)
        ]
        return [*pairs, *torch.autograd.grad(pairs, wanted, upstream)]

    faster, share = compare("Eq. 14 alone", literal, factorised)
    assert faster >= 5  # 14 to 17 where the literal side's products are slow, 6 to 9 with AMX
    assert share <= 1 / 3


@pytest.mark.parametrize("cells", ["of the triangle", "all"])
def test_whole_head(cells):
    head, channels, batch = build()
    wanted = [*channels.present, *head.parameters()]
    gold = batch.pair_labels[batch.pair_mask]
    post, row, column = batch.pair_mask.nonzero(as_tuple=True)

    def gathered(layer: torch.nn.Linear, channel: Tensor) -> Tensor:
        first, second = channel[post, row], channel[post, column]
        return F.gelu(layer(torch.cat([first, second, first - second], dim=-1)))

    def literal() -> list[Tensor]:
        pair = gathered if cells == "of the triangle" else oracle.pair_layer
        pairs = [
            pair(layer.linear, channel)
            for layer, channel in zip(head.pairs, channels.present, strict=True)
        ]
        text = head.text_classifier(pairs[0]).log_softmax(-1)
        joint = head.classifier(torch.cat(pairs, dim=-1)).log_softmax(-1)
        final = (joint.exp() + (joint - text)).log_softmax(-1)
        if cells == "all":
            final = final[batch.pair_mask]
        loss = F.nll_loss(final, gold)
        return [loss, *torch.autograd.grad(loss, wanted)]

    def factorised() -> list[Tensor]:
        loss = head.loss(channels, batch)
        return [loss, *torch.autograd.grad(loss, wanted)]

    faster, share = compare(f"whole head, literal over the cells: {cells}", literal, factorised)
    assert faster >= 3
    assert share <= 1 / 2
