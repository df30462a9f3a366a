"""A trained model, ready for new posts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch

from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.batches.encoding import EncodingReport
from shapca.data.images import ImageStore
from shapca.data.pos import tag_words
from shapca.data.preparation.image_writing import write_images
from shapca.data.preparation.readers.source import checked_text
from shapca.data.schema import NONE, Entity, Example, Prediction, Relation, Span
from shapca.data.word_splitter import Word
from shapca.errors import InputError
from shapca.evaluation.batches import predict_with_confidence
from shapca.model.device import set_up
from shapca.model.heads.confidences import Confidence
from shapca.model.inputs import encode_examples
from shapca.prediction.extraction import (
    Characters,
    Extraction,
    FoundEntity,
    FoundRelation,
    Post,
    PostError,
)
from shapca.runs.trained import TrainedModel
from shapca.storage import ObjectStore, digest

logger = logging.getLogger(__name__)

PLACES = 4
"""Decimals of a confidence: more would differ with a post's company in its batch."""


class Extractor:
    """A trained model, ready for new posts.

    Args:
        trained: The model of a finished run.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self._trained = trained

    @classmethod
    def load(
        cls, run: str | Path | ObjectStore, *, runtime: RuntimeConfig = RuntimeConfig()
    ) -> Self:
        """Read the best weights of a finished run; no pretrained weights are needed.

        Args:
            run: Folder or store of the run.
            runtime: Device and threads.

        Raises:
            InputError: no finished run, or one without its weights.
        """
        return cls(TrainedModel.load(run, set_up(runtime)))

    def extract(
        self,
        text: str,
        *,
        image: str | Path | None = None,
        context: str | None = None,
        entities: Sequence[Characters] = (),
    ) -> Extraction:
        """What the model finds in a post; the arguments are those of `Post`.

        Raises:
            InputError: a picture that cannot be read, half a character in a text, or something that
                the model has no use for.
        """
        post = Post(text, None if image is None else Path(image), context, tuple(entities))
        return self.extract_many([post])[0]

    def extract_many(self, posts: Sequence[Post]) -> list[Extraction]:
        """What the model finds in each post.

        Raises:
            InputError: a picture that cannot be read, half a character in a text, or something that
                the model has no use for.
        """
        words, spans = [], []
        for index, post in enumerate(posts):
            try:
                found, given = self.read(post)
            except InputError as error:
                raise PostError(index, str(error)) from error
            words.append(found)
            spans.append(given)
        untagged = [found for found, post in zip(words, posts, strict=True) if not post.pos]
        pos = iter(tag_words([[word.text for word in found] for found in untagged]))
        tags = [post.pos or next(pos) for post in posts]
        made = [
            self._examples(index, *parts)
            for index, parts in enumerate(zip(posts, words, tags, spans, strict=True))
        ]
        predictions = iter(self._predict(posts, list(chain.from_iterable(made))))
        return [
            self._extraction(post, found, list(islice(predictions, len(examples))))
            for post, found, examples in zip(posts, words, made, strict=True)
        ]

    def read(self, post: Post) -> tuple[tuple[Word, ...], list[Span]]:
        """The words of a post, and those of its given entities, without its picture.

        Raises:
            InputError: half a character in a text, or something that the model has no use for.
        """
        self._check(post)
        words = post.words
        if words is None:
            words = tuple(self._trained.record.reading.words.split(post.text))
        return words, [_words_of(given, post.text, words) for given in post.entities]

    @property
    def config(self) -> ExperimentConfig:
        """The configuration of the model's run."""
        return self._trained.config

    def fingerprint(self) -> str:
        """A hash of what the model is: its weights, configuration, labels and way of reading."""
        record = self._trained.record
        found = hashlib.sha256(
            digest(
                {
                    "config": record.config.model_dump(mode="json"),
                    "labels": record.labels.to_json(),
                    "reading": record.reading.to_json(),
                }
            ).encode()
        )
        for name, weight in sorted(self._trained.model.state_dict().items()):
            found.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            found.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.hexdigest()

    def _check(self, post: Post) -> None:
        config = self._trained.config
        checked_text(post.text, "the text")
        checked_text(post.context or "", "the context")
        if post.image is not None and config.image.encoder == "none":
            raise InputError(f"{post.image}: the model reads no images")
        if post.context is not None and config.data.contexts is None:
            raise InputError("a context was given, but the model reads none")
        if config.task == "mre" and len(post.entities) < 2:
            raise InputError(
                "the model classifies the relation of given entities: give two or more of them"
            )
        if config.task != "mre" and post.entities:
            raise InputError("entities were given, but the model finds them itself")

    def _examples(
        self,
        index: int,
        post: Post,
        words: Sequence[Word],
        pos: tuple[str, ...],
        spans: Sequence[Span],
    ) -> list[Example]:
        """A post as examples: none without words, one, or one a pair of given entities."""
        if not words:
            return []
        has_more = post.image is not None or post.context is not None
        example = Example(
            id=f"post {index + 1}",
            words=tuple(word.text for word in words),
            pos=pos,
            image=_image_id(index) if has_more else None,
        )
        if self._trained.config.task != "mre":
            return [example]
        given = tuple(Entity(*span, None) for span in spans)
        return [
            replace(example, entities=given, relations=(Relation(head, tail, NONE),))
            for head, tail in combinations(spans, 2)
        ]

    def _predict(
        self, posts: Sequence[Post], examples: Sequence[Example]
    ) -> list[tuple[Prediction, Confidence]]:
        if not examples:
            return []
        trained, config = self._trained, self._trained.config
        contexts = {_image_id(index): post.context or "" for index, post in enumerate(posts)}
        with TemporaryDirectory() as folder:
            encoded = encode_examples(
                config,
                trained.labels,
                examples,
                trained.tokenizer,
                contexts=None if config.data.contexts is None else contexts,
                images=self._images(posts, Path(folder)),
            )
            _warn_of_cuts(encoded.report)
            return predict_with_confidence(trained, encoded)

    def _images(self, posts: Sequence[Post], folder: Path) -> ImageStore | None:
        """The posts' pictures, squared as those of a prepared data set."""
        size = self._trained.record.reading.image_size
        if size is None:
            return None
        files = {_image_id(i): post.image for i, post in enumerate(posts) if post.image is not None}
        store = write_images(folder / "images.npy", folder / "images.json", files, size)
        for name, reason in store.broken.items():
            index = next(i for i in range(len(posts)) if _image_id(i) == name)
            raise PostError(index, f"{files[name]}: no readable picture ({reason})")
        return store

    def _extraction(
        self,
        post: Post,
        words: tuple[Word, ...],
        predictions: Sequence[tuple[Prediction, Confidence]],
    ) -> Extraction:
        if post.entities:
            given = [
                FoundEntity(post.text[start:end], start, end, None) for start, end in post.entities
            ]
            pairs = zip(combinations(given, 2), predictions, strict=True)
            relations = [
                FoundRelation(head, tail, prediction.relations[0].type, _rounded(sure.relations[0]))
                for (head, tail), (prediction, sure) in pairs
            ]
            return Extraction(post.text, words, tuple(given), tuple(relations))
        directions = self._trained.record.reading.directions
        entities: dict[Span, FoundEntity] = {}
        relations = []
        for prediction, sure in predictions:  # one, or none where the text has no words
            for entity, value in zip(prediction.entities, sure.entities, strict=True):
                start, end = words[entity.start].start, words[entity.end - 1].end
                entities[entity.span] = FoundEntity(
                    post.text[start:end], start, end, entity.type, _rounded(value)
                )
            if directions is not None:
                prediction = directions.apply(prediction)
            for relation, value in zip(prediction.relations, sure.relations, strict=True):
                head, tail = entities[relation.head], entities[relation.tail]
                relations.append(FoundRelation(head, tail, relation.type, _rounded(value)))
        return Extraction(post.text, words, tuple(entities.values()), tuple(relations))


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, PLACES)


def _warn_of_cuts(report: EncodingReport) -> None:
    """Say what of the input the model does not read."""
    if report.num_cut_words:
        logger.warning(
            "%d words at the end are more than the model reads; nothing is found in them",
            report.num_cut_words,
        )
    if report.num_cut_contexts:
        logger.warning("the context is longer than the model reads and was cut")


def _image_id(index: int) -> str:
    return f"post-{index}"


def _words_of(characters: Characters, text: str, words: Sequence[Word]) -> Span:
    """The words that characters [start, end) touch.

    Raises:
        InputError: characters outside the text, or white space alone.
    """
    start, end = characters
    touched = [i for i, word in enumerate(words) if word.start < end and start < word.end]
    if not 0 <= start < end <= len(text) or not touched:
        raise InputError(
            f"entity at characters {start} to {end}: expected words within the text, which has "
            f"{len(text)} characters"
        )
    return Span(touched[0], touched[-1] + 1)
