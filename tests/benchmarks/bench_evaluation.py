"""Evaluation and decoding by batches against one example at a time, with equal results.

One thread; the sides are timed in turn and the ratio is of the best rounds.

- Evaluation: `predict_split` of the demo's encoders and of `minilm`, batches of 28 against batches
  of one. On one core the arithmetic of `minilm` takes most of the time either way; for it the
  target is set against one example at a time as published: padded, encoded when it is needed.
- CRF: the Viterbi search alone, over emissions of posts as long as those of Twitter-15, against
  the search of `pytorch-crf` over one post at a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shapca.build import build_model
from shapca.config import Task
from shapca.data.schema import Labels
from shapca.evaluation.evaluate import predict_split
from shapca.model.heads.channels import Channels
from shapca.model.heads.crf import CRFHead
from tests.benchmarks.bench_training import LENGTHS, Build, demo, minilm
from tests.benchmarks.timing import best_seconds
from tests.head_batches import head_batch

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

BATCH = 28
TAGS = Labels("mner", ("LOC", "MISC", "ORG", "PER")).tags


@pytest.mark.parametrize(
    ("build", "task"),
    [(demo, "mner"), (demo, "mjere"), (minilm, "mner")],
    ids=["demo-mner", "demo-mjere", "minilm-mner"],
)
def test_evaluation_by_batches(tmp_path: Path, build: Build, task: Task) -> None:
    setting = build(tmp_path, task)
    model = build_model(setting.config, setting.labels).eval()

    def evaluation(batch_size: int) -> list[object]:
        return list(
            predict_split(
                model,
                setting.split,
                setting.labels,
                batch_size=batch_size,
                device=torch.device("cpu"),
            )
        )

    rows = range(len(setting.split))

    def as_published() -> list[object]:
        with torch.inference_mode():
            return [model.predict(setting.published.batch([row])) for row in rows]

    assert evaluation(BATCH) == evaluation(1)
    published, alone, together = best_seconds(
        as_published, lambda: evaluation(1), lambda: evaluation(BATCH), rounds=3
    )
    num_posts = len(setting.split)
    print(
        f"\nevaluation, {setting.name}: as published {num_posts / published:.0f} posts/s, one at a "
        f"time {num_posts / alone:.0f} posts/s, in batches {num_posts / together:.0f} posts/s; "
        f"{published / together:.1f} and {alone / together:.1f} times"
    )
    assert (published if build is minilm else alone) / together >= 3
    assert alone / together > 1.2


def test_crf_decoding_by_batches() -> None:
    torch.manual_seed(0)
    head = CRFHead(8, None, 8, TAGS).eval()
    lengths = [LENGTHS["words"][row % 10] for row in range(BATCH)]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    channels = Channels(text=torch.randn(*mask.shape, 8), mask=mask)
    batch = head_batch(mask)
    singles = [
        (
            Channels(text=channels.text[row : row + 1, :length], mask=mask[row : row + 1, :length]),
            head_batch(mask[row : row + 1, :length]),
        )
        for row, length in enumerate(lengths)
    ]

    def alone() -> list[list[int]]:
        return [head.decode(*single)[0] for single in singles]

    def together() -> list[list[int]]:
        return head.decode(channels, batch)

    assert alone() == together()
    slow, fast = best_seconds(alone, together, rounds=20)
    print(
        f"\nCRF, {BATCH} posts of {min(lengths)} to {max(lengths)} words: one at a time "
        f"{1e3 * slow:.1f} ms, in a batch {1e3 * fast:.1f} ms; {slow / fast:.1f} times"
    )
    assert slow / fast >= 3
