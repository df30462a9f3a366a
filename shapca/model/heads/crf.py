"""CRF head: named entities as BIO tags (Eq. 12-13).

B batch, W words, D width of the text channel, d1 width of the other channels, d2 hidden width,
L tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchcrf import CRF

from shapca.data.batches.batch import Batch
from shapca.model.heads.channels import Channels
from shapca.model.heads.viterbi import viterbi


def forbidden_starts(tags: Sequence[str]) -> Tensor:
    """(L,) true for tags that cannot open a post: `I-` of any type."""
    return torch.tensor([tag.startswith("I-") for tag in tags])


def forbidden_transitions(tags: Sequence[str]) -> Tensor:
    """(L, L) true where BIO forbids the step from row to column: `I-X` follows `B-X` or `I-X`."""
    return torch.tensor(
        [[after.startswith("I-") and after[2:] != tag[2:] for after in tags] for tag in tags]
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
        self.crf = CRF(len(tags), batch_first=True)
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
            ValueError: a post without an encoded word, or a batch without tags.
        """
        if batch.tags is None:
            raise ValueError("the batch holds no tags")
        emissions = self(channels)
        with torch.autocast(emissions.device.type, enabled=False):
            likelihood: Tensor = self.crf(emissions, batch.tags, channels.mask, reduction="mean")
        return -likelihood

    @torch.no_grad()
    def decode(self, channels: Channels, batch: Batch) -> list[list[int]]:
        """The best tag ids of each post's encoded words, by Viterbi over what BIO allows.

        Raises:
            ValueError: a post without an encoded word.
        """
        # One copy to the CPU: every step is small, and on a GPU would mostly be waiting.
        crf = self.crf
        return viterbi(
            self(channels).cpu(),
            channels.mask.cpu(),
            crf.start_transitions.masked_fill(self.forbidden_start, -torch.inf).cpu(),
            crf.transitions.masked_fill(self.forbidden, -torch.inf).cpu(),
            crf.end_transitions.cpu(),
        )
