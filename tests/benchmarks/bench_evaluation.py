"""Evaluation and decoding by batches against one example at a time, with equal results.

One thread; the sides are timed in turn and the ratio is of the best rounds.

- Evaluation: `predict_split` of the demo's encoders (without pictures: one image costs the same
  alone) and of `minilm`, batches of 28 against batches of one.
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
from shapca.evaluation import predict_split
from shapca.heads.channels import Channels
from shapca.heads.crf import CRFHead
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
    model = build_model(setting.config, setting.labels)

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

    assert evaluation(BATCH) == evaluation(1)
    alone, together = best_seconds(lambda: evaluation(1), lambda: evaluation(BATCH), rounds=3)
    num_posts = len(setting.split)
    print(
        f"\nevaluation, {setting.name}: one at a time {num_posts / alone:.0f} posts/s, "
        f"in batches {num_posts / together:.0f} posts/s; {alone / together:.1f} times"
    )
    assert alone / together >= 3


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
