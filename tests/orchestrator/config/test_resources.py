"""What a trial occupies, as it is kept."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from orchestrator.config.resources import ResourceConfig


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, 0.0), ({"gpu": 0.25}, 0.25), ({"gpu": 1}, 1.0), ({"gpu": "auto"}, "auto")],
)
def test_gpus_are_kept_without_a_warning(given: dict[str, Any], kept: float | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a sweep would print it
        assert ResourceConfig(**given).model_dump(mode="json")["gpu"] == kept
