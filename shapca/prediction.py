"""Extraction from new posts with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from pydantic import TypeAdapter

from shapca.config import RuntimeConfig
from shapca.data.batches.encoding import EncodingReport
from shapca.data.images import ImageStore
from shapca.data.pos import tag_words
from shapca.data.preparation.image_writing import write_images
from shapca.data.preparation.readers.source import checked_text
from shapca.data.schema import NONE, Entity, Example, Prediction, Relation, Span
from shapca.data.word_splitter import Word
from shapca.errors import InputError
from shapca.evaluation.evaluate import predict_encoded
from shapca.model.device import set_up
from shapca.model.inputs import encode_examples
from shapca.runs.trained import TrainedModel
from shapca.storage import ObjectStore

logger = logging.getLogger(__name__)

Characters = tuple[int, int]


@dataclass(frozen=True)
class Post:
    """A post to extract from.

    Attributes:
        text: What was written.
        image: File of its picture.
        context: Bridging context, e.g. a caption of the picture.
        entities: Given entities as characters [start, end), for a model of relations between given
            entities (MRE): each one with every later one makes a candidate pair (head, tail).
    """

    text: str
    image: Path | None = None
    context: str | None = None
    entities: tuple[Characters, ...] = ()


@dataclass(frozen=True)
class FoundEntity:
    """An entity in the text: characters [start, end); the type is None where it was given."""

    text: str
    start: int
    end: int
    type: str | None


@dataclass(frozen=True)
class FoundRelation:
    """A directed relation; of a given pair (MRE) it may be `None`."""

    head: FoundEntity
    tail: FoundEntity
    type: str


@dataclass(frozen=True)
class Extraction:
    """What a model finds in one post.

    Attributes:
        text: The post's text.
        words: Its words with their places.
        entities: Entities from left to right, or as given.
        relations: Relations between them.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[FoundEntity, ...] = ()
    relations: tuple[FoundRelation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a program reads it."""
        return _EXTRACTION.dump_python(self, mode="json", exclude={"words"})


_EXTRACTION = TypeAdapter(Extraction)


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
        for post in posts:
            self._check(post)
        splitter = self._trained.record.reading.words
        words = [tuple(splitter.split(post.text)) for post in posts]
        spans = [
            [_words_of(characters, post.text, found) for characters in post.entities]
            for post, found in zip(posts, words, strict=True)
        ]
        pos = tag_words([[word.text for word in found] for found in words])
        made = [
            self._examples(*parts) for parts in zip(count(), posts, words, pos, spans, strict=False)
        ]
        predictions = iter(self._predict(posts, list(chain.from_iterable(made))))
        return [
            self._extraction(post, found, list(islice(predictions, len(examples))))
            for post, found, examples in zip(posts, words, made, strict=True)
        ]

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

    def _predict(self, posts: Sequence[Post], examples: Sequence[Example]) -> list[Prediction]:
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
            return predict_encoded(trained, encoded)

    def _images(self, posts: Sequence[Post], folder: Path) -> ImageStore | None:
        """The posts' pictures, squared as those of a prepared data set."""
        size = self._trained.record.reading.image_size
        if size is None:
            return None
        files = {_image_id(i): post.image for i, post in enumerate(posts) if post.image is not None}
        store = write_images(folder / "images.npy", folder / "images.json", files, size)
        for name, reason in store.broken.items():
            raise InputError(f"{files[name]}: no readable picture ({reason})")
        return store

    def _extraction(
        self,
        post: Post,
        words: tuple[Word, ...],
        predictions: Sequence[Prediction],
    ) -> Extraction:
        if post.entities:
            given = [
                FoundEntity(post.text[start:end], start, end, None) for start, end in post.entities
            ]
            types = [
                relation.type for prediction in predictions for relation in prediction.relations
            ]
            relations = [
                FoundRelation(head, tail, kind)
                for (head, tail), kind in zip(combinations(given, 2), types, strict=True)
            ]
            return Extraction(post.text, words, tuple(given), tuple(relations))
        directions = self._trained.record.reading.directions
        entities: dict[Span, FoundEntity] = {}
        relations = []
        for prediction in predictions:  # one, or none where the text has no words
            for entity in prediction.entities:
                start, end = words[entity.start].start, words[entity.end - 1].end
                entities[entity.span] = FoundEntity(post.text[start:end], start, end, entity.type)
            if directions is not None:
                prediction = directions.apply(prediction)
            for relation in prediction.relations:
                head, tail = entities[relation.head], entities[relation.tail]
                relations.append(FoundRelation(head, tail, relation.type))
        return Extraction(post.text, words, tuple(entities.values()), tuple(relations))


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
