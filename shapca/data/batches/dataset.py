"""A split, encoded once: ragged numpy arrays from which batches are taken.

N posts of the split, B batch, T sub-words, W words, C sub-words of the context, S image side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from shapca.data.batches.batch import Batch
from shapca.data.batches.encoding import Encode, EncodingReport, Sequences, encode_sequences
from shapca.data.batches.gold import given_pairs, pair_tables, pos_ids, tag_ids
from shapca.data.batches.pictures import Augmentation, PictureFeatures, Pictures
from shapca.data.batches.ragged import Bools, Ints, Ragged
from shapca.data.images import ImageStore
from shapca.data.schema import Example, Labels
from shapca.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedSplit:
    """N posts, ready to be batched.

    Attributes:
        examples: The posts.
        report: What was cut, empty, missing or unknown.
        lengths: (N,) sub-words of text and context together, for bucketing.
        image_ids: (N,) equal numbers for posts that name the same image, whether or not it could
            be read; -1 for posts that name none.
        pictures: The posts' pictures; `None` for a model without image encoder.
    """

    examples: tuple[Example, ...]
    report: EncodingReport
    lengths: Ints
    image_ids: Ints
    pictures: Pictures | None
    _sequences: Sequences
    _pos: Ragged
    _tags: Ragged | None = None
    _tables: Ragged | None = None
    _pairs: Ints | None = None
    _features: PictureFeatures | None = None

    @classmethod
    def build(
        cls,
        examples: Sequence[Example],
        labels: Labels,
        tokenizer: PreTrainedTokenizerBase,
        *,
        contexts: Mapping[str, str] | None,
        images: ImageStore | None,
        image_size: int = 224,
        max_length: int = 256,
        encode: Encode = "joint",
        missing_image: Literal["mask", "error"] = "mask",
    ) -> EncodedSplit:
        """Tokenise a split and lay out its gold labels.

        Args:
            examples: The posts; MNER without tags (on every post) makes a split without gold.
            labels: Task and label sets.
            tokenizer: The text encoder's; it has special sub-words such as [CLS] and [SEP].
            contexts: Image id to text; `None` for a model of the text alone.
            images: The stored pictures; `None` for a model without image encoder.
            image_size: Side S that the encoder sees, cropped from the stored square, in pixels.
            max_length: Sub-words of one encoder input, special ones included.
            encode: Text and context in one input, or each in its own.
            missing_image: Mask posts without a readable picture and count them, or refuse them.

        Raises:
            InputError: an example that the task cannot use, a picture missing under `error`, or
                stored pictures smaller than `image_size`.
        """
        examples = tuple(examples)
        sequences = encode_sequences(
            [example.words for example in examples],
            None if contexts is None else [_context(example, contexts) for example in examples],
            tokenizer,
            max_length=max_length,
            encode=encode,
        )
        report = sequences.report
        pictures = None
        if images is not None:
            pictures = Pictures.of([e.image for e in examples], images, image_size)
            report = dataclasses.replace(report, num_missing_images=pictures.num_missing)
            if missing_image == "error":
                _refuse_missing(examples, pictures)
        return cls(
            examples=examples,
            report=report,
            lengths=sequences.inputs.lengths
            + (0 if sequences.context_inputs is None else sequences.context_inputs.lengths),
            image_ids=_number_images(examples),
            pictures=pictures,
            _sequences=sequences,
            _pos=pos_ids(examples, sequences.num_words),
            _tags=tag_ids(examples, labels, sequences.num_words),
            _tables=pair_tables(examples, labels, sequences.num_words),
            _pairs=given_pairs(examples, labels),
        )

    def __len__(self) -> int:
        return len(self.examples)

    def with_features(self, features: PictureFeatures) -> EncodedSplit:
        """The same posts, their pictures encoded already; augmentation would have no effect."""
        return dataclasses.replace(self, _features=features)

    def augmentation(self, seed: int, epoch: int) -> Augmentation | None:
        """Crops and flips of the split's pictures in one epoch, a pure function of both numbers.

        Returns:
            None for a model without image encoder.
        """
        if self.pictures is None:
            return None
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, 1)))
        return self.pictures.augmentation(generator)

    def collate(self, rows: Sequence[int], augmentation: Augmentation | None = None) -> Batch:
        """The batch of some posts, padded to the longest of them.

        W is the largest number of words that the encoder sees: words that were cut have no column.

        Args:
            rows: (B,) numbers of the posts.
            augmentation: Crops and flips of an epoch; `None`: centre crops.
        """
        chosen: Ints = np.asarray(rows, dtype=np.int64)
        sequences, layout = self._sequences, self._sequences.layout
        inputs, attention = sequences.inputs.padded(chosen, layout.padding)  # (B, T)
        texts = sequences.texts[chosen][:, None]  # (B, 1)
        places = np.arange(inputs.shape[1])  # (T,)
        word_starts, word_mask = sequences.word_starts.padded(chosen)  # (B, W)

        contexts = sequences.contexts[chosen][:, None]
        context_places = np.arange(max(1, int(contexts.max(initial=0))))  # (C,)
        context_mask = context_places < contexts  # (B, C)
        separate = sequences.context_inputs
        begin = texts + 1 + len(layout.between) if separate is None else 1
        optional: dict[str, Ints | Bools] = {}
        if separate is not None:
            optional["context_input_ids"], optional["context_attention_mask"] = separate.padded(
                chosen, layout.padding
            )
        optional |= self._gold(chosen, word_mask)
        images = None
        if self._features is not None:
            images = torch.from_numpy(self._features.take(chosen))
        elif self.pictures is not None:
            images = torch.from_numpy(self.pictures.crop(chosen, augmentation))
        return Batch(
            rows=_tensor(chosen),
            input_ids=_tensor(inputs),
            attention_mask=_tensor(attention),
            token_type_ids=_tensor(
                (attention & (places > texts + len(layout.between))).astype(np.int64)
                * layout.context_type
            ),
            text_mask=_tensor((places >= 1) & (places <= texts)),
            word_starts=_tensor(word_starts),
            word_mask=_tensor(word_mask),
            context_positions=_tensor(np.where(context_mask, begin + context_places, 0)),
            context_mask=_tensor(context_mask),
            pos=_tensor(self._pos.padded(chosen)[0]),
            image_mask=_tensor(
                np.zeros(len(chosen), dtype=bool)
                if self.pictures is None
                else self.pictures.present[chosen]
            ),
            image_ids=_tensor(self.image_ids[chosen]),
            images=images,
            **{name: _tensor(value) for name, value in optional.items()},
        )

    def _gold(self, rows: Ints, word_mask: Bools) -> dict[str, Ints | Bools]:
        """The task's own fields of a batch."""
        if self._tags is not None:
            return {"tags": self._tags.padded(rows)[0]}
        words = np.arange(word_mask.shape[1])  # (W,)
        seen = word_mask[:, :, None] & word_mask[:, None, :]  # (B, W, W)
        if self._tables is not None:
            num_words = word_mask.sum(axis=1)[:, None, None]
            cells = words[:, None] * num_words + words  # (B, W, W) places in a flattened table
            return {
                "pair_labels": self._tables.gather(rows, cells, seen),
                "pair_mask": seen & (words[:, None] <= words),
            }
        if self._pairs is not None:
            heads, tails = self._pairs[rows, 0:2], self._pairs[rows, 2:4]  # (B, 2)
            labels = self._pairs[rows, 4][:, None, None]
            mask = seen & _within(heads, words)[:, :, None] & _within(tails, words)[:, None, :]
            return {
                "pair_labels": np.where(mask, labels, 0),
                "pair_mask": mask,
                "heads": heads,
                "tails": tails,
            }
        return {}


def _tensor(array: Ints | Bools) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _within(spans: Ints, words: Ints) -> Bools:
    """(B, W) which words lie in the span (B, 2) of each post."""
    result: Bools = (words >= spans[:, :1]) & (words < spans[:, 1:])
    return result


def _context(example: Example, contexts: Mapping[str, str]) -> str:
    return "" if example.image is None else contexts.get(example.image, "")


def _number_images(examples: Sequence[Example]) -> Ints:
    numbers: dict[str, int] = {}
    return np.asarray(
        [-1 if e.image is None else numbers.setdefault(e.image, len(numbers)) for e in examples],
        dtype=np.int64,
    )


def _refuse_missing(examples: Sequence[Example], pictures: Pictures) -> None:
    if pictures.num_missing:
        first = examples[int(np.argmin(pictures.present))]
        raise InputError(
            f"image.missing: error, yet {pictures.num_missing} of {len(examples)} posts have no "
            f"readable picture, the first being {first.id!r} (image {first.image!r}); "
            "add the pictures, or set image.missing=mask"
        )
