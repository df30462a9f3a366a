"""From posts to what a model reads: words, given entities, examples, pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.encoding import EncodingReport
from shapca.data.images import ImageStore
from shapca.data.pos import tag_words
from shapca.data.preparation.image_writing import write_images
from shapca.data.preparation.readers.source import checked_text
from shapca.data.schema import NONE, Entity, Example, Relation, Span
from shapca.data.word_splitter import Word
from shapca.errors import InputError
from shapca.model.inputs import encode_examples
from shapca.prediction.extraction import Characters, Post, PostError
from shapca.runs.trained import TrainedModel

logger = logging.getLogger(__name__)

Words = tuple[Word, ...]


def read_post(trained: TrainedModel, post: Post) -> tuple[Words, list[Span]]:
    """The words of a post, and those of its given entities, without its picture.

    Raises:
        InputError: half a character in a text, or something that the model has no use for.
    """
    _check(trained, post)
    words = post.words
    if words is None:
        words = tuple(trained.record.reading.words.split(post.text))
    return words, [_words_of(given, post.text, words) for given in post.entities]


def read_posts(
    trained: TrainedModel, posts: Sequence[Post]
) -> tuple[list[Words], list[list[Example]]]:
    """The words of each post, and its examples: none without words, one, or one a given pair.

    Raises:
        PostError: as `read_post` says.
    """
    words, spans = [], []
    for index, post in enumerate(posts):
        try:
            found, given = read_post(trained, post)
        except InputError as error:
            raise PostError(index, str(error)) from error
        words.append(found)
        spans.append(given)
    untagged = [found for found, post in zip(words, posts, strict=True) if not post.pos]
    pos = iter(tag_words([[word.text for word in found] for found in untagged]))
    tags = [post.pos or next(pos) for post in posts]
    return words, [
        _examples(trained, index, *parts)
        for index, parts in enumerate(zip(posts, words, tags, spans, strict=True))
    ]


@contextmanager
def encoded_posts(
    trained: TrainedModel, posts: Sequence[Post], examples: Sequence[Example]
) -> Iterator[EncodedSplit]:
    """Examples of posts as a model reads them, while their pictures are there.

    Raises:
        PostError: a picture that cannot be read.
    """
    config = trained.config
    contexts = {_image_id(index): post.context or "" for index, post in enumerate(posts)}
    with TemporaryDirectory() as folder:
        encoded = encode_examples(
            config,
            trained.labels,
            examples,
            trained.tokenizer,
            contexts=None if config.data.contexts is None else contexts,
            images=_images(trained, posts, Path(folder)),
        )
        _warn_of_cuts(encoded.report)
        yield encoded


def _check(trained: TrainedModel, post: Post) -> None:
    config = trained.config
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
    trained: TrainedModel,
    index: int,
    post: Post,
    words: Sequence[Word],
    pos: tuple[str, ...],
    spans: Sequence[Span],
) -> list[Example]:
    if not words:
        return []
    has_more = post.image is not None or post.context is not None
    example = Example(
        id=f"post {index + 1}",
        words=tuple(word.text for word in words),
        pos=pos,
        image=_image_id(index) if has_more else None,
    )
    if trained.config.task != "mre":
        return [example]
    given = tuple(Entity(*span, None) for span in spans)
    return [
        replace(example, entities=given, relations=(Relation(head, tail, NONE),))
        for head, tail in combinations(spans, 2)
    ]


def _images(trained: TrainedModel, posts: Sequence[Post], folder: Path) -> ImageStore | None:
    """The posts' pictures, squared as those of a prepared data set."""
    size = trained.record.reading.image_size
    if size is None:
        return None
    files = {_image_id(i): post.image for i, post in enumerate(posts) if post.image is not None}
    store = write_images(folder / "images.npy", folder / "images.json", files, size)
    for name, reason in store.broken.items():
        index = next(i for i in range(len(posts)) if _image_id(i) == name)
        if not files[name].exists():
            reason = "no such file"
        raise PostError(index, f"{files[name]}: no readable picture ({reason})")
    return store


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
