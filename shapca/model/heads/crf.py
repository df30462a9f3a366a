"""CRF head: named entities as BIO tags (Eq. 12-13).

B batch, W words, D width of the text channel, d1 width of the other channels, d2 hidden width,
L tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapca.data.batches.batch import Batch
from shapca.model.heads.channels import Channels
from shapca.model.heads.marginals import TagPaths, tag_paths
from shapca.model.heads.partition import log_partition
from shapca.model.heads.viterbi import require_words, viterbi


def forbidden_starts(tags: Sequence[str]) -> Tensor:
    """(L,) true for tags that cannot open a post: `I-` of any type."""
    return torch.tensor([tag.startswith("I-") for tag in tags])


def forbidden_transitions(tags: Sequence[str]) -> Tensor:
    """(L, L) true where BIO forbids the step from row to column: `I-X` follows `B-X` or `I-X`."""
    return torch.tensor(
        [[after.startswith("I-") and after[2:] != tag[2:] for after in tags] for tag in tags]
    )


class CRF(nn.Module):
    """A linear-chain CRF, with the parameters of the package `pytorch-crf` by name and start.

    Args:
        num_tags: L.
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(num_tags))
        self.end_transitions = nn.Parameter(torch.empty(num_tags))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Log-likelihood (B,) of tag paths.

        Args:
            emissions: (B, W, L) scores of tags.
            tags: (B, W) ids.
            mask: (B, W) true on the first words of each post. A post without a word is NaN.
        """
        all_paths = log_partition(
            emissions, mask, self.start_transitions, self.transitions, self.end_transitions
        )
        return self._score(emissions, tags, mask) - all_paths

    def _score(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Score (B,) of tag paths: what `log_partition` sums over all of them."""
        num_tags = len(self.start_transitions)
        steps = (tags[:, :-1] * num_tags + tags[:, 1:]).flatten()
        # An index would do as well, but its gradient sorts.
        stepped = self.transitions.flatten().index_select(0, steps).view(len(tags), -1)
        words = emissions.gather(2, tags[:, :, None])[:, :, 0] + F.pad(stepped, (1, 0))  # (B, W)
        last = tags.gather(1, mask.sum(1, keepdim=True).sub_(1).clamp_(min=0))[:, 0]
        return (
            words.masked_fill(~mask, 0.0).sum(1).masked_fill(~mask[:, 0], torch.nan)
            + self.start_transitions.index_select(0, tags[:, 0])
            + self.end_transitions.index_select(0, last)
        )


class CRFHead(nn.Module):
    r"""Tag words by a linear-chain CRF over the channels.

    :math:`M = \mathrm{GELU}(\mathrm{Linear}([M^t; M^s; M^p]))` (Eq. 12) and Linear(d2 -> L) give
    the emissions; the loss is :math:`-\log P(y^* \mid t)` (Eq. 13), averaged over posts. Steps that
    BIO forbids keep their weight in training, since annotations may hold some, and are left out
    when decoding.

    Args:
        text_width: D.
        channel_width: d1, or None for the text channel alone.
        hidden: d2.
        tags: BIO tags in the order of their ids, with `O`.
        dropout: probability of dropping an input or hidden feature.
    """

    forbidden_start: Tensor
    forbidden: Tensor

    def __init__(
        self,
        text_width: int,
        channel_width: int | None,
        hidden: int,
        tags: Sequence[str],
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(text_width + 2 * (channel_width or 0), hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.emissions = nn.Linear(hidden, len(tags))
        self.crf = CRF(len(tags))
        self.register_buffer("forbidden_start", forbidden_starts(tags), persistent=False)
        self.register_buffer("forbidden", forbidden_transitions(tags), persistent=False)

    def forward(self, channels: Channels) -> Tensor:
        """Emission scores (B, W, L) in the CRF's own precision."""
        features = torch.cat(channels.present, dim=-1)  # (B, W, D + 2 d1)
        scores: Tensor = self.emissions(self.channels(features))
        return scores.to(self.crf.transitions.dtype)

    def loss(self, channels: Channels, batch: Batch) -> Tensor:
        """Negative log-likelihood of the gold tags, averaged over posts.

        Raises:
            ValueError: a batch without tags, or, on a CPU, a post without an encoded word: its loss
                is NaN elsewhere, where to raise would be to wait for the device.
        """
        if batch.tags is None:
            raise ValueError("the batch holds no tags")
        mask = channels.mask
        if mask.device.type == "cpu":
            require_words(mask)
        emissions = self(channels)
        with torch.autocast(emissions.device.type, enabled=False):
            likelihood: Tensor = self.crf(emissions, batch.tags, mask).mean()
        return -likelihood

    @torch.no_grad()
    def decode(self, channels: Channels, batch: Batch) -> list[list[int]]:
        """The best tag ids of each post's encoded words, by Viterbi over what BIO allows.

        Raises:
            ValueError: a post without an encoded word.
        """
        return viterbi(*self._allowed(channels))

    @torch.no_grad()
    def decode_with_evidence(
        self, channels: Channels, batch: Batch
    ) -> tuple[list[list[int]], list[TagPaths]]:
        """What `decode` gives, and of each post the distribution over the paths that it is of."""
        scores = self._allowed(channels)
        return viterbi(*scores), tag_paths(*scores)

    def _allowed(self, channels: Channels) -> list[Tensor]:
        """Emissions, mask and the CRF's scores, -inf where BIO forbids a step."""
        # On the CPU, since every step is small, and there by one copy.
        crf = self.crf
        return _to_cpu(
            self(channels),
            channels.mask,
            crf.start_transitions.masked_fill(self.forbidden_start, -torch.inf),
            crf.transitions.masked_fill(self.forbidden, -torch.inf),
            crf.end_transitions,
        )


def _to_cpu(*tensors: Tensor) -> list[Tensor]:
    """Tensors on the CPU, brought there in one; all are numbers of the first one's type, or true.

    Returns:
        The tensors, those of booleans as such.
    """
    if tensors[0].device.type == "cpu":
        return list(tensors)
    flat = torch.cat([tensor.flatten().to(tensors[0].dtype) for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [
        part.view(tensor.shape).to(tensor.dtype)
        for part, tensor in zip(parts, tensors, strict=True)
    ]
