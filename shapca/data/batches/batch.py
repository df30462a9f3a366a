"""Batches as a frozen dataclass of tensors.

B batch, T sub-words of the joint input, W words, C sub-words of the context, S image side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Input and gold of B posts, padded to the longest of the batch.

    Attributes:
        rows: (B,) index of each post in its split.
        input_ids: (B, T) sub-words `[CLS] text [SEP] context [SEP]`; without the context part
            where there is none or where texts are encoded separately.
        attention_mask: (B, T) true on real sub-words.
        token_type_ids: (B, T) 0 on the text's part; on the context's 1, or 0 where the tokenizer
            knows no types.
        text_mask: (B, T) true on sub-words of the text, not on [CLS] and [SEP].
        word_starts: (B, W) place in T of each word's first sub-word; 0 where `word_mask` is false.
        word_mask: (B, W) true on words that the encoder sees; false on padding and on cut words.
        context_positions: (B, C) place in T (joint) or in T_c (separate) of each sub-word of the
            context.
        context_mask: (B, C) true on real context sub-words; all false for an empty context.
        pos: (B, W) part-of-speech ids, 0 on padding.
        image_mask: (B,) true where the post has an image.
        image_ids: (B,) equal numbers for posts that share an image, -1 where there is none.
        images: (B, 3, S, S) uint8, zeros where missing; `None` for a model without image encoder.
            Or what a frozen encoder gave for them: (B, R + 1, H_v) float32, the regions and, in
            the last row, the global feature.
        context_input_ids: (B, T_c) `[CLS] context [SEP]`, only where encoded separately.
        context_attention_mask: (B, T_c) true on real sub-words, only where encoded separately.
        tags: (B, W) gold tag ids of the CRF, 0 on padding (MNER).
        pair_labels: (B, W, W) gold labels of word pairs (MRE, MJERE).
        pair_mask: (B, W, W) true on the cells that loss and decoding read.
        heads: (B, 2) start and end of the given head entity (MRE).
        tails: (B, 2) start and end of the given tail entity (MRE).
        image_rows: (N,) the rows where `image_mask` is true.
        pair_cells: (M,) places b W W + i W + j where `pair_mask` is true, row by row.
        text_places: Sub-words of the longest `[CLS] text [SEP]`.

    The last three are found in the masks where a batch is made, on the CPU: to ask a GPU how many
    there are is to wait for it.
    """

    rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    text_mask: Tensor
    word_starts: Tensor
    word_mask: Tensor
    context_positions: Tensor
    context_mask: Tensor
    pos: Tensor
    image_mask: Tensor
    image_ids: Tensor
    images: Tensor | None = None
    context_input_ids: Tensor | None = None
    context_attention_mask: Tensor | None = None
    tags: Tensor | None = None
    pair_labels: Tensor | None = None
    pair_mask: Tensor | None = None
    heads: Tensor | None = None
    tails: Tensor | None = None
    image_rows: Tensor = field(init=False)
    pair_cells: Tensor | None = field(init=False)
    text_places: int = field(init=False)

    def __post_init__(self) -> None:
        pairs = self.pair_mask
        cells = None if pairs is None else pairs.flatten().nonzero().squeeze(1)
        object.__setattr__(self, "image_rows", self.image_mask.nonzero().squeeze(1))
        object.__setattr__(self, "pair_cells", cells)
        object.__setattr__(self, "text_places", int(self.text_mask.sum(1).max()) + 2)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; copies overlap with compute where memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by torch's DataLoader)."""
        return self._map(lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory of a batch that another stream copied until this one has read it."""
        for value in vars(self).values():
            if isinstance(value, Tensor):
                value.record_stream(stream)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed = copy.copy(self)  # what was found in the masks is not looked for again
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                object.__setattr__(changed, name, change(value))
        return changed

    def __len__(self) -> int:
        return len(self.rows)
