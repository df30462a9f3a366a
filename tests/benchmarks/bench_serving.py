"""Posts per second of prediction, and of a served model under 1, 8 and 32 clients.

The model is a BERT of six layers (`minilm`), text and context alone, on one thread; posts are as
long as those of Twitter-15. The sides of a ratio are timed in turn on the same posts, in seconds of
this process's processor, which a busy machine changes little:

- `predict`: all posts in one call, against one call a post.
- clients: threads that send one post after another as the served model takes them, requests that
  share passes against one pass a request.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shapca.data.prepared import PreparedData
from shapca.data.synthetic import synthesise
from shapca.prediction import Extractor, Post
from shapca.prediction.gathering import GatheringExtractor
from shapca.prediction.request import extract
from tests.benchmarks.timing import best_seconds
from tests.factories import tiny_config
from tests.shapca.prediction.conftest import RUNTIME, trained_store

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

NUM_POSTS = 96
LENGTHS = (7, 10, 12, 14, 15, 17, 18, 20, 22, 25)
TALK = "the a new match in London with Frida and Kahlo tonight we love this day now"


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    folder = tmp_path_factory.mktemp("data") / "tiny-mner"
    synthesise(folder, task="mner", num_train=28, num_valid=8, num_test=8, image_size=40)
    changes = {"text.encoder": "minilm", "image.encoder": "none", "optimisation.epochs": 1,
               "optimisation.batch_size": 28, "text.max_length": 128}  # fmt: skip
    store = trained_store(PreparedData.load(folder), tiny_config(**changes))
    return Extractor.load(store, runtime=RUNTIME)


def some_records() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {"text": " ".join(random.choice(TALK.split(), length)), "context": TALK[:45]}
        for length in random.choice(LENGTHS, NUM_POSTS)
    ]


def serve(model: Any, records: list[dict[str, Any]], num_clients: int) -> list[Any]:
    """All posts, a request each, by so many clients."""
    with ThreadPoolExecutor(num_clients) as clients:
        return list(clients.map(lambda record: extract(model, [record]), records))


def test_posts_are_read_faster_together(extractor: Extractor) -> None:
    posts = [Post(record["text"], context=record["context"]) for record in some_records()]
    together, alone = best_seconds(
        lambda: extractor.extract_many(posts),
        lambda: [extractor.extract_many([post]) for post in posts],
        rounds=2,
        clock=time.process_time,
    )
    print(f"\npredict: {NUM_POSTS / together:.0f} posts/s in one call, "
          f"{NUM_POSTS / alone:.0f} one by one: {alone / together:.2f} times")  # fmt: skip
    assert alone / together > 1.3


@pytest.mark.parametrize(("num_clients", "ratio"), [(1, 0.9), (8, 1.2), (32, 1.3)])
def test_requests_that_share_passes_are_answered_faster(
    extractor: Extractor, num_clients: int, ratio: float
) -> None:
    records = some_records()
    shared, single = best_seconds(
        lambda: serve(GatheringExtractor(extractor), records, num_clients),
        lambda: serve(extractor, records, num_clients),
        rounds=2,
        clock=time.process_time,
    )
    print(f"\n{num_clients} clients: {NUM_POSTS / shared:.0f} posts/s in shared passes, "
          f"{NUM_POSTS / single:.0f} in one a request: {single / shared:.2f} times")  # fmt: skip
    assert single / shared > ratio
