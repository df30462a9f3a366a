"""Batches as published repositories of this field make them, over the same posts and pictures.

Each epoch, each post anew: its picture opened, decoded and scaled by Pillow, each word through the
tokenizer, its parts of speech by spaCy, the table of word pairs filled one by one, and everything
padded to a fixed length. What comes out is an ordinary `Batch`, so that the same model trains on
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from shapca.data.batches.batch import Batch
from shapca.data.pos import tag_words
from shapca.data.schema import Example, Labels
from tests.oracles.batches import naive_post

MAX_LENGTH = 128


@dataclass(frozen=True)
class PublishedLoop:
    """The posts of a split, encoded when they are asked for.

    Attributes:
        examples: the posts.
        labels: task and label sets.
        tokenizer: the text encoder's.
        contexts: image id to context.
        pictures: image id to its file; none for a model of the text alone.
        stored_size: side of the squares that pictures are scaled to, in pixels.
        image_size: side of the centre that is cropped from them.
    """

    examples: Sequence[Example]
    labels: Labels
    tokenizer: Any
    contexts: Mapping[str, str]
    pictures: Mapping[str, Path] | None
    stored_size: int
    image_size: int

    def batch(self, rows: Sequence[int]) -> Batch:
        """The posts of some rows, stacked."""
        posts = [self._post(row) for row in rows]
        stacked = {name: torch.stack([post[name] for post in posts]) for name in posts[0]}
        return Batch(**stacked)

    def _post(self, row: int) -> dict[str, Tensor]:
        example = self.examples[row]
        assert example.image is not None
        context = self.contexts.get(example.image, "")
        (pos,) = tag_words([example.words])
        example = dataclasses.replace(example, pos=pos)
        lists = naive_post(
            example, self.labels, self.tokenizer, context, max_length=MAX_LENGTH, encode="joint"
        )
        fields = {name: _padded(values) for name, values in lists.items()}
        fields["attention_mask"] = _first(len(lists["input_ids"]))
        fields["word_mask"] = _first(len(lists["word_starts"]))
        fields["context_mask"] = _first(len(lists["context_positions"]))
        fields["rows"] = torch.tensor(row)
        fields["image_ids"] = torch.tensor(row)
        if self.labels.task == "mre":
            fields["heads"] = torch.tensor(example.relations[0].head)
            fields["tails"] = torch.tensor(example.relations[0].tail)
        file = None if self.pictures is None else self.pictures.get(example.image)
        fields["image_mask"] = torch.tensor(file is not None)
        if self.pictures is not None:
            fields["images"] = self._picture(file)
        return fields

    def _picture(self, file: Path | None) -> Tensor:
        if file is None:
            return torch.zeros(3, self.image_size, self.image_size, dtype=torch.uint8)
        with Image.open(file) as image:  # pictures here are square
            square = image.convert("RGB").resize(
                (self.stored_size, self.stored_size), Image.Resampling.BICUBIC
            )
        start = (self.stored_size - self.image_size) // 2
        end = start + self.image_size
        tensor: Tensor = pil_to_tensor(square.crop((start, start, end, end)))
        return tensor


def _padded(values: Any) -> Tensor:
    array = np.asarray(values, dtype=None if values else np.int64)
    result = np.zeros((MAX_LENGTH,) * max(1, array.ndim), dtype=array.dtype)
    result[tuple(slice(length) for length in array.shape)] = array
    return torch.from_numpy(result)


def _first(length: int) -> Tensor:
    return torch.arange(MAX_LENGTH) < length
