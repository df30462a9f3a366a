"""From a prepared data set and a configuration to the encoded splits that a model reads."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from shapca.config import ExperimentConfig, Task
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.images import ImageStore
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, Example, Labels
from shapca.errors import InputError
from shapca.model.encoders import ImageEncoder, load_tokenizer, weights_fingerprints
from shapca.model.encoders.processing import image_size
from shapca.model.picture_features import with_picture_features

logger = logging.getLogger(__name__)

NUM_SPLITS_KEPT = 8
_kept: OrderedDict[Hashable, EncodedSplit] = OrderedDict()


def encode_split(
    config: ExperimentConfig, data: PreparedData, split: str, encoder: ImageEncoder | None = None
) -> EncodedSplit:
    """A split as the model of a configuration reads it.

    The training split carries its gold; validation and test do not, so that no prediction can
    depend on it. The last few encoded splits of the process are kept, since many runs read the
    same ones.

    Args:
        config: Which contexts, images and tokenizer, how long, how many training posts.
        data: The prepared data set.
        split: `train`, `valid` or `test`.
        encoder: The model's image encoder; a frozen one encodes the pictures that are not augmented
            here, once for all runs.

    Raises:
        InputError: a part that the configuration needs is missing, or the split is empty.
    """
    key = _key(config, data, split)
    if key not in _kept:
        _kept[key] = _encode(config, data, split)
        while len(_kept) > NUM_SPLITS_KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    if split == "train" and config.image.augment:
        return _kept[key]
    return with_picture_features(_kept[key], encoder, data)


def split_examples(data: PreparedData, split: str) -> tuple[Example, ...]:
    """All posts of a split.

    Raises:
        InputError: the split is empty.
    """
    examples = data.splits[split]
    if not examples:
        raise InputError(f"{data.folder}: the split {split} holds no posts")
    return examples


def training_examples(config: ExperimentConfig, data: PreparedData) -> tuple[Example, ...]:
    """The posts that a configuration trains on: the first `data.train_limit` of the split.

    Raises:
        InputError: the split is empty.
    """
    return split_examples(data, "train")[: config.data.train_limit]


def without_gold(examples: Sequence[Example], task: Task) -> tuple[Example, ...]:
    """The same posts without what is annotated; MRE keeps the given pair of entities."""
    return tuple(
        dataclasses.replace(
            example,
            tags=None,
            entities=example.entities if task == "mre" else (),
            relations=tuple(
                relation._replace(type=NONE) for relation in example.relations if task == "mre"
            ),
        )
        for example in examples
    )


def encode_examples(
    config: ExperimentConfig,
    labels: Labels,
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    contexts: dict[str, str] | None,
    images: ImageStore | None,
) -> EncodedSplit:
    """Posts as the model of a configuration reads them.

    Args:
        config: How sequences and images are laid out.
        labels: The model's label sets.
        examples: The posts.
        tokenizer: The text encoder's.
        contexts: Image id to context; `None` where the model reads no contexts.
        images: The pictures; `None` where the model reads no images.
    """
    return EncodedSplit.build(
        examples,
        labels,
        tokenizer,
        contexts=contexts,
        images=images,
        image_size=image_size(config.image),
        max_length=config.text.max_length,
        encode=config.text.encode,
        missing_image=config.image.missing,
    )


def _encode(config: ExperimentConfig, data: PreparedData, split: str) -> EncodedSplit:
    if split == "train":
        examples = training_examples(config, data)
    else:
        examples = without_gold(split_examples(data, split), data.labels.task)
    return encode_posts(
        config, data.labels, examples, load_tokenizer(config.text.encoder), data, name=split
    )


def encode_posts(
    config: ExperimentConfig,
    labels: Labels,
    examples: Sequence[Example],
    tokenizer: Any,
    data: PreparedData,
    *,
    name: str,
    contexts: str | None = None,
) -> EncodedSplit:
    """Posts of a prepared data set as a model reads them; what is cut or missing is logged.

    Args:
        config: What the model reads, and how that is laid out.
        labels: The model's label sets.
        examples: The posts.
        tokenizer: The text encoder's.
        data: The data set, whose contexts and images are read where the model reads them.
        name: What to call the posts in the log, e.g. their split.
        contexts: Another context set than the configuration's.
    """
    contexts = contexts or config.data.contexts
    texts = None if contexts is None else data.contexts(contexts)
    if texts is not None and config.data.shuffle_contexts:
        texts = shuffled(texts)
    encoded = encode_examples(
        config,
        labels,
        examples,
        tokenizer,
        contexts=texts,
        images=None if config.image.encoder == "none" else data.image_store(),
    )
    counts = {count: n for count, n in dataclasses.asdict(encoded.report).items() if n}
    if counts:
        report = ", ".join(f"{n} {count.removeprefix('num_')}" for count, n in counts.items())
        logger.info("%s: %d posts, of which %s", name, len(encoded), report.replace("_", " "))
    return encoded


def shuffled(contexts: Mapping[str, str]) -> dict[str, str]:
    """Every image with another one's context, always the same one; empty contexts stay empty."""
    images = sorted(
        (image for image, text in contexts.items() if text),
        key=lambda image: hashlib.sha256(image.encode()).digest(),
    )
    others = {image: contexts[images[place - 1]] for place, image in enumerate(images)}
    return {**contexts, **others}


def _key(config: ExperimentConfig, data: PreparedData, split: str) -> Hashable:
    image, text = config.image, config.text
    return (
        data.folder.resolve(),
        tuple(sorted(data.part_hashes(config).items())),
        split,
        config.data.train_limit if split == "train" else None,
        weights_fingerprints(config)["text"],
        (text.encode, text.max_length, config.data.shuffle_contexts),
        None if image.encoder == "none" else (image_size(image), image.missing),
    )
