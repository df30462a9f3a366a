"""Contrastive alignment: losses over similarities, and the four directions in one call."""

from shapca.alignment.alignment import (
    AlignmentLosses,
    ContrastiveAlignment,
    Pairs,
    Similarities,
)
from shapca.alignment.contrastive import infonce_loss, shapley_contrastive_loss

__all__ = [
    "AlignmentLosses",
    "ContrastiveAlignment",
    "Pairs",
    "Similarities",
    "infonce_loss",
    "shapley_contrastive_loss",
]
