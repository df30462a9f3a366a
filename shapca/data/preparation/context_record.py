"""What is kept of each picture's context: the text, how it came about, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Status = Literal["ok", "empty", "refused", "over_long", "missing", "broken_image", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""`ok`: a text. `empty`: nothing but white space. `refused`: the model would not describe the
picture. `over_long`: still unfinished at the last token that was allowed. `missing`: a file of
captions has none for it. `broken_image`: the picture cannot be read. `failed`: the endpoint or the
model gave no answer at all."""

_MARKS = frozenset({"image", "status", "text", "image_sha256", "generator"})


@dataclass(frozen=True)
class ContextRecord:
    """The context of one picture: one line of the file that `shapca contexts generate` writes.

    Attributes:
        image: Image id.
        image_sha256: Of the picture's bytes; `None` for one that cannot be read, or was not needed.
        status: What became of it.
        text: The context; empty unless `status` is `ok`.
        answer: What the model said, where that was not accepted.
        reason: Why there is no text.
        generator: As it was asked for, e.g. `hf:llava-hf/llava-1.5-7b-hf`.
        model: Hash or name of what generated: two generators with the same one are the same.
        prompt_sha256: Of the prompt; `None` where there is no prompt.
        sampling: Settings that shape the text: temperature, max_new_tokens, seed and so on.
        image_seed: Seed of the last attempt; `None` where nothing was drawn.
        attempts: Answers that were asked for, over all runs.
        retries: Requests repeated because of the endpoint's faults.
        prompt_tokens: Tokens read, over all attempts; `None` where nobody counted.
        tokens: Tokens written, over all attempts.
        cost: Price of both, in the unit of the given prices; `None` without prices.
        seconds: Time it took; of a batch, its share.
        time: When it was made, UTC.
        same_as: The image id of an identical picture whose context this is.
    """

    image: str
    image_sha256: str | None
    status: Status
    text: str = ""
    answer: str | None = None
    reason: str | None = None
    generator: str = ""
    model: str = ""
    prompt_sha256: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    image_seed: int | None = None
    attempts: int = 0
    retries: int = 0
    prompt_tokens: int | None = None
    tokens: int | None = None
    cost: float | None = None
    seconds: float = 0.0
    time: str = ""
    same_as: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a line keeps it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> ContextRecord:
        """The inverse of `to_json`.

        Raises:
            ValueError: not such a record; the message says what is wrong with it.
        """
        if not isinstance(line, Mapping) or not set(line) >= _MARKS:
            raise ValueError("not a record of a generated context")
        names = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(line) - names):
            raise ValueError(f"unknown fields {', '.join(unknown)}")
        accepted_text(line)
        if not isinstance(line["image"], str):
            raise ValueError(f"image is {line['image']!r}, expected an id as text")
        return cls(**line)

    def copied_to(self, image: str) -> ContextRecord:
        """The record of another id whose picture is the same: nothing more was spent on it."""
        return dataclasses.replace(
            self,
            image=image,
            same_as=self.same_as or self.image,
            attempts=0,
            retries=0,
            prompt_tokens=None,
            tokens=None,
            cost=None,
            seconds=0.0,
        )


def is_generated(line: Mapping[str, Any]) -> bool:
    """Whether a line of captions is a record of a generated context."""
    return set(line) >= _MARKS


def accepted_text(line: Mapping[str, Any]) -> str:
    """The text of a record as read; empty where the generation did not give one.

    Raises:
        ValueError: an unknown status, a text that is no text, or one beside a failure.
    """
    status, text = line["status"], line["text"]
    if status not in STATUSES:
        raise ValueError(f"status is {status!r}, expected one of {', '.join(STATUSES)}")
    if not isinstance(text, str) or (text and status != "ok"):
        raise ValueError(f"status {status} with the text {text!r}")
    return text
