"""The three channels of word features that the classifiers read (Sec. 3.6).

B batch, W words, D width of the text channel, d1 width of the other two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NUM_POSITIONS = 512
"""Words of the longest post, where its encoder reads no more sub-words than that."""


@dataclass(frozen=True)
class Channels:
    """Word features as named tensors; the plain baselines have the text channel alone.

    Attributes:
        text: (B, W, D) image-aware text features M^t, or the encoder's own.
        pos: (B, W, d1) part-of-speech embeddings M^s.
        position: (B, W, d1) position embeddings M^p.
        mask: (B, W) true on words that the encoder sees, a prefix of each row.
    """

    text: Tensor
    mask: Tensor
    pos: Tensor | None = None
    position: Tensor | None = None

    @property
    def present(self) -> tuple[Tensor, ...]:
        """The channels there are, in the order t, s, p."""
        channels = (self.text, self.pos, self.position)
        return tuple(channel for channel in channels if channel is not None)


class ChannelEmbeddings(nn.Module):
    """Part-of-speech and position embeddings beside the text channel.

    Args:
        num_pos: number of part-of-speech tags, padding included.
        width: d1.
        num_positions: longest post in words.
    """

    def __init__(self, num_pos: int, width: int, *, num_positions: int = NUM_POSITIONS) -> None:
        super().__init__()
        self.pos = nn.Embedding(num_pos, width)
        self.position = nn.Embedding(num_positions, width)

    def forward(self, text: Tensor, pos: Tensor, mask: Tensor) -> Channels:
        """Add the two channels.

        Args:
            text: (B, W, D) text channel.
            pos: (B, W) part-of-speech ids.
            mask: (B, W) true on words that the encoder sees.

        Raises:
            ValueError: more encoded words than positions.
        """
        num_posts, num_words = pos.shape
        num_positions = self.position.num_embeddings
        if num_words > num_positions and bool(mask[:, num_positions:].any()):
            raise ValueError(f"a post has more than {num_positions} encoded words")
        # Padding and cut words may lie beyond the last position; what they get is masked later.
        indexes = torch.arange(num_words, device=pos.device).clamp_max(num_positions - 1)
        position = self.position(indexes).expand(num_posts, -1, -1)  # (B, W, d1)
        return Channels(text=text, mask=mask, pos=self.pos(pos), position=position)
