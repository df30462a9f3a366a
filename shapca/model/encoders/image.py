"""Image encoder (Eq. 2): regions and a global feature, on the images that exist.

B batch, N images present, S image side, R regions, H_v width of the image encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, PreTrainedModel

from shapca.config.image import NAMED
from shapca.errors import InputError
from shapca.model.encoders import efficientnet
from shapca.model.encoders.architecture import image_architecture
from shapca.model.encoders.backbones import TorchvisionNetwork, VisionModel
from shapca.model.encoders.efficientnet import EfficientNetLite
from shapca.model.encoders.loading import load_transformer
from shapca.model.encoders.processing import IMAGE_FILES, image_processing
from shapca.model.encoders.recomputation import recomputed
from shapca.model.encoders.weights import (
    CLIP_HUB_NAME,
    LITE_ENCODERS,
    read_state_dict,
    torchvision_file,
    torchvision_weights,
    weights_file,
)

CLIPS = ("clip", "clip_vision_model")


@dataclass(frozen=True)
class ImageFeatures:
    """What Eq. 2 gives; zero where an image is missing.

    Attributes:
        regions: (B, R, H_v) `H_v`, regional features.
        pooled: (B, H_v) `x_v`, the global feature.
    """

    regions: Tensor
    pooled: Tensor


class ResNet(nn.Module):
    """A torchvision ResNet without its classifier: a grid of regions and their mean.

    Args:
        architecture: `resnet18` to `resnet152`. Residual branches start at zero
            (`zero_init_residual`), without which the features of a deep random network explode.
        gradient_checkpointing: Keep the input of each residual block alone, and recompute the rest
            in the backward pass.
    """

    def __init__(self, architecture: str, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.resnet = torchvision.models.get_model(
            architecture, weights=None, zero_init_residual=True
        )
        self.width: int = self.resnet.fc.in_features
        del self.resnet.fc

    def num_regions(self, size: int) -> int:
        """R for images of side `size`: five halvings, rounded up."""
        return int(-(-size // 32)) ** 2

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (N, R, H_v) and their mean (N, H_v)."""
        net = self.resnet
        grid = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in layer:
                if self.gradient_checkpointing and torch.is_grad_enabled():
                    grid = recomputed(block, grid)
                else:
                    grid = block(grid)  # in the end (N, H_v, S/32, S/32)
        regions = grid.flatten(2).transpose(1, 2)
        return regions, regions.mean(1)


class CLIPVision(nn.Module):
    """CLIP's vision transformer: patch tokens and the pooled token, both after its last norm.

    Args:
        clip: A `transformers.CLIPVisionModel`; position embeddings are interpolated where the
            image is not of its native size.
        gradient_checkpointing: Recompute the layers' activations in the backward pass.
    """

    def __init__(self, clip: CLIPVisionModel, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        if gradient_checkpointing:
            clip.gradient_checkpointing_enable({"use_reentrant": False})
        self.clip = clip
        self.width: int = clip.config.hidden_size
        self.patch: int = clip.config.patch_size
        self.native_size: int = clip.config.image_size

    def num_regions(self, size: int) -> int:
        """R for images of side `size`: whole patches."""
        return int(size // self.patch) ** 2

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens (N, R, H_v) and the pooled token (N, H_v)."""
        output = self.clip(
            pixel_values=pixels,
            interpolate_pos_encoding=pixels.shape[-1] != self.native_size,
        )
        patches = self.clip.post_layernorm(output.last_hidden_state[:, 1:])
        return patches, output.pooler_output


Backbone = ResNet | EfficientNetLite | CLIPVision | TorchvisionNetwork | VisionModel


class ImageEncoder(nn.Module):
    """Normalise, encode the images that exist, leave zeros for those that do not (Eq. 2).

    A missing image costs nothing and touches no batch statistics.

    Args:
        backbone: The network.
        mean: Of each colour channel, on a scale of 0 to 1, as the backbone was trained with.
        std: Of each colour channel.
        freeze: Keep the weights as they are; the backbone then stays in eval mode.
        frozen_statistics: Batch norm stays in eval mode, as fits pretrained weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        freeze: bool = False,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = backbone.width
        self.freeze = freeze
        self.frozen_statistics = frozen_statistics
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        if freeze:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> ImageEncoder:
        """Set training or evaluation mode; what is frozen stays in the latter."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        elif self.frozen_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(
        self, images: Tensor, image_mask: Tensor, present: Tensor | None = None
    ) -> ImageFeatures:
        """Encode the images of a batch.

        Args:
            images: (B, 3, S, S) uint8; or, encoded already, (B, R + 1, H_v) as in `Batch.images`.
            image_mask: (B,) true where there is an image.
            present: (N,) rows of those images; left out, they are looked for, and a GPU waited for.
        """
        if images.is_floating_point():
            return ImageFeatures(images[:, :-1], images[:, -1])
        if present is None:
            present = image_mask.nonzero().squeeze(1)
        batch, size = len(images), images.shape[-1]
        num_regions = self.backbone.num_regions(size)
        if len(present) == 0:
            regions = self.mean.new_zeros(batch, num_regions, self.width)
            return ImageFeatures(regions, regions[:, 0])
        pixels = (images[present].float() / 255 - self.mean) / self.std
        if pixels.device.type == "cuda":
            pixels = pixels.contiguous(memory_format=torch.channels_last)  # as its kernels want it
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            regions, pooled = self.backbone(pixels)
        if len(present) == batch:
            return ImageFeatures(regions, pooled)
        return ImageFeatures(
            regions.new_zeros(batch, *regions.shape[1:]).index_copy(0, present, regions),
            pooled.new_zeros(batch, self.width).index_copy(0, present, pooled),
        )


def load_image_encoder(
    architecture: str,
    weights: str,
    *,
    size: int,
    freeze: bool = False,
    gradient_checkpointing: bool = False,
    pretrained: bool = True,
) -> ImageEncoder:
    """Build an image encoder.

    Args:
        architecture: As `image.encoder` names it.
        weights: `pretrained`, a torchvision name such as `IMAGENET1K_V2`, `random`, or a path:
            the folder of a CLIP, the file of a torchvision model or an EfficientNet-Lite.
        size: Side of the images to come, in pixels.
        freeze: Keep the weights as they are.
        gradient_checkpointing: Recompute activations in the backward pass.
        pretrained: Read the weights; otherwise only the architecture is built.

    Raises:
        InputError: weights that are not there or do not fit, or images too small.
    """
    backbone: Backbone
    frozen_statistics = freeze or weights != "random"
    # Batch norm that trains needs more than one value a channel, even of a single image.
    smallest = 1 if frozen_statistics else 33
    own = image_processing(architecture, weights)
    reads = pretrained and weights != "random"
    recompute = {"gradient_checkpointing": gradient_checkpointing}
    if architecture == "clip-vit-b-32":
        backbone = CLIPVision(_load_clip(weights, pretrained), **recompute)
        smallest = backbone.patch
    elif architecture in LITE_ENCODERS:
        backbone = EfficientNetLite(architecture, **recompute)
    elif architecture.startswith("resnet"):
        backbone = ResNet(architecture, **recompute)
    elif architecture not in NAMED:
        model = _load_vision(architecture, read=reads)
        if isinstance(model, CLIPVisionModel):
            backbone = CLIPVision(model, **recompute)
            smallest = backbone.patch
        else:
            backbone = VisionModel(model, size=size, **recompute)
    else:
        backbone = TorchvisionNetwork(architecture, size=size, **recompute)
    if size < smallest:
        raise InputError(
            f"image.size: {architecture} with weights {weights!r} needs at least "
            f"{smallest} pixels a side, got {size}"
        )
    if reads and not isinstance(backbone, CLIPVision | VisionModel):
        _read_weights(backbone, architecture, weights, _read_state(architecture, weights))
    return ImageEncoder(
        backbone, mean=own.mean, std=own.std, freeze=freeze, frozen_statistics=frozen_statistics
    )


def _load_vision(name: str, *, read: bool) -> PreTrainedModel:
    architecture = image_architecture(name, "image.encoder")
    if not read:
        return architecture.build()
    model: PreTrainedModel = load_transformer(
        architecture, name, "image.encoder", files=IMAGE_FILES
    )
    return model


def _load_clip(weights: str, pretrained: bool) -> CLIPVisionModel:
    if weights == "random" or (weights == "pretrained" and not pretrained):
        return CLIPVisionModel(CLIPVisionConfig())  # the defaults are ViT-B/32
    name = CLIP_HUB_NAME if weights == "pretrained" else weights
    architecture = image_architecture(name, "image.weights", only=CLIPS)
    if not pretrained:
        return architecture.build()
    return load_transformer(architecture, name, "image.weights", files=IMAGE_FILES)


def _read_weights(
    backbone: ResNet | EfficientNetLite | TorchvisionNetwork,
    architecture: str,
    weights: str,
    state: dict[str, Tensor],
) -> None:
    try:
        if isinstance(backbone, EfficientNetLite):
            backbone.load_state_dict(efficientnet.rename_published(state))
        elif isinstance(backbone, TorchvisionNetwork):
            backbone.read(state)
        else:
            kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
            backbone.resnet.load_state_dict(kept)
    except (RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"image.weights: {weights}: not weights of a {architecture}") from error


def _read_state(architecture: str, weights: str) -> dict[str, Tensor]:
    known = torchvision_weights(architecture, weights)
    if known is None:
        return read_state_dict(weights_file(architecture, weights), "image.weights")
    file = torchvision_file(known.url)
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            beginning_of_hash = file.stem.rpartition("-")[2]
            torch.hub.download_url_to_file(known.url, str(file), beginning_of_hash, progress=False)
        except (URLError, OSError, RuntimeError) as error:  # the last one: another hash
            raise InputError(
                f"image.weights: {known.url} could not be fetched ({error}); where it can, save "
                "that file, bring it here and set image.weights to its path"
            ) from error
    return read_state_dict(file, "image.weights")
