"""Image networks of torchvision and of transformers, all of one form.

Each gives regions and a global feature of pictures. N images, S image side, R regions, H_v width.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers import PreTrainedModel

from shapca.errors import InputError
from shapca.model.encoders.recomputation import recomputed

# Beginnings of the weights that belong to a classifier, which is left out.
_CLASSIFIERS = ("fc.", "classifier.1.", "classifier.2.", "head.", "heads.")


class Probed(nn.Module):
    """A network whose regions are counted by running it on a picture without content.

    Args:
        place: Who it is, for messages.
    """

    width: int

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._shapes: dict[int, torch.Size] = {}

    def num_regions(self, size: int) -> int:
        """R for images of side `size`.

        Raises:
            InputError: such images cannot be read, or give no regions.
        """
        return self._shape(size)[1]

    def _shape(self, size: int) -> torch.Size:
        """(1, R, H_v) of an image of side `size`, by a pass on the meta device."""
        if size not in self._shapes:
            names = (*self.named_parameters(), *self.named_buffers())
            state = {name: value.detach().to("meta") for name, value in names}
            pixels = torch.zeros(1, 3, size, size, device="meta")
            try:
                with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("meta"):
                    regions, pooled = torch.func.functional_call(self, state, (pixels,))
            except (
                Exception
            ) as error:  # whatever a network makes of a size that it was not made for
                first = str(error).strip().partition("\n")[0] or type(error).__name__
                raise InputError(
                    f"{self._place}: pictures of {size} pixels cannot be read ({first})"
                ) from error
            if regions.dim() != 3 or 0 in regions.shape or pooled.shape != regions[:, 0].shape:
                raise InputError(
                    f"{self._place}: expected regions (1, R, H) and one feature (1, H) of a "
                    f"picture, got {tuple(regions.shape)} and {tuple(pooled.shape)}"
                )
            self._shapes[size] = regions.shape
        return self._shapes[size]


class TorchvisionNetwork(Probed):
    """A ConvNeXt, EfficientNet, ViT or Swin of torchvision without its classifier.

    Args:
        architecture: Its name in torchvision.
        size: Side S of the images; a ViT reads no other.
        gradient_checkpointing: Keep the input of each block alone, and recompute the rest in the
            backward pass.
    """

    def __init__(
        self, architecture: str, *, size: int, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__(f"image.size: {architecture}")
        self.gradient_checkpointing = gradient_checkpointing
        self.is_vit = architecture.startswith("vit_")
        self.size = size
        options = {"image_size": size} if self.is_vit else {}
        try:
            network = torchvision.models.get_model(architecture, weights=None, **options)
        except AssertionError as error:
            raise InputError(
                f"image.size: {architecture}: expected whole patches of {architecture[-2:]} "
                f"pixels, got {size}"
            ) from error
        if self.is_vit:
            network.heads = nn.Identity()
        elif architecture.startswith("swin"):
            del network.head
        elif architecture.startswith("convnext"):
            del network.classifier[2]
        else:
            del network.classifier
        self.network = network
        self.width = self._shape(size)[2]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (N, R, H_v) and the global feature (N, H_v)."""
        net = self.network
        if self.is_vit:
            tokens = net._process_input(pixels)  # (N, R, H_v)
            tokens = torch.cat((net.class_token.expand(len(tokens), -1, -1), tokens), dim=1)
            tokens = net.encoder.dropout(tokens + net.encoder.pos_embedding)
            tokens = net.encoder.ln(self._through(net.encoder.layers, tokens))
            return tokens[:, 1:], tokens[:, 0]
        grid = pixels
        for stage in net.features:
            grid = self._through(stage if type(stage) is nn.Sequential else [stage], grid)
        if hasattr(net, "classifier"):  # a ConvNeXt normalises what it has averaged
            pooled = net.classifier[0](grid.mean((2, 3), keepdim=True)).flatten(1)
            return net.classifier[0](grid).flatten(2).mT, pooled
        regions = net.norm(grid).flatten(1, 2) if hasattr(net, "norm") else grid.flatten(2).mT
        return regions, regions.mean(1)

    def _through(self, blocks: Any, features: Tensor) -> Tensor:
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for block in blocks:
            features = recomputed(block, features, is_random=True) if recompute else block(features)
        return features

    def read(self, state: dict[str, Tensor]) -> None:
        """Take over published weights; a ViT's positions are interpolated to its image size.

        Raises:
            RuntimeError, KeyError, ValueError: they are another architecture's.
        """
        kept = {name: value for name, value in state.items() if not name.startswith(_CLASSIFIERS)}
        if self.is_vit:
            patch = self.network.patch_size
            kept = dict(interpolate_embeddings(self.size, patch, kept))
        self.network.load_state_dict(kept)


class VisionModel(Probed):
    """An image encoder of transformers: tokens of patches, or a grid of features.

    Args:
        model: The model. Position embeddings are interpolated where the image is not of its native
            size.
        size: Side S of the images to come.
        gradient_checkpointing: Recompute the layers' activations in the backward pass.
    """

    def __init__(
        self, model: PreTrainedModel, *, size: int, gradient_checkpointing: bool = False
    ) -> None:
        kind = model.config.model_type
        super().__init__(f"image.encoder: a {kind}")
        if gradient_checkpointing:
            if not model.supports_gradient_checkpointing:
                raise InputError(
                    f"image.gradient_checkpointing: transformers has none for {kind}; set it to "
                    "false"
                )
            model.gradient_checkpointing_enable({"use_reentrant": False})
        for name, parameter in model.named_parameters():
            if name.endswith("mask_token"):  # of masked pre-training alone
                parameter.requires_grad_(False)
        self.model = model
        self._interpolates = (
            "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        )
        self.width = self._shape(size)[2]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (N, R, H_v) and the global feature (N, H_v)."""
        config, size = self.model.config, pixels.shape[-1]
        run = partial(self.model, pixel_values=pixels)
        if self._interpolates:
            native = config.image_size
            native = native[0] if isinstance(native, list | tuple) else native
            run = partial(run, interpolate_pos_encoding=size != native)
        output = run()
        regions = output.last_hidden_state
        num_others = 0  # tokens before the patches'
        if regions.dim() == 4:  # a grid (N, H_v, S', S')
            regions = regions.flatten(2).mT
        elif not hasattr(config, "depths"):  # all patches to the end
            patch = config.patch_size
            patch = patch[0] if isinstance(patch, list | tuple) else patch
            num_others = regions.shape[1] - (size // patch) ** 2
            if num_others < 0:
                raise ValueError(f"{regions.shape[1]} tokens of {(size // patch) ** 2} patches")
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            pooled = regions[:, 0] if num_others else regions.mean(1)
        return regions[:, num_others:], pooled.flatten(1)
