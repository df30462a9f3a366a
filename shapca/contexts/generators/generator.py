"""What the three generators share: a question per picture in, an answer per question out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from PIL import Image

from shapca.data.preparation.context_record import ContextRecord


@dataclass(frozen=True)
class Request:
    """One picture to be described.

    Attributes:
        image: image id.
        content: the picture's file as it is.
        picture: the same, decoded: RGB, upright.
        seed: fixes what is drawn.
    """

    image: str
    content: bytes
    picture: Image.Image
    seed: int


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        text: what was said.
        ended: false where it was cut at the last token allowed.
        refusal: why the endpoint refused.
        failure: why there is no answer at all.
        fatal: the error that ends the run, met instead of an answer.
        prompt_tokens: tokens read; none where nobody counted.
        tokens: tokens written.
        cost: price of both.
        retries: requests repeated because of faults.
    """

    text: str = ""
    ended: bool = True
    refusal: str | None = None
    failure: str | None = None
    fatal: Exception | None = None
    prompt_tokens: int | None = None
    tokens: int | None = None
    cost: float | None = None
    retries: int = 0


class Generator(Protocol):
    """Describes pictures."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer a request, in the same order; paid answers are given beside fatal ones."""
        ...


@dataclass(frozen=True)
class Identity:
    """What decides the text of a context; two files agree on it or must not be mixed.

    Attributes:
        generator: as it was asked for, for people.
        model: hash of the weights, name of the endpoint's model, or hash of the captions.
        prompt_sha256: of the prompt; none for captions.
        sampling: the settings that shape the text.
    """

    generator: str
    model: str
    prompt_sha256: str | None
    sampling: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """As a record keeps them."""
        return {
            "generator": self.generator,
            "model": self.model,
            "prompt_sha256": self.prompt_sha256,
            "sampling": dict(self.sampling),
        }

    def signed(self, record: ContextRecord) -> ContextRecord:
        """A record with what it was made by, and when."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return dataclasses.replace(record, **self.fields(), time=now)
