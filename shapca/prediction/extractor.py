"""A trained model, ready for new posts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain, combinations, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch

from shapca.config import ExperimentConfig, Precision, RuntimeConfig
from shapca.data.schema import Example, Labels, Prediction, Span
from shapca.data.word_splitter import Word
from shapca.evaluation.batches import compare_with_alignment, predict_with_confidence
from shapca.model.device import set_up
from shapca.model.heads.confidences import Confidence
from shapca.prediction.extraction import Characters, Extraction, FoundEntity, FoundRelation, Post
from shapca.prediction.model_card import About, save
from shapca.prediction.reading import encoded_posts, read_post, read_posts
from shapca.runs.trained import TrainedModel
from shapca.storage import ObjectStore, digest

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
        cls,
        run: str | Path | ObjectStore,
        *,
        precision: str | None = None,
        runtime: RuntimeConfig = RuntimeConfig(),
    ) -> Self:
        """Read the best weights of a finished run; no pretrained weights are needed.

        Args:
            run: Folder or store of the run.
            precision: How to compute, as `optimisation.precision`; None: as the run did.
            runtime: Device and threads.

        Raises:
            InputError: no finished run, one without its weights, or no such precision.
        """
        return cls(TrainedModel.load(run, set_up(runtime)).with_precision(precision))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        precision: str | None = None,
        runtime: RuntimeConfig = RuntimeConfig(),
    ) -> Self:
        """Read a saved model; no code that comes with it is run.

        Args:
            name: Its folder, or a repository of the Hugging Face Hub as OWNER/NAME.
            revision: Branch, tag or commit of the repository.
            precision: As of `load`.
            runtime: Device and threads.

        Raises:
            InputError: no such folder or repository, what is there is no saved model, or no such
                precision.
        """
        from shapca.prediction.hub import find_saved

        return cls.load(find_saved(name, revision), precision=precision, runtime=runtime)

    def save_pretrained(self, folder: str | Path, *, about: About = About()) -> None:
        """Write the model into a folder to be handed over, with a model card.

        Args:
            folder: New, empty, or that of a saved model, which is replaced.
            about: What the card shall say beside what the model knows of itself.

        Raises:
            InputError: the folder holds something else.
        """
        save(self._trained, Path(folder), about)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        about: About = About(),
    ) -> str:
        """Save the model in a repository of the Hugging Face Hub, made where there is none.

        Args:
            repo: The repository, OWNER/NAME.
            private: Whether a new repository is; None: as its owner's settings say.
            revision: Branch, made where there is none.
            about: What the card shall say beside what the model knows of itself.

        Returns:
            Address of the repository.

        Raises:
            InputError: no token, no network, or the Hub refuses.
        """
        from shapca.prediction.hub import upload

        with TemporaryDirectory() as folder:
            save(self._trained, Path(folder), about, repo)
            return upload(Path(folder), repo, private=private, revision=revision)

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
        words, made = read_posts(self._trained, posts)
        predictions = iter(self._predict(posts, list(chain.from_iterable(made))))
        return [
            self._extraction(post, found, list(islice(predictions, len(examples))))
            for post, found, examples in zip(posts, words, made, strict=True)
        ]

    def cosines(self, post: Post) -> dict[str, float]:
        """How near the sides of a post are to each other, as the model's alignment sees them.

        Returns:
            Cosines by name, e.g. `text and context`; none of a side that the post lacks, nor of a
            model that aligns nothing.

        Raises:
            InputError: as of `extract`.
        """
        _, (examples,) = read_posts(self._trained, [post])
        if not examples or self._trained.model.alignment is None:
            return {}
        with encoded_posts(self._trained, [post], examples[:1]) as encoded:
            (found,) = compare_with_alignment(self._trained, encoded)
        return {name: round(value, PLACES) for name, value in found.items()}

    def read(self, post: Post) -> tuple[tuple[Word, ...], list[Span]]:
        """`shapca.prediction.reading.read_post` by this model."""
        return read_post(self._trained, post)

    @property
    def config(self) -> ExperimentConfig:
        """The configuration of the model's run."""
        return self._trained.config

    @property
    def precision(self) -> Precision:
        """How the model computes."""
        return self._trained.precision

    @property
    def labels(self) -> Labels:
        """The label sets that the model tells apart."""
        return self._trained.labels

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

    def _predict(
        self, posts: Sequence[Post], examples: Sequence[Example]
    ) -> list[tuple[Prediction, Confidence]]:
        if not examples:
            return []
        with encoded_posts(self._trained, posts, examples) as encoded:
            return predict_with_confidence(self._trained, encoded)

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
