"""From pictures to records: ask, judge the answers, ask again within the limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from shapca.contexts.generators.generator import Answer, Generator, Identity, Request
from shapca.contexts.pictures import decode
from shapca.contexts.settings import GenerationSettings, seed_of
from shapca.data.preparation.context_record import ContextRecord, Status
from shapca.data.preparation.image_writing import BROKEN_PICTURE
from shapca.errors import InputError

Number = TypeVar("Number", int, float)
AGAIN: frozenset[Status] = frozenset({"empty", "refused", "over_long"})
"""What another attempt, with other random numbers, may mend."""


@dataclass(frozen=True)
class Task:
    """A picture that needs a context.

    Attributes:
        image: Image id.
        sha256: Of its bytes.
        before: The record of earlier runs that did not bring a text; attempts resume from there.
    """

    image: str
    sha256: str
    before: ContextRecord | None = None


@dataclass(frozen=True)
class Picture:
    """A task with the picture's bytes, as workers get it; `None` where they could not be read."""

    task: Task
    content: bytes | None
    reason: str | None = None


@dataclass(frozen=True)
class Answered:
    """What came of some pictures.

    Attributes:
        records: In the pictures' order; after an error, of those alone on which something was
            spent or that are broken.
        error: Why the run cannot go on (InputError, EndpointStopped).
    """

    records: list[ContextRecord]
    error: Exception | None = None


def answer_pictures(
    generator: Generator,
    pictures: Sequence[Picture],
    settings: GenerationSettings,
    identity: Identity,
) -> Answered:
    """The records of some pictures; none of them stops the others.

    Args:
        generator: Is asked.
        pictures: Of any number; they are asked about at once.
        settings: Limits, and what counts as a refusal.
        identity: Kept with each record.
    """
    error: Exception | None = None
    drafts: dict[int, _Draft] = {}
    records: list[ContextRecord | None] = [None] * len(pictures)
    for index, picture in enumerate(pictures):
        task = picture.task
        decoded = _decoded(picture)
        if isinstance(decoded, str):
            broken = ContextRecord(task.image, task.sha256, "broken_image", reason=decoded)
            records[index] = identity.signed(broken)
        else:
            assert picture.content is not None
            first = task.before.attempts if task.before is not None else 0
            drafts[index] = _Draft(task, picture.content, decoded, first)
    for _ in range(settings.attempts):
        pending = [draft for draft in drafts.values() if draft.wants_more(settings)]
        if not pending:
            break
        requests = [draft.request(settings.seed) for draft in pending]
        began = time.perf_counter()
        answers = _answers(generator, requests)
        share = (time.perf_counter() - began) / len(pending)
        for draft, request, answer in zip(pending, requests, answers, strict=True):
            draft.take(request, answer, share, settings)
        error = next((answer.fatal for answer in answers if answer.fatal is not None), None)
        if error is not None:
            break
    for index, draft in drafts.items():
        if draft.num_answers or error is None:
            records[index] = identity.signed(draft.record())
    return Answered([record for record in records if record is not None], error)


class _Draft:
    """What is known of one picture while it is asked about."""

    def __init__(self, task: Task, content: bytes, picture: Image.Image, attempts: int) -> None:
        self.task, self.content, self.picture, self.attempts = task, content, picture, attempts
        before = task.before or ContextRecord(task.image, task.sha256, "failed")
        self.spent = Answer(
            prompt_tokens=before.prompt_tokens,
            tokens=before.tokens,
            cost=before.cost,
            retries=before.retries,
        )
        self.seconds = before.seconds
        self.num_answers = 0  # of this run; a fault that was met for one picture alone is one
        self.seed: int | None = None
        self.status: Status | None = None
        self.answer = Answer()
        self.reason: str | None = None

    def wants_more(self, settings: GenerationSettings) -> bool:
        if self.status is None:
            return True
        return self.status in AGAIN and settings.is_drawn  # else it would be the same again

    def request(self, seed: int) -> Request:
        self.seed = seed_of(seed, self.task.sha256, self.attempts)
        return Request(self.task.image, self.content, self.picture, self.seed)

    def take(
        self, request: Request, answer: Answer, seconds: float, settings: GenerationSettings
    ) -> None:
        self.seconds += seconds
        self.num_answers += answer.fatal is None
        self.answer = answer
        self.status, self.reason = judge(answer, settings)
        # A fault brought no answer: the next run makes this very attempt.
        self.attempts += self.status != "failed"
        self.spent = Answer(
            prompt_tokens=_sum(self.spent.prompt_tokens, answer.prompt_tokens),
            tokens=_sum(self.spent.tokens, answer.tokens),
            cost=_sum(self.spent.cost, answer.cost),
            retries=self.spent.retries + answer.retries,
        )

    def record(self) -> ContextRecord:
        status = self.status or "failed"
        said = self.answer.text
        return ContextRecord(
            image=self.task.image,
            image_sha256=self.task.sha256,
            status=status,
            text=said if status == "ok" else "",
            answer=said if status != "ok" and said else None,
            reason=self.reason,
            image_seed=self.seed,
            attempts=self.attempts,
            retries=self.spent.retries,
            prompt_tokens=self.spent.prompt_tokens,
            tokens=self.spent.tokens,
            cost=self.spent.cost,
            seconds=round(self.seconds, 4),
        )


def judge(answer: Answer, settings: GenerationSettings) -> tuple[Status, str | None]:
    """Whether an answer is a context, and why not."""
    if answer.fatal is not None:
        return "failed", str(answer.fatal)
    if answer.failure is not None:
        return "failed", answer.failure
    if answer.refusal is not None:
        return "refused", answer.refusal
    if not answer.text.strip():
        return "empty", None
    if settings.is_refusal(answer.text.strip()):
        return "refused", "in words"
    if not answer.ended and not settings.keep_cut:
        return "over_long", f"not ended after {settings.max_new_tokens} tokens"
    return "ok", None


def _answers(generator: Generator, requests: list[Request]) -> list[Answer]:
    """Answers to a batch; where it fails as a whole, to its halves, so that one fails alone."""
    from shapca.contexts.generators.endpoint import EndpointStopped

    try:
        return generator.answer(requests)
    except (InputError, EndpointStopped) as error:
        return [Answer(fatal=error)] * len(requests)
    except Exception as error:  # a model raises anything on a picture that it cannot take
        if len(requests) == 1:
            return [Answer(failure=f"{type(error).__name__}: {error}"[:300])]
    middle = len(requests) // 2
    return _answers(generator, requests[:middle]) + _answers(generator, requests[middle:])


def _decoded(picture: Picture) -> Image.Image | str:
    if picture.content is None:
        return picture.reason or "cannot be read"
    try:
        return decode(picture.content)
    except UnidentifiedImageError:  # its own words name a place in memory, another one each time
        return "UnidentifiedImageError: not a picture of a known kind"
    except BROKEN_PICTURE as error:
        return f"{type(error).__name__}: {error}"


def _sum(first: Number | None, second: Number | None) -> Number | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second
