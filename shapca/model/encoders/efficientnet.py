"""EfficientNet-Lite: the EfficientNet of Tan and Le (2019) without squeeze-and-excitation.

Its activation is ReLU6, stem and head are not scaled with the rest, and images are padded as
TensorFlow does it, in which the published weights were trained.

N images, S image side, R regions, H_v width (1280).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapca.model.encoders.recomputation import recomputed

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
STEM_WIDTH, WIDTH = 32, 1280
# Kernel, stride of the first block, and factor of the inner width of each stage.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
# Width and number of blocks of each stage: B0's, and those scaled by 1.1 and 1.2.
SIZES = {
    "efficientnet-lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet-lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
# What the published files call the layers, at the top and within a block.
FILE_NAMES = {
    "_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm",
}  # fmt: skip
FILE_NAMES_IN_BLOCK = {
    "_expand_conv": "expand.conv", "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv", "_bn1": "depthwise.norm",
    "_project_conv": "project.conv", "_bn2": "project.norm",
}  # fmt: skip


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite without its classifier: a grid of regions and their mean.

    Args:
        architecture: `efficientnet-lite0` or `efficientnet-lite2`.
        gradient_checkpointing: Keep the input of each block alone, and recompute the rest in the
            backward pass.
    """

    def __init__(self, architecture: str, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.width = WIDTH
        self.stem = _layer(3, STEM_WIDTH, 3, stride=2)
        blocks, before = [], STEM_WIDTH
        for (kernel, stride, factor), width, num_blocks in zip(
            STAGES, *SIZES[architecture], strict=True
        ):
            for number in range(num_blocks):
                blocks.append(_Block(before, width, kernel, 1 if number else stride, factor))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = _layer(before, WIDTH, 1)

    def num_regions(self, size: int) -> int:
        """R for images of side `size`: five halvings, rounded up."""
        return int(-(-size // 32)) ** 2

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (N, R, H_v) and their mean (N, H_v)."""
        grid = self.stem(pixels)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                grid = recomputed(block, grid)
            else:
                grid = block(grid)
        regions = self.head(grid).flatten(2).transpose(1, 2)
        return regions, regions.mean(1)


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published file's weights under the names of `EfficientNetLite`, without the classifier.

    Raises:
        KeyError, ValueError: not such a file.
    """
    renamed = {}
    for name, value in state.items():
        *block, layer, kind = name.split(".")  # e.g. _blocks.3._bn1.weight
        if block:
            renamed[f"blocks.{block[-1]}.{FILE_NAMES_IN_BLOCK[layer]}.{kind}"] = value
        elif layer != "_fc":
            renamed[f"{FILE_NAMES[layer]}.{kind}"] = value
    return renamed


class _Block(nn.Module):
    """Widen, filter each channel by itself, narrow; added to its input where shapes agree."""

    def __init__(self, before: int, width: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        inner = before * factor
        self.is_residual = stride == 1 and before == width
        self.expand = nn.Identity() if factor == 1 else _layer(before, inner, 1)
        self.depthwise = _layer(inner, inner, kernel, stride=stride, groups=inner)
        # Begins as nothing added, as in `ResNet`.
        self.project = _layer(inner, width, 1, is_linear=True, is_zero=self.is_residual)

    def forward(self, grid: Tensor) -> Tensor:
        """(N, before, S, S) to (N, width, S / stride, S / stride)."""
        result: Tensor = self.project(self.depthwise(self.expand(grid)))
        return grid + result if self.is_residual else result


def _layer(
    before: int,
    width: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    is_linear: bool = False,
    is_zero: bool = False,
) -> nn.Sequential:
    parts: dict[str, nn.Module] = {}
    padding = (kernel - 1) // 2
    if stride == 2:
        parts["pad"], padding = _SamePadding(kernel), 0
    conv = nn.Conv2d(before, width, kernel, stride, padding, groups=groups, bias=False)
    nn.init.normal_(conv.weight, std=(2 * groups / (kernel**2 * width)) ** 0.5)
    norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
    if is_zero:
        nn.init.zeros_(norm.weight)
    parts |= {"conv": conv, "norm": norm}
    if not is_linear:
        parts["activation"] = nn.ReLU6(inplace=True)
    return nn.Sequential(OrderedDict(parts))


class _SamePadding(nn.Module):
    """TensorFlow's padding for strides of 2: what is odd goes to the right and to the bottom."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, grid: Tensor) -> Tensor:
        """(N, C, S, S), padded so that ceil(S / 2) windows fit."""
        height, width = (self.kernel - 2 + side % 2 for side in grid.shape[-2:])
        return functional.pad(
            grid, (width // 2, width - width // 2, height // 2, height - height // 2)
        )
