"""Word-pair head: relations, or entities and relations, as labels of word pairs (Eq. 14-18).

B batch, W words, D width of the text channel, d1 width of the other channels, d2 hidden width,
L labels, P = B W words of a batch, N cells: the word pairs that loss and decoding read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from shapca.data.batches.batch import Batch
from shapca.data.word_pair_table import Table
from shapca.model.heads.channels import Channels

PairTask = Literal["mre", "mjere"]
ContrastBase = Literal["probability", "log_probability"]
Reduction = Literal["mean", "sum"]

CELLS_PER_BLOCK = 1024  # on a CPU: a block of d2 = 150 float32 features stays in its cache


class _PairFeatures(torch.autograd.Function):
    """GELU(a[first] + b[second]) of (P, d2), (P, d2), (N,), (N,) -> (N, d2).

    Of what has N rows only the result is kept: the backward pass adds up a and b once more. Block
    by block, as on a CPU, that takes no longer than keeping N rows of sums and reading them back.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, b: Tensor, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, first, second)
        pairs = a.new_empty(len(first), a.shape[1])
        for block, i, j in _blocks(pairs, first, second):
            torch.index_select(a, 0, i, out=block).add_(b.index_select(0, j))
            torch.ops.aten.gelu_(block)
        return pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, b, first, second = ctx.saved_tensors
        gradient_a, gradient_b = torch.zeros_like(a), torch.zeros_like(b)
        for block, i, j in _blocks(gradient, first, second):
            total = a.index_select(0, i).add_(b.index_select(0, j))
            torch.ops.aten.gelu_backward.grad_input(block, total, grad_input=total)
            gradient_a.index_add_(0, i, total)
            gradient_b.index_add_(0, j, total)
        return gradient_a, gradient_b, None, None


def _blocks(pairs: Tensor, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors of N rows alike: into blocks that a CPU's cache holds, elsewhere not at all."""
    size = CELLS_PER_BLOCK if pairs.device.type == "cpu" else max(1, len(pairs))
    return zip(pairs.split(size), first.split(size), second.split(size), strict=True)


class PairLayer(nn.Module):
    r"""Features of word pairs from features of words (Eq. 14).

    :math:`X_{ij} = \mathrm{GELU}(\mathrm{Linear}([M_i; M_j; M_i - M_j]))`. The linear layer's
    weight is :math:`[U; V; T]`, so its output is :math:`a_i + b_j` with :math:`a = (U + T) M` plus
    the bias and :math:`b = (V - T) M`: two products per word instead of one per pair.

    Args:
        width: width of the channel.
        hidden: d2.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * width, hidden)

    def forward(self, features: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Features of the given pairs.

        Args:
            features: (B, W, width) one channel of word features.
            first: (N,) place b * W + i of each pair's first word.
            second: (N,) place b * W + j of each pair's second word.

        Returns:
            (N, d2).
        """
        u, v, t = self.linear.weight.chunk(3, dim=1)  # (d2, width) each
        words = features.flatten(0, 1)  # (B W, width)
        a = F.linear(words, u + t, self.linear.bias)  # (B W, d2)
        b = F.linear(words, v - t)  # (B W, d2)
        return _PairFeatures.apply(a, b, first, second)


def contrast(
    log_joint: Tensor, log_text: Tensor, *, base: ContrastBase = "probability", scale: float = 1.0
) -> Tensor:
    r"""Refine a distribution by what the text alone does not say (Eq. 17).

    :math:`\log\mathrm{softmax}(P^{tsp} + \lambda (\log P^{tsp} - \log P^t))`.

    Args:
        log_joint: (..., L) logarithm of P^tsp (Eq. 16).
        log_text: (..., L) logarithm of P^t (Eq. 15).
        base: first term: the probability as printed, or its logarithm.
        scale: lambda.

    Returns:
        (..., L) log-probabilities.
    """
    first = log_joint.exp() if base == "probability" else log_joint
    return (first + scale * (log_joint - log_text)).log_softmax(dim=-1)


class WordPairHead(nn.Module):
    r"""Classify word pairs by three channels, contrasted with the text alone.

    :math:`P^t = \mathrm{softmax}(\mathrm{Linear}(X^t))`,
    :math:`P^{tsp} = \mathrm{softmax}(\mathrm{Linear}([X^t; X^s; X^p]))` (Eq. 15-16), refined by
    `contrast` (Eq. 17). Only the cells of `Batch.pair_cells` are computed.

    Args:
        text_width: D.
        channel_width: d1, or None for the text channel alone.
        hidden: d2.
        num_labels: L, `None` being label 0.
        task: `mre` decodes one relation per post, `mjere` a table of word pairs.
        dropout: probability of dropping an input or hidden feature.
        contrast: first term of Eq. 17, or None to train and predict with Eq. 16.
        contrast_scale: lambda of Eq. 17.
        detach_text: no gradient through P^t in the contrast; P^t then learns by `auxiliary_loss`
            alone, and not at all where that is 0.
        auxiliary_loss: weight of a cross-entropy on P^t.
        reduction: Eq. 18 averaged over cells, or summed and divided by the number of posts.
        none_weight: weight of the cells labelled `None`; an average is over weights.

    Raises:
        ValueError: an unknown option, or one that needs P^t with the text channel alone.
    """

    class_weights: Tensor

    def __init__(
        self,
        text_width: int,
        channel_width: int | None,
        hidden: int,
        num_labels: int,
        *,
        task: PairTask,
        dropout: float = 0.1,
        contrast: ContrastBase | None = "probability",
        contrast_scale: float = 1.0,
        detach_text: bool = False,
        auxiliary_loss: float = 0.0,
        reduction: Reduction = "mean",
        none_weight: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ("task", task, get_args(PairTask)),
            ("contrast", contrast, (*get_args(ContrastBase), None)),
            ("reduction", reduction, get_args(Reduction)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is unknown, expected one of {allowed}")
        has_text_distribution = contrast is not None or auxiliary_loss > 0
        if channel_width is None and has_text_distribution:
            raise ValueError("the text channel alone has nothing to be contrasted with")
        self.task = task
        self.contrast: ContrastBase | None = contrast
        self.contrast_scale = contrast_scale
        self.detach_text = detach_text
        self.auxiliary_loss = auxiliary_loss
        self.reduction = reduction
        widths = [text_width] if channel_width is None else [text_width, *2 * [channel_width]]
        self.pairs = nn.ModuleList(PairLayer(width, hidden) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(len(widths) * hidden, num_labels)
        self.text_classifier = nn.Linear(hidden, num_labels) if has_text_distribution else None
        class_weights = torch.ones(num_labels)
        class_weights[0] = none_weight
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, channels: Channels, cells: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of word pairs.

        Args:
            channels: features of the words.
            cells: (N,) places b W W + i W + j of the pairs (`Batch.pair_cells`).

        Returns:
            (N, L) of the final distribution; (N, L) of P^t, or None where nothing reads it.
        """
        num_words = channels.mask.shape[1]
        first = cells // num_words  # (N,) places b W + i
        second = first // num_words * num_words + cells % num_words  # (N,) places b W + j
        # The classifier over [X^t; X^s; X^p] as a sum, so that the three are never concatenated.
        weights = self.classifier.weight.chunk(len(self.pairs), dim=1)  # (L, d2) each
        hidden = [
            self.dropout(layer(self.dropout(channel), first, second))
            for layer, channel in zip(self.pairs, channels.present, strict=True)
        ]  # (N, d2) each
        scores = F.linear(hidden[0], weights[0], self.classifier.bias)  # (N, L)
        for features, weight in zip(hidden[1:], weights[1:], strict=True):
            scores = scores + F.linear(features, weight)
        log_joint = _log_softmax(scores)
        if self.text_classifier is None:
            return log_joint, None
        log_text = _log_softmax(self.text_classifier(hidden[0]))
        if self.contrast is None:
            return log_joint, log_text
        final = contrast(
            log_joint,
            log_text.detach() if self.detach_text else log_text,
            base=self.contrast,
            scale=self.contrast_scale,
        )
        return final, log_text

    def loss(self, channels: Channels, batch: Batch) -> Tensor:
        """Cross-entropy over the batch's cells (Eq. 18), 0 where there are none.

        Raises:
            ValueError: a batch without labels of word pairs.
        """
        if batch.pair_labels is None or batch.pair_cells is None:
            raise ValueError("the batch holds no labels of word pairs")
        gold = batch.pair_labels.flatten().index_select(0, batch.pair_cells)  # (N,)
        final, text = self(channels, batch.pair_cells)
        loss = self._cross_entropy(final, gold, len(batch))
        if text is not None and self.auxiliary_loss > 0:
            loss = loss + self.auxiliary_loss * self._cross_entropy(text, gold, len(batch))
        return loss

    def _cross_entropy(self, log_probabilities: Tensor, gold: Tensor, num_posts: int) -> Tensor:
        """Weighted cross-entropy of (N, L) log-probabilities, reduced as asked for."""
        weights = self.class_weights.to(log_probabilities.dtype)
        total = F.nll_loss(log_probabilities, gold, weight=weights, reduction="sum")
        if self.reduction == "sum":
            return total / num_posts
        return total / weights[gold].sum().clamp_min(torch.finfo(weights.dtype).tiny)

    @torch.no_grad()
    def decode(self, channels: Channels, batch: Batch) -> list[int] | list[Table]:
        """The best label per post (MRE), or the best label of each word pair (MJERE).

        MRE averages the log-probabilities over the cells of head x tail; a post that has none,
        since all words of an entity were cut, gets `None`. In a table, the pairs outside the mask
        get `None`.

        Returns:
            MRE: B label ids. MJERE: B tables (W, W) of label ids.

        Raises:
            ValueError: a batch without a mask of word pairs.
        """
        mask, cells, final = self._final(channels, batch)
        if self.task == "mre":
            # Dividing by the number of cells does not move the maximum; of equals, 0 is the first.
            labels: list[int] = _totals(final, cells, mask).argmax(dim=-1).cpu().tolist()
            return labels
        table = torch.zeros_like(mask, dtype=torch.long)  # (B, W, W)
        table.view(-1).index_copy_(0, cells, final.argmax(dim=-1))
        return list(table.cpu().numpy())

    @torch.no_grad()
    def decode_with_evidence(
        self, channels: Channels, batch: Batch
    ) -> tuple[list[int] | list[Table], list[float | None] | list[NDArray[np.float32]]]:
        """What `decode` gives, and how probable it is.

        Returns:
            The decoded labels. MRE: B probabilities of the label by the averaged log-probabilities,
            normalised; None where there is no cell. MJERE: B tables (W, W) of the probabilities of
            the cells' labels.
        """
        mask, cells, final = self._final(channels, batch)
        if self.task == "mre":
            totals = _totals(final, cells, mask)
            labels = totals.argmax(dim=-1)
            sizes = mask.flatten(1).sum(1)  # (B,)
            mean = (totals / sizes[:, None].clamp_min(1)).softmax(dim=-1)
            sure = mean.gather(1, labels[:, None])[:, 0].cpu().tolist()
            given = zip(sure, sizes.cpu().tolist(), strict=True)
            return labels.cpu().tolist(), [value if size else None for value, size in given]
        best = final.argmax(dim=-1)  # (N,)
        table = torch.zeros_like(mask, dtype=torch.long)  # (B, W, W)
        table.view(-1).index_copy_(0, cells, best)
        chances = final.new_zeros(mask.shape)
        chances.view(-1).index_copy_(0, cells, final.gather(1, best[:, None])[:, 0].exp())
        return list(table.cpu().numpy()), list(chances.float().cpu().numpy())

    def _final(self, channels: Channels, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Mask (B, W, W), its cells (N,) and their final log-probabilities (N, L)."""
        if batch.pair_mask is None or batch.pair_cells is None:
            raise ValueError("the batch holds no mask of word pairs")
        final, _ = self(channels, batch.pair_cells)
        return batch.pair_mask, batch.pair_cells, final


def _totals(final: Tensor, cells: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities (N, L) of cells (N,), summed over each post's: (B, L)."""
    post = cells // mask[0].numel()
    return final.new_zeros(len(mask), final.shape[-1]).index_add(0, post, final)


def _log_softmax(scores: Tensor) -> Tensor:
    """Log-softmax over the last dimension, in float32 at least."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).log_softmax(dim=-1)
