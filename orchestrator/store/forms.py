"""The forms of a storage's JSON records, against which they are held when they are read."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class CellForm(TypedDict):
    """`cell.json`; its config is held against the present one."""

    config: dict[str, Any]
    seed: int
    parts: dict[str, str]
    weights: dict[str, str]


class ClaimForm(TypedDict):
    """`claim.json`."""

    sweep: str


class AttemptForm(TypedDict):
    """`attempt.json`."""

    attempt: str


class BeatForm(TypedDict):
    """A driver's sign of life, in seconds of Unix time."""

    at: float


class FailedForm(TypedDict):
    """The verdict `failed`."""

    reason: str
    sweep: str


class EndedForm(TypedDict):
    """The verdicts `finished` and `diverged`."""

    value: float | None
    best_epoch: int | None
    epochs: int
    codes: list[str]
    sweep: str
    reason: NotRequired[str | None]
    alignment: NotRequired[Literal["aligned", "trivial", "collapsed"] | None]
    metrics: NotRequired[dict[str, float]]  # of the best epoch; older ones are in `result.json`


class CodeForm(TypedDict):
    """What is asked of `run.json` here: which code worked on it."""

    code: str


class WorkedOnForm(TypedDict):
    """`run.json`, as far as it is read here."""

    environments: list[CodeForm]


class IdentityForm(TypedDict):
    """What tells a storage's runs from another's in MLflow."""

    id: str
