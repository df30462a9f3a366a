"""Mean and deviation over seeds against another implementation."""

from __future__ import annotations

import numpy as np
import pytest

from shapca.metrics.seed_scores import SeedScores


def test_mean_and_sample_deviation() -> None:
    scores = [80.0, 81.0, 84.0]
    seeds = SeedScores(scores)
    assert (seeds.mean, seeds.num) == (pytest.approx(81.6666667), 3)
    assert seeds.std == pytest.approx(np.std(scores, ddof=1))
    assert seeds.named("f1") == {"f1_mean": seeds.mean, "f1_std": seeds.std}


def test_one_seed_has_no_spread() -> None:
    seeds = SeedScores([80.0])
    assert (seeds.mean, seeds.std) == (80.0, None)
    assert seeds.named("f1") == {"f1_mean": 80.0}


def test_no_seed_has_no_mean() -> None:
    seeds = SeedScores([])
    assert (seeds.num, seeds.mean, seeds.std) == (0, None, None)
    assert seeds.named("f1") == {}
