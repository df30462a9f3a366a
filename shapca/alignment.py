"""Contrastive alignment of texts, contexts and images (Sec. 3.4, Eq. 5-7).

B posts of a batch, k players (= B), H encoder width, H_v image width. A similarity matrix has its
targets as rows and its players as columns; post j of either side is the positive pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shapca.shapley import Estimator, find_estimator, utility_of_all

Negatives = Literal["sum", "mean"]


def shapley_contrastive_loss(
    similarity: Tensor,
    temperature: float,
    estimator: str | Estimator = "cyclic",
    negatives: Negatives = "sum",
    *,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Raise the Shapley value of the positive pairs and lower those of the others (Eq. 5).

    `L = -1/k sum_j [phi_j(u_j) - sum_{i != j} phi_i(u_j)]`. The values of a target add up to the
    utility of all players, exactly and in each scan of the sampled estimators, so that
    `L = mean_j [u_j(K) - 2 phi_j(u_j)]` needs the diagonal alone.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        estimator: a name of `shapca.shapley.ESTIMATORS`, or an estimator.
        negatives: `sum` as printed; `mean` divides the negatives' values by their number, k - 1.
            Under `sum` a common rise of all similarities raises the loss, and from a tau of about
            0.35 its optimum is all cosines at -1; `mean` prefers alignment at every tau.
        mask: (..., k) true on posts that take part, as targets and as players. Where fewer than
            two do, the loss is 0 with a gradient of 0.
        duplicates: (..., k, k) true on pairs of different posts that are no negatives of each
            other: the player stays in the game, but its value leaves the sum of the negatives.
        generator: source of the sampled permutations.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape, the temperature, the estimator or `negatives` is not allowed.
    """
    if negatives not in ("sum", "mean"):
        raise ValueError(f"negatives: expected sum or mean, got {negatives!r}")
    mask, duplicates = _check_square(similarity, mask, duplicates)
    estimate = find_estimator(estimator) if isinstance(estimator, str) else estimator
    values = estimate(
        similarity,
        temperature,
        player_mask=mask,
        diagonal=duplicates is None,
        generator=generator,
    )  # (..., k), or (..., k, k) where some negatives must be left out
    negative = utility_of_all(similarity, temperature, player_mask=mask)
    num_players = similarity.shape[-1] if mask is None else mask.sum(-1, keepdim=True)
    num_negatives: Tensor | int = num_players - 1
    if duplicates is None:
        positive = values
    else:
        excluded = duplicates if mask is None else duplicates & mask[..., None, :]
        positive = values.diagonal(dim1=-2, dim2=-1)
        negative = negative - values.masked_fill(~excluded, 0.0).sum(-1)
        num_negatives = num_negatives - excluded.sum(-1)
    negative = negative - positive
    if negatives == "mean":
        negative = negative / torch.as_tensor(num_negatives, device=negative.device).clamp(min=1)
    return _mean_over_targets(negative - positive, mask)


def infonce_loss(
    similarity: Tensor,
    temperature: float,
    *,
    mask: Tensor | None = None,
    duplicates: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive pair among all players (the row "w/o Shapley Value").

    `L = -mean_j ln [exp(s_jj / tau) / sum_i exp(s_ji / tau)]`; symmetric where the loss of the
    transposed matrix is averaged with it.

    Args:
        similarity: (..., k, k) cosines in [-1, 1], targets by players; k of 1 gives 0.
        temperature: tau, above 0.
        mask: (..., k) true on posts that take part, as targets and as players.
        duplicates: (..., k, k) true on pairs of different posts left out of the denominator.

    Returns:
        (...) losses, a scalar for one matrix.

    Raises:
        ValueError: a shape or the temperature is not allowed.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected above 0, got {temperature}")
    mask, duplicates = _check_square(similarity, mask, duplicates)
    logits = similarity / temperature
    if mask is not None:
        kept = mask[..., None, :] | _positive_pairs(similarity)
        logits = logits.masked_fill(~kept, -torch.inf)
    if duplicates is not None:
        logits = logits.masked_fill(duplicates, -torch.inf)
    losses = logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)
    return _mean_over_targets(losses, mask)


def _check_square(
    similarity: Tensor, mask: Tensor | None, duplicates: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Refuse what is no batch of square matrices.

    Returns:
        The mask in the matrices' leading dimensions, and duplicates without the diagonal.
    """
    shape = similarity.shape
    if similarity.ndim < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"similarity: expected (..., k, k), got shape {tuple(shape)}")
    if duplicates is not None:
        if duplicates.dtype != torch.bool or duplicates.shape[-2:] != shape[-2:]:
            raise ValueError(
                f"duplicates: expected booleans (..., {shape[-1]}, {shape[-1]}), "
                f"got {duplicates.dtype} of shape {tuple(duplicates.shape)}"
            )
        duplicates = duplicates & ~_positive_pairs(similarity)
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape[-1:] != shape[-1:]:
            raise ValueError(
                f"mask: expected booleans (..., {shape[-1]}), "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        mask = mask.expand(shape[:-1])
    return mask, duplicates


def _positive_pairs(similarity: Tensor) -> Tensor:
    """(k, k) true on the diagonal."""
    return torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)


def _mean_over_targets(losses: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of losses (..., k) over the targets that take part; 0 for fewer than two."""
    if mask is None:
        return losses.mean(-1) if losses.shape[-1] > 1 else losses.sum(-1) * 0.0
    count = mask.sum(-1)
    mean = losses.masked_fill(~mask, 0.0).sum(-1) / count.clamp(min=1)
    return mean * (count > 1)


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


class ContrastiveAlignment(nn.Module):
    """Both alignments of a batch, their four directions in one call (Sec. 3.4).

    Images come into the space of texts through one linear layer. Autocast is off inside.

    Args:
        text_width: H.
        image_width: H_v, or none for a model without images.
        objective: `shapley` (Eq. 5) or `infonce`.
        bridge: `context` aligns texts and images with contexts; `direct` aligns texts with images.
        estimator: a name of `shapca.shapley.ESTIMATORS`.
        num_permutations: permutations of the estimator `monte_carlo`.
        temperature: tau, at least 0.005.
        negatives: `sum` or `mean` of the negatives' values.
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
        estimator: str = "cyclic",
        num_permutations: int = 4,
        temperature: float = 0.1,
        negatives: Negatives = "sum",
        mask_duplicates: bool = False,
    ) -> None:
        super().__init__()
        if objective not in ("shapley", "infonce"):
            raise ValueError(f"objective: expected shapley or infonce, got {objective!r}")
        if bridge not in ("context", "direct"):
            raise ValueError(f"bridge: expected context or direct, got {bridge!r}")
        if bridge == "direct" and image_width is None:
            raise ValueError("bridge: direct aligns texts with images and needs an image width")
        self.objective = objective
        self.bridge = bridge
        self.estimator = find_estimator(estimator, num_permutations=num_permutations)
        self.temperature = temperature
        self.negatives = negatives
        self.mask_duplicates = mask_duplicates
        self.projection = None if image_width is None else nn.Linear(image_width, text_width)

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
            x_c: (B, H) contexts; may be none where `bridge` is `direct`.
            x_v: (B, H_v) images, or none for a model without images.
            context_mask: (B,) true where a post has a context.
            image_mask: (B,) true where a post has an image.
            image_ids: (B,) equal for posts that share an image, -1 where there is none.
            generator: source of the sampled permutations.

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
                images = functional.normalize(
                    self.projection(_drop_absent(x_v, image_mask)), dim=-1
                )
            if self.bridge == "direct":
                pairs = [(texts, cast(Tensor, images), image_mask)]
            else:
                contexts = functional.normalize(
                    _drop_absent(cast(Tensor, x_c), context_mask), dim=-1
                )
                pairs = [(texts, contexts, context_mask)]
                if images is not None:
                    pairs.append((images, contexts, context_mask & image_mask))
            similarity = torch.stack([left @ right.mT for left, right, _ in pairs])  # (n, B, B)
            mask = torch.stack([present for *_, present in pairs])  # (n, B)
            losses = self._losses(similarity, mask, _share_image(image_ids), generator)
        none = losses.new_zeros(())
        positive, negative = _mean_similarities(similarity.detach(), mask)
        return AlignmentLosses(
            semantic=none if self.bridge == "direct" else losses[0],
            modality=losses[-1] if images is not None else none,
            positive_similarity=positive,
            negative_similarity=negative,
        )

    def _losses(
        self, similarity: Tensor, mask: Tensor, duplicates: Tensor, generator: Generator | None
    ) -> Tensor:
        """The loss (n,) of each alignment: the mean over its two directions."""
        both = torch.cat((similarity, similarity.mT))  # (2 n, B, B)
        arguments = {
            "mask": mask.repeat(2, 1),
            "duplicates": duplicates if self.mask_duplicates else None,
        }
        if self.objective == "infonce":
            losses = infonce_loss(both, self.temperature, **arguments)
        else:
            losses = shapley_contrastive_loss(
                both,
                self.temperature,
                self.estimator,
                self.negatives,
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


def _mean_similarities(similarity: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of positive and of negative pairs among present posts; 0 where there are none."""
    valid = mask[:, :, None] & mask[:, None, :]
    positive = valid & _positive_pairs(similarity)
    negative = valid & ~positive
    return tuple(  # type: ignore[return-value]
        (similarity * pairs).sum() / pairs.sum().clamp(min=1) for pairs in (positive, negative)
    )
