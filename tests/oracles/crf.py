"""A linear-chain CRF word by word, operation for operation as the package `pytorch-crf` does it."""

from __future__ import annotations

import torch
from torch import Tensor


def log_likelihood(crf, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """Log-likelihood (B,) of tags (B, W) over emissions (B, W, L), without its checks."""
    return _score(crf, emissions, tags, mask) - _normaliser(crf, emissions, mask)


def _score(crf, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    posts = torch.arange(len(tags), device=tags.device)
    score = crf.start_transitions[tags[:, 0]]
    score = score + emissions[posts, 0, tags[:, 0]]
    for word in range(1, tags.shape[1]):
        score = score + crf.transitions[tags[:, word - 1], tags[:, word]] * mask[:, word]
        score = score + emissions[posts, word, tags[:, word]] * mask[:, word]
    last = tags[posts, mask.long().sum(1) - 1]
    return score + crf.end_transitions[last]


def _normaliser(crf, emissions: Tensor, mask: Tensor) -> Tensor:
    score = crf.start_transitions + emissions[:, 0]
    for word in range(1, emissions.shape[1]):
        steps = score.unsqueeze(2) + crf.transitions + emissions[:, word].unsqueeze(1)
        score = torch.where(mask[:, word].unsqueeze(1), torch.logsumexp(steps, dim=1), score)
    return torch.logsumexp(score + crf.end_transitions, dim=1)
