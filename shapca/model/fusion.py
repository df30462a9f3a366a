"""Adaptive fusion of text and image, gated by the context that bridges them (Eq. 8-11).

B batch, W words, C sub-words of the context, R image regions, D fusion width. Masks are true on
real rows; where a post has no image its words keep their own projected features.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AttentionReading = Literal["two_hop", "text_query", "coupled"]
GateActivation = Literal["tanh", "sigmoid"]


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the places where `mask` is true; 0 elsewhere.

    A slice without any true place gives zeros with zero gradients, never NaN.

    Args:
        scores: Any shape.
        mask: Bool, broadcastable to `scores`.
        dim: Dimension that the softmax runs over.
    """
    hidden = ~mask
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    return scores.softmax(dim).masked_fill(hidden, 0.0)


def bridging_term(context: Tensor, mask: Tensor, *, normalise: bool = False) -> Tensor:
    r"""Bridging term of the projected context (Eq. 8), zero for an empty context.

    :math:`B = \mathrm{mean}(C^\top C) / \sqrt{D} = C^\top\, \mathrm{rowmean}(C) / \sqrt{D}`, in
    O(C D) without the D x D matrix.

    Args:
        context: (B, C, D) projected context.
        mask: (B, C) true on real sub-words.
        normalise: Divide by the number of real sub-words.

    Returns:
        (B, D).
    """
    context = context.masked_fill(~mask[..., None], 0.0)
    row_means = context.mean(dim=-1)  # (B, C)
    bridge = torch.einsum("bcd,bc->bd", context, row_means) / math.sqrt(context.shape[-1])
    if normalise:
        bridge = bridge / mask.sum(dim=-1, keepdim=True).clamp_min(1)
    return bridge


def cross_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    image_values: Tensor,
    word_mask: Tensor,
    region_mask: Tensor,
    *,
    reading: AttentionReading,
) -> Tensor:
    r"""Attention between image and text (Eq. 11), read so that each word gets one row.

    With :math:`S = Q K^\top / \sqrt{D}` of visual queries and textual keys:

    - `two_hop`: :math:`A = \mathrm{softmax}_W(S) V`, then :math:`\mathrm{softmax}_R(S^\top) A`;
    - `text_query`: :math:`\mathrm{softmax}_R(S^\top) V_v`, queries from the text, keys and values
      from the image;
    - `coupled`: :math:`A` as above, then
      :math:`\mathrm{softmax}_R(K A^\top / \sqrt{D}) A`, textual queries over what was attended.

    Args:
        queries: (B, R, D) from the image, gated or not.
        keys: (B, W, D) from the text, gated or not.
        values: (B, W, D) from the text.
        image_values: (B, R, D) from the image; read by `text_query` alone.
        word_mask: (B, W) true on real words.
        region_mask: (B, R) true on the regions of real images.
        reading: Which reading of Eq. 11.

    Returns:
        (B, W, D), zero where a post has no image.
    """
    scale = 1 / math.sqrt(queries.shape[-1])
    scores = queries @ keys.transpose(1, 2) * scale  # (B, R, W)
    if reading == "text_query":
        return masked_softmax(scores.transpose(1, 2), region_mask[:, None], dim=-1) @ image_values
    attended = masked_softmax(scores, word_mask[:, None], dim=-1) @ values  # (B, R, D)
    if reading == "coupled":
        scores = attended @ keys.transpose(1, 2) * scale  # (B, R, W)
    return masked_softmax(scores.transpose(1, 2), region_mask[:, None], dim=-1) @ attended


class Gate(nn.Module):
    r"""Move features towards the bridging term where they matter less (Eq. 9-10).

    :math:`g = \mathrm{act}(\mathrm{Linear}([X; B]))`, :math:`X' = g \odot X + (1 - g) \odot B`.

    Args:
        width: D.
        activation: `tanh` as printed, or `sigmoid`.

    Raises:
        ValueError: unknown activation.
    """

    def __init__(self, width: int, activation: GateActivation = "tanh") -> None:
        super().__init__()
        _check("gate", activation, get_args(GateActivation))
        self.activation = activation
        self.linear = nn.Linear(2 * width, width)

    def forward(self, features: Tensor, bridge: Tensor) -> Tensor:
        """Gate features (B, N, D) with their post's bridging term (B, D)."""
        width = bridge.shape[-1]
        bridge = bridge[:, None]  # (B, 1, D)
        own, bridging = self.linear.weight.split(width, dim=1)
        # [X; B] is never built: the bridge's half is the same for all rows of a post.
        score = F.linear(features, own) + F.linear(bridge, bridging, self.linear.bias)
        gate = score.tanh() if self.activation == "tanh" else score.sigmoid()
        return gate * features + (1 - gate) * bridge


class Fusion(nn.Module):
    r"""Image-aware word features, gated by the bridging context (Eq. 8-11).

    - Whole: :math:`M^t = \mathrm{LayerNorm}(V_t + \mathrm{CrossAttention}(Q_v', K_t', V_t))` with
      the gated queries and keys of Eq. 9. With an empty context the bridging term is zero.
    - Without `context_width` (row "w/o Context in Fusion"): :math:`Q_v, K_t` in their place; there
      is neither bridging term nor gate, and the context is not read.
    - Without `image_width`, and for posts without an image:
      :math:`M^t = \mathrm{LayerNorm}(V_t)`.

    Args:
        text_width: Width of word features.
        width: D.
        image_width: Width of image regions; `None` where images are not read.
        context_width: Width of context features; `None` where contexts are not read.
        reading: Which reading of Eq. 11 (`cross_attention`).
        gate: Activation of the gates (Eq. 10).
        normalise_bridge: Divide the bridging term by the context's length.

    Raises:
        ValueError: unknown reading or gate, or a context without an image to bridge to.
    """

    def __init__(
        self,
        text_width: int,
        width: int,
        image_width: int | None = None,
        context_width: int | None = None,
        *,
        reading: AttentionReading = "text_query",
        gate: GateActivation = "tanh",
        normalise_bridge: bool = False,
    ) -> None:
        super().__init__()
        _check("reading", reading, get_args(AttentionReading))
        if context_width is not None and image_width is None:
            raise ValueError("context_width: a context bridges to an image, expected image_width")
        self.width = width
        self.reads_image = image_width is not None
        self.reads_context = context_width is not None
        self.reading = reading
        self.normalise_bridge = normalise_bridge
        # In this order, so that a seed draws the same weights for every kind of fusion.
        if image_width is not None:
            self.query = nn.Linear(image_width, width)
            self.key = nn.Linear(text_width, width)
        self.value = nn.Linear(text_width, width)
        if context_width is not None:
            self.context = nn.Linear(context_width, width)
            self.query_gate = Gate(width, gate)
            self.key_gate = Gate(width, gate)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        words: Tensor,
        word_mask: Tensor,
        context: Tensor,
        context_mask: Tensor,
        regions: Tensor | None,
        image_mask: Tensor,
    ) -> Tensor:
        """Fuse a batch.

        Args:
            words: (B, W, text_width).
            word_mask: (B, W) true on real words.
            context: (B, C, context_width).
            context_mask: (B, C) true on real sub-words of the context.
            regions: (B, R, image_width), or `None` where no post of the batch has an image.
            image_mask: (B,) true where a post has an image.

        Returns:
            (B, W, D); rows of masked words carry no meaning.
        """
        values = self.value(words)  # (B, W, D)
        if regions is None or not self.reads_image:
            return self.norm(values)
        queries = image_values = self.query(regions)  # (B, R, D)
        keys = self.key(words)  # (B, W, D)
        if self.reads_context:
            bridge = bridging_term(
                self.context(context), context_mask, normalise=self.normalise_bridge
            )
            queries, keys = self.query_gate(queries, bridge), self.key_gate(keys, bridge)
        attended = cross_attention(
            queries,
            keys,
            values,
            image_values,
            word_mask,
            image_mask[:, None].expand(regions.shape[:2]),
            reading=self.reading,
        )
        return self.norm(values + attended)


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse an option that does not exist.

    Raises:
        ValueError: `value` is not allowed.
    """
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is unknown, expected one of {', '.join(allowed)}")
