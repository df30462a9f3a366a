"""What a run over pictures did, and how its file stands."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shapca.data.preparation.context_record import STATUSES, ContextRecord

_NUM_SHOWN = 5


@dataclass(frozen=True)
class GenerationReport:
    """What a run did and how its file stands.

    Attributes:
        num_images: Pictures asked for.
        num_kept: Of these, found in the file.
        num_generated: Pictures that this run asked the generator about.
        statuses: Status to number, over all pictures asked for.
        reasons: The first few pictures without a text, and why.
        seconds: Duration of this run.
        num_same: Pictures that took the context of an identical one in this run.
        num_absent: Image ids without a picture; without a record too, unless
            captions bring them one.
        num_cut: Half-written last lines cut off.
        retries: Requests repeated because of faults, in this run.
        attempts: Answers asked for in this run.
        prompt_tokens: Tokens read, in this run; `None` where nobody counted.
        tokens: Tokens written, in this run.
        cost: Price of both; `None` without prices.
        stopped: Why the run ended early; `None` where it did not.
    """

    num_images: int
    num_kept: int
    num_generated: int
    statuses: Mapping[str, int]
    reasons: Mapping[str, str]
    seconds: float
    num_same: int = 0
    num_absent: int = 0
    num_cut: int = 0
    retries: int = 0
    attempts: int = 0
    prompt_tokens: int | None = None
    tokens: int | None = None
    cost: float | None = None
    stopped: str | None = None

    @property
    def num_texts(self) -> int:
        """Pictures with a context."""
        return self.statuses.get("ok", 0)

    @property
    def is_complete(self) -> bool:
        """Whether every picture was answered, however."""
        return self.stopped is None and not self.statuses.get("failed")

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**dataclasses.asdict(self), "num_texts": self.num_texts}


def summary(records: Iterable[ContextRecord]) -> tuple[dict[str, int], dict[str, str]]:
    """How many records have each status, and why the first few have no text."""
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for record in records:
        counts[record.status] += 1
        if record.status != "ok" and len(reasons) < _NUM_SHOWN:
            reasons[record.image] = ": ".join(filter(None, (record.status, record.reason)))
    return {status: counts[status] for status in STATUSES if counts[status]}, reasons
