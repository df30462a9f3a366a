"""Contrastive alignment: losses over similarities, and the four directions in one call."""

from shapca.alignment.alignment import AlignmentLosses, ContrastiveAlignment, Similarities
from shapca.alignment.contrastive import infonce_loss, shapley_contrastive_loss

__all__ = [
    "AlignmentLosses",
    "ContrastiveAlignment",
    "Similarities",
    "infonce_loss",
    "shapley_contrastive_loss",
]
