"""How far MLflow follows a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TrackingStatus = Literal["off", "starting", "current", "publishing", "behind"]


@dataclass(frozen=True)
class TrackingState:
    """How far MLflow follows the store.

    Attributes:
        status: `off` (no tracking), `starting`, `current`, `publishing`, or `behind`: MLflow does
            not answer, or refuses a run.
        uri: Where, without credentials.
        pending: Runs that MLflow does not yet show as the store has them.
        error: What MLflow said last, without credentials.
    """

    status: TrackingStatus
    uri: str = ""
    pending: int = 0
    error: str | None = None
