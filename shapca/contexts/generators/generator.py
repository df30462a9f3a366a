"""What generators share: a question per picture in, an answer per question out."""

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
        image: Image id.
        content: The picture's file as it is.
        picture: The same, decoded: RGB, upright.
        seed: Fixes what is drawn.
    """

    image: str
    content: bytes
    picture: Image.Image
    seed: int


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        text: What was said.
        ended: False where it was cut at the last token allowed.
        refusal: Why the endpoint refused.
        failure: Why there is no answer at all.
        fatal: The error that ends the run, met instead of an answer.
        prompt_tokens: Tokens read; `None` where nobody counted.
        tokens: Tokens written.
        cost: Price of both.
        retries: Requests repeated because of faults.
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
        generator: As it was asked for, for people.
        model: Hash of the weights, name of the endpoint's model, or hash of the captions.
        prompt_sha256: Of the prompt; `None` where there is no prompt.
        sampling: The settings that shape the text.
    """

    generator: str
    model: str
    prompt_sha256: str | None
    sampling: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """As a record keeps them."""
        return dataclasses.asdict(self)

    def signed(self, record: ContextRecord) -> ContextRecord:
        """A record with what it was made by, and when."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return dataclasses.replace(record, **self.fields(), time=now)
