"""Contrastive alignment: losses over similarities, and the four directions in one call."""

from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from shapca.alignment.alignment import AlignmentLosses as AlignmentLosses
    from shapca.alignment.alignment import ContrastiveAlignment as ContrastiveAlignment
    from shapca.alignment.alignment import Pairs as Pairs
    from shapca.alignment.alignment import Similarities as Similarities
    from shapca.alignment.contrastive import infonce_loss as infonce_loss
    from shapca.alignment.contrastive import shapley_contrastive_loss as shapley_contrastive_loss

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AlignmentLosses": ".alignment",
        "ContrastiveAlignment": ".alignment",
        "Pairs": ".alignment",
        "Similarities": ".alignment",
        "infonce_loss": ".contrastive",
        "shapley_contrastive_loss": ".contrastive",
    },
)
