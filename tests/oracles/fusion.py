"""Eq. 8-11 written as printed: one post at a time, without padding, D x D matrix and all."""

import math

import torch
from torch import Tensor

from shapca.model.fusion import Fusion


def bridging_term(context: Tensor, *, normalise: bool = False) -> Tensor:
    """Eq. 8 of one post's context (C, D), through the D x D matrix."""
    if not len(context):
        return context.new_zeros(context.shape[-1])
    bridge = (context.T @ context / math.sqrt(context.shape[-1])).mean(dim=0)
    return bridge / len(context) if normalise else bridge


def gate(features: Tensor, bridge: Tensor, layer: torch.nn.Linear, activation: str) -> Tensor:
    """Eq. 9-10 of one post, row by row, with the concatenation built."""
    rows = []
    for row in features:
        score = layer(torch.cat([row, bridge]))
        weight = torch.tanh(score) if activation == "tanh" else torch.sigmoid(score)
        rows.append(weight * row + (1 - weight) * bridge)
    return torch.stack(rows)


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention, one query at a time: (Q, D), (K, D), (K, D) -> (Q, D)."""
    rows = []
    for query in queries:
        weights = torch.exp(torch.stack([query @ key for key in keys]) / math.sqrt(len(query)))
        rows.append(sum(w * v for w, v in zip(weights / weights.sum(), values, strict=True)))
    return torch.stack(rows)


def read(reading: str, query: Tensor, key: Tensor, value: Tensor, image_value: Tensor) -> Tensor:
    """The three readings of Eq. 11 for one post, (W, D)."""
    if reading == "text_query":
        return attention(key, query, image_value)
    attended = attention(query, key, value)
    return attention(key, query if reading == "two_hop" else attended, attended)


def fuse(module, words, word_mask, context, context_mask, regions, image_mask) -> list[Tensor]:
    """The fused words (W', D) of each post of a batch, on the post's real rows alone."""
    assert isinstance(module, Fusion)
    fused = []
    for post in range(len(words)):
        real_words = words[post][word_mask[post]]
        value = module.value(real_words)
        if not image_mask[post]:
            fused.append(module.norm(value))
            continue
        query = image_value = module.query(regions[post])
        key = module.key(real_words)
        if module.reads_context:
            bridge = bridging_term(
                module.context(context[post][context_mask[post]]), normalise=module.normalise_bridge
            )
            activation = module.query_gate.activation
            query = gate(query, bridge, module.query_gate.linear, activation)
            key = gate(key, bridge, module.key_gate.linear, activation)
        fused.append(module.norm(value + read(module.reading, query, key, value, image_value)))
    return fused
