"""Contrastive alignment of texts, contexts and images (Sec. 3.4, Eq. 5-7).

B posts of a batch, H encoder width, H_v image width. A similarity matrix has its targets as rows
and its players as columns; post j of either side is the positive pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shapca.alignment.contrastive import (
    VALUE_TEMPERATURE,
    Negatives,
    infonce_loss,
    positive_pairs,
    shapley_contrastive_loss,
)
from shapca.shapley import find_estimator

__all__ = [
    "AlignmentLosses",
    "ContrastiveAlignment",
    "Similarities",
    "infonce_loss",
    "shapley_contrastive_loss",
]

LEARNT_TEMPERATURES = (0.001, 1.0)
"""A learnt temperature is kept between them."""


@dataclass(frozen=True)
class AlignmentLosses:
    """What alignment adds to the loss of a batch, and what to watch; all scalars.

    Attributes:
        semantic: mean of context-to-text and text-to-context loss (Eq. 6).
        modality: mean of context-to-image and image-to-context loss (Eq. 7), or of
            text-to-image and image-to-text loss where there is no bridge.
        positive_similarity: mean cosine of the positive pairs of both alignments; no gradient.
        negative_similarity: mean cosine of all other pairs; no gradient. Under `negatives: sum`
            both near -1 mean that everything was pressed apart.
    """

    semantic: Tensor
    modality: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor


@dataclass(frozen=True)
class Pairs:
    """The two sides of one alignment in a batch, as unit vectors; post j of either is a pair.

    Attributes:
        left_name: `text` or `image`.
        right_name: `context`, or `image` where there is no bridge.
        left: (B, H).
        right: (B, H).
        mask: (B,) true on posts that have both.
    """

    left_name: str
    right_name: str
    left: Tensor
    right: Tensor
    mask: Tensor

    def present(self) -> Self:
        """The posts that have both sides."""
        kept = self.mask
        return replace(self, left=self.left[kept], right=self.right[kept], mask=kept[kept])


@dataclass(frozen=True)
class Similarities:
    """The cosines of a batch in each direction of alignment; n alignments have 2 n directions.

    Attributes:
        names: of the directions, players first: `context to text` has contexts as players.
        matrices: (2 n, B, B) cosines, targets by players; those of one direction of every
            alignment, then their transposes.
        mask: (2 n, B) true on posts that have both sides of the pair.
    """

    names: tuple[str, ...]
    matrices: Tensor
    mask: Tensor

    @classmethod
    def of(cls, pairs: Sequence[Pairs]) -> Self:
        """The cosines of pairs, which the losses are made of."""
        with torch.autocast(pairs[0].left.device.type, enabled=False):
            matrices = torch.stack([item.left @ item.right.mT for item in pairs])  # (n, B, B)
        sides = [(item.right_name, item.left_name) for item in pairs]
        return cls(
            names=tuple(f"{a} to {b}" for a, b in (*sides, *((b, a) for a, b in sides))),
            matrices=torch.cat((matrices, matrices.mT)),
            mask=torch.stack([item.mask for item in pairs]).repeat(2, 1),
        )


class ContrastiveAlignment(nn.Module):
    """Both alignments of a batch, their four directions in one call (Sec. 3.4).

    Images come into the space of texts through one linear layer. Autocast is off inside.

    Args:
        text_width: H.
        image_width: H_v, or None for a model without images.
        objective: `shapley` (Eq. 5) or `infonce`.
        bridge: `context` aligns texts and images with contexts; `direct` aligns texts with images.
        estimator: a name of `shapca.shapley.ESTIMATORS`.
        num_permutations: permutations of the estimator `monte_carlo`.
        temperature: tau, at least 0.005.
        negatives: `sum` or `mean` of the negatives' values, or `softmax` over all values.
        value_temperature: t of that softmax.
        learn_temperature: start from a temperature and learn its logarithm: tau of `infonce`,
            and t of `softmax`; nothing else has one that can be learnt.
        mask_duplicates: leave pairs that share an image out of the negatives.

    Raises:
        ValueError: an argument is not allowed.
    """

    def __init__(
        self,
        text_width: int,
        image_width: int | None = None,
        *,
        objective: Literal["shapley", "infonce"] = "shapley",
        bridge: Literal["context", "direct"] = "context",
        estimator: str = "exact",
        num_permutations: int = 4,
        temperature: float = 1.0,
        negatives: Negatives = "softmax",
        value_temperature: float = VALUE_TEMPERATURE,
        learn_temperature: bool = False,
        mask_duplicates: bool = False,
    ) -> None:
        super().__init__()
        if objective not in ("shapley", "infonce"):
            raise ValueError(f"objective: expected shapley or infonce, got {objective!r}")
        if bridge not in ("context", "direct"):
            raise ValueError(f"bridge: expected context or direct, got {bridge!r}")
        if bridge == "direct" and image_width is None:
            raise ValueError("bridge: direct aligns texts with images and needs an image width")
        start = temperature if objective == "infonce" else value_temperature
        lowest, highest = LEARNT_TEMPERATURES
        if learn_temperature and objective == "shapley" and negatives != "softmax":
            raise ValueError(f"learn_temperature: negatives {negatives!r} have none to learn")
        if learn_temperature and not lowest <= start <= highest:
            raise ValueError(
                f"learn_temperature: expected to start in [{lowest}, {highest}], got {start}"
            )
        self.objective = objective
        self.bridge = bridge
        self.estimator = find_estimator(estimator, num_permutations=num_permutations)
        self.temperature = temperature
        self.negatives = negatives
        self.value_temperature = value_temperature
        self.log_temperature = (
            nn.Parameter(torch.tensor(math.log(start))) if learn_temperature else None
        )
        self.mask_duplicates = mask_duplicates
        self.projection = None if image_width is None else nn.Linear(image_width, text_width)

    def learnt_temperature(self) -> Tensor | None:
        """The learnt temperature, a scalar with its gradient, or `None` where it is fixed."""
        if self.log_temperature is None:
            return None
        with torch.no_grad():  # a step may have led beyond the bounds: the next one can come back
            self.log_temperature.clamp_(*map(math.log, LEARNT_TEMPERATURES))
        return self.log_temperature.exp()

    def forward(
        self,
        x_t: Tensor,
        x_c: Tensor | None,
        x_v: Tensor | None,
        context_mask: Tensor,
        image_mask: Tensor,
        image_ids: Tensor,
        generator: Generator | None = None,
    ) -> AlignmentLosses:
        """Losses of a batch; an alignment with fewer than two pairs is 0 with a gradient of 0.

        Args:
            x_t: (B, H) texts.
            x_c: (B, H) contexts; may be None where `bridge` is `direct`.
            x_v: (B, H_v) images, or None for a model without images.
            context_mask: (B,) true where a post has a context.
            image_mask: (B,) true where a post has an image.
            image_ids: (B,) equal for posts that share an image, -1 where there is none.
            generator: source of the sampled permutations.

        Raises:
            ValueError: an input that this configuration needs is missing.
        """
        compared = Similarities.of(self.pairs(x_t, x_c, x_v, context_mask, image_mask))
        losses = self._losses(compared, _share_image(image_ids), generator)
        none = losses.new_zeros(())
        positive, negative = _mean_similarities(compared)
        return AlignmentLosses(
            semantic=none if self.bridge == "direct" else losses[0],
            modality=none if self.projection is None else losses[-1],
            positive_similarity=positive,
            negative_similarity=negative,
        )

    def pairs(
        self,
        x_t: Tensor,
        x_c: Tensor | None,
        x_v: Tensor | None,
        context_mask: Tensor,
        image_mask: Tensor,
    ) -> tuple[Pairs, ...]:
        """What is aligned, both sides of each alignment; arguments as in `forward`.

        Raises:
            ValueError: an input that this configuration needs is missing.
        """
        if (x_v is None) != (self.projection is None):
            raise ValueError("x_v: given to a model without images, or missing in one with them")
        if x_c is None and self.bridge == "context":
            raise ValueError("x_c: contexts are missing, bridge: context aligns over them")
        with torch.autocast(x_t.device.type, enabled=False):
            texts = functional.normalize(x_t.float(), dim=-1)
            images = None
            if x_v is not None and self.projection is not None:
                projected = self.projection(_drop_absent(x_v, image_mask))
                images = functional.normalize(projected, dim=-1)
            if self.bridge == "direct":
                return (Pairs("text", "image", texts, cast(Tensor, images), image_mask),)
            contexts = _drop_absent(cast(Tensor, x_c), context_mask)
            contexts = functional.normalize(contexts, dim=-1)
        pairs = Pairs("text", "context", texts, contexts, context_mask)
        if images is None:
            return (pairs,)
        return pairs, Pairs("image", "context", images, contexts, context_mask & image_mask)

    def _losses(
        self, compared: Similarities, duplicates: Tensor, generator: Generator | None
    ) -> Tensor:
        """The loss (n,) of each alignment: the mean over its two directions."""
        arguments = {
            "mask": compared.mask,
            "duplicates": duplicates if self.mask_duplicates else None,
        }
        learnt = self.learnt_temperature()
        if self.objective == "infonce":
            tau = self.temperature if learnt is None else learnt
            losses = infonce_loss(compared.matrices, tau, **arguments)
        else:
            losses = shapley_contrastive_loss(
                compared.matrices,
                self.temperature,
                self.estimator,
                self.negatives,
                value_temperature=self.value_temperature if learnt is None else learnt,
                generator=generator,
                **arguments,
            )
        return losses.reshape(2, -1).mean(0)


def _drop_absent(features: Tensor, present: Tensor) -> Tensor:
    """Features (B, H) in float32, 0 where a post has none: what stands there must not matter."""
    return features.float().masked_fill(~present[:, None], 0.0)


def _share_image(image_ids: Tensor) -> Tensor:
    """(B, B) true on pairs of posts with the same image."""
    return (image_ids[:, None] == image_ids) & (image_ids[:, None] >= 0)


def _mean_similarities(compared: Similarities) -> tuple[Tensor, Tensor]:
    """Mean cosine of positive and of negative pairs among present posts; 0 where there are none."""
    matrices, mask = compared.matrices.detach(), compared.mask
    valid = mask[:, :, None] & mask[:, None, :]
    positive = valid & positive_pairs(matrices)
    means = [
        (matrices * pairs).sum() / pairs.sum().clamp(min=1)
        for pairs in (positive, valid & ~positive)
    ]
    return means[0], means[1]
