"""The image encoder's section, and the names that an image encoder may have."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shapca.config.base import Section

PACKAGED = ("efficientnet-lite0", "efficientnet-lite2")
TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
    *(f"efficientnet_b{size}" for size in range(8)),
    "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l",
    "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14",
    "swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b",
)  # fmt: skip
NAMED = ("none", "clip-vit-b-32", *PACKAGED, *TORCHVISION)
OF_224_PIXELS = ("none", "resnet18", "resnet50", "resnet152", "clip-vit-b-32", *PACKAGED)
"""Encoders that see 224 pixels unless another size is given; all others, their own."""


def check_encoder(name: str) -> str:
    """An encoder's name as it is.

    Raises:
        ValueError: neither a known name nor what may be a hub's name or a folder's path.
    """
    if name in NAMED or name.startswith((".", "/", "~")) or "/" in name.strip("/"):
        return name
    close = get_close_matches(name, NAMED, n=1)
    raise ValueError(
        f"expected one of {', '.join(NAMED)}, or a vision model of transformers by its hub name "
        f"(OWNER/NAME) or folder, got {name!r}" + (f"; did you mean {close[0]}?" if close else "")
    )


class ImageConfig(Section):
    """Image encoder (Eq. 2)."""

    encoder: Annotated[str, AfterValidator(check_encoder)] = "resnet152"
    """A torchvision architecture (ResNet, ConvNeXt, EfficientNet, ViT, Swin), `clip-vit-b-32`,
    `efficientnet-lite0` or `-lite2` (packaged), hub name or folder of a vision model of
    transformers (CLIP, SigLIP, DINOv2, ViT, Swin …), or `none`."""
    weights: str = "pretrained"
    """`pretrained` (by the encoder's name), `random`, or a file or folder of weights."""
    size: Annotated[int, Field(ge=16, le=512)] | None = 224
    """Side of the square that the encoder sees, cropped from the stored image, in pixels; null: as
    the encoder was trained, which is the default of encoders other than resnet18, resnet50,
    resnet152, clip-vit-b-32 and efficientnet-lite."""
    freeze: bool = False
    """Keep the encoder's weights as they are; pictures are then encoded once and kept beside the
    data, except training pictures under `augment`."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    missing: Literal["mask", "error"] = "mask"
    """A missing image is masked and counted, or refused."""
    augment: bool = False
    """Random crop and horizontal flip of training images."""

    @property
    def is_from_transformers(self) -> bool:
        """Whether the encoder is named by a hub name or folder, weights and all."""
        return self.encoder not in NAMED

    @model_validator(mode="before")
    @classmethod
    def _own_size(cls, tree: Any) -> Any:
        """Write null where the size is left out and is not 224."""
        if not isinstance(tree, dict) or "size" in tree:
            return tree
        return tree if tree.get("encoder", "none") in OF_224_PIXELS else {**tree, "size": None}

    @model_validator(mode="after")
    def _one_place_of_weights(self) -> Self:
        if self.is_from_transformers and self.weights not in ("pretrained", "random"):
            raise ValueError(
                f"weights must be pretrained or random where encoder names a model, got "
                f"{self.weights!r}"
            )
        return self
