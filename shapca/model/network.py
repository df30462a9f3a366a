"""Shap-CA: encoders, alignment, fusion and head put together, and nothing else.

B batch, W words, H width of the text encoder, H_v of the image encoder, D of the fusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from shapca.alignment import AlignmentLosses, ContrastiveAlignment, Similarities
from shapca.alignment.health import AlignmentHealth
from shapca.data.batches.batch import Batch
from shapca.model.encoders.image import ImageEncoder, ImageFeatures
from shapca.model.encoders.text import TextEncoder, TextFeatures
from shapca.model.fusion import Fusion
from shapca.model.heads.channels import ChannelEmbeddings, Channels
from shapca.model.heads.crf import CRFHead
from shapca.model.heads.word_pair import WordPairHead


@dataclass(frozen=True)
class ModelOutput:
    """What a training batch gives, scalars; a term that a variant lacks is zero.

    Attributes:
        loss: What is minimised, alpha * semantic + beta * modality + main (Eq. 19).
        main: The head's loss (Eq. 13, 18).
        semantic: Context with text (Eq. 6), unweighted.
        modality: Context with image (Eq. 7), or text with image directly; unweighted.
        positive_similarity: Mean cosine of true pairs, for the log.
        negative_similarity: Mean cosine of all other pairs, for the log.
    """

    loss: Tensor
    main: Tensor
    semantic: Tensor
    modality: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor


class ShapCA(nn.Module):
    """The method, and its variants by leaving parts out.

    Args:
        text: Text encoder.
        head: Classifier.
        image: Image encoder, or `None`.
        alignment: Contrastive alignment, or `None`.
        fusion: Makes the text channel of word features; `None`: the encoder's own.
        channels: Part-of-speech and position channels; `None`: the text channel alone.
        separate_features: Align features of separate passes of text and context, whatever pass
            the words and contexts of the fusion come from.
        alpha: Weight of the semantic loss.
        beta: Weight of the modality loss.
    """

    def __init__(
        self,
        *,
        text: TextEncoder,
        head: CRFHead | WordPairHead,
        image: ImageEncoder | None = None,
        alignment: ContrastiveAlignment | None = None,
        fusion: Fusion | None = None,
        channels: ChannelEmbeddings | None = None,
        separate_features: bool = False,
        alpha: float = 0.2,
        beta: float = 0.4,
    ) -> None:
        super().__init__()
        self.text = text
        self.image = image
        self.alignment = alignment
        self.fusion = fusion
        self.channels = channels
        self.separate_features = separate_features
        self.head = head
        self.alpha = alpha
        self.beta = beta

    def forward(self, batch: Batch, generator: Generator | None = None) -> ModelOutput:
        """The losses of a batch.

        Args:
            batch: Input and gold.
            generator: Where the alignment draws its permutations from.
        """
        text, image = self._encode(batch)
        main = self.head.loss(self._channels(batch, text, image), batch)
        if self.alignment is None:
            zero = main.new_zeros(())
            return ModelOutput(main, main, zero, zero, zero, zero)
        aligned: AlignmentLosses = self.alignment(
            *self._aligned_features(batch, text, image), batch.image_ids, generator
        )
        return ModelOutput(
            loss=main + self.alpha * aligned.semantic + self.beta * aligned.modality,
            main=main,
            semantic=aligned.semantic,
            modality=aligned.modality,
            positive_similarity=aligned.positive_similarity,
            negative_similarity=aligned.negative_similarity,
        )

    @torch.no_grad()
    def predict(self, batch: Batch, health: AlignmentHealth | None = None) -> Any:
        """What the head decodes; `shapca.model.heads.predictions` turns it into predictions.

        Args:
            batch: Input; gold is not read.
            health: Takes in the pairs that the model's alignment would align.
        """
        text, image = self._encode(batch)
        if health is not None and self.alignment is not None:
            health.add(self.alignment.pairs(*self._aligned_features(batch, text, image)))
        return self.head.decode(self._channels(batch, text, image), batch)

    @torch.no_grad()
    def predict_with_evidence(self, batch: Batch) -> tuple[Any, Any]:
        """What `predict` gives, and what `shapca.model.heads.confidences` reads beside it."""
        text, image = self._encode(batch)
        return self.head.decode_with_evidence(self._channels(batch, text, image), batch)

    @property
    def reads_together(self) -> bool:
        """Whether the texts and contexts to be aligned come out of one pass."""
        return self.text.encode == "joint" and not self.separate_features

    @torch.no_grad()
    def compare(self, batch: Batch) -> Similarities:
        """The cosines that the alignment of a batch is made of.

        Raises:
            ValueError: the model has no alignment.
        """
        if self.alignment is None:
            raise ValueError("the model has no alignment")
        text, image = self._encode(batch)
        return Similarities.of(self.alignment.pairs(*self._aligned_features(batch, text, image)))

    def parameter_groups(
        self, weight_decay: float, lr: float, encoder_lr: float
    ) -> list[dict[str, Any]]:
        """Trainable parameters for AdamW, by learning rate and decay; no group is empty.

        Vectors and scalars, which are biases and norms, are not decayed.

        Args:
            weight_decay: Of matrices.
            lr: Peak learning rate of all but the encoders.
            encoder_lr: Peak learning rate of the encoders.
        """
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                of_encoder = name.startswith(("text.", "image."))
                groups.setdefault((of_encoder, parameter.ndim > 1), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": encoder_lr if of_encoder else lr,
                "weight_decay": weight_decay if decayed else 0.0,
            }
            for (of_encoder, decayed), parameters in groups.items()
        ]

    def _encode(self, batch: Batch) -> tuple[TextFeatures, ImageFeatures | None]:
        text = self.text(batch)
        if self.image is None:
            return text, None
        if batch.images is None:
            raise ValueError("the model has an image encoder, but the batch holds no images")
        return text, self.image(batch.images, batch.image_mask, batch.image_rows)

    def _channels(self, batch: Batch, text: TextFeatures, image: ImageFeatures | None) -> Channels:
        words = text.words  # (B, W, H)
        if self.fusion is not None:
            words = self.fusion(
                words,
                batch.word_mask,
                text.context,
                batch.context_mask,
                None if image is None else image.regions,
                batch.image_mask,
            )  # (B, W, D)
        if self.channels is None:
            return Channels(text=words, mask=batch.word_mask)
        channels: Channels = self.channels(words, batch.pos, batch.word_mask)
        return channels

    def _aligned_features(
        self, batch: Batch, text: TextFeatures, image: ImageFeatures | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Texts, contexts and images of the posts, and which posts have a context and an image."""
        x_t, x_c = self.text.apart(batch) if self.separate_features else (text.x_t, text.x_c)
        pooled = None if image is None else image.pooled
        return x_t, x_c, pooled, batch.context_mask.any(1), batch.image_mask
