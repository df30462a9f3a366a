"""Posts per second of prediction, and of a served model under 1, 8 and 32 clients.

The model is a BERT of six layers (`minilm`), text and context alone, on one thread; posts are as
long as those of Twitter-15. The sides of a ratio are timed in turn on the same posts, in seconds of
this process's processor, which a busy machine changes little:

- `predict`: all posts in one call, against one call a post; and in bf16, for comparison.
- `predict --input`: the command on a file of them, reading and writing included.
- clients: threads that send one post after another as the served model takes them, requests that
  share passes against one pass a request.
- over HTTP: the same clients of the server that MLflow starts, against one client, whose requests
  come one at a time; in seconds of the server's processor, with those on the clock beside. MLflow
  reads as many requests at once as there are cores, and four more.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.tracking.models.model_package import package, run_files
from shapca.cli import app
from shapca.data.prepared import PreparedData
from shapca.data.synthetic import synthesise
from shapca.prediction import Extractor, Post
from shapca.prediction.gathering import GatheringExtractor
from shapca.prediction.request import extract
from shapca.storage import FolderStore
from tests.benchmarks.timing import best_seconds
from tests.factories import tiny_config
from tests.orchestrator.servers import free_port
from tests.shapca.prediction.conftest import RUNTIME, trained_store

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

NUM_POSTS = 96
LENGTHS = (7, 10, 12, 14, 15, 17, 18, 20, 22, 25)
TALK = "the a new match in London with Frida and Kahlo tonight we love this day now"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("data") / "tiny-mner"
    synthesise(folder, task="mner", num_train=28, num_valid=8, num_test=8, image_size=40)
    changes = {"text.encoder": "minilm", "image.encoder": "none", "optimisation.epochs": 1,
               "optimisation.batch_size": 28, "text.max_length": 128}  # fmt: skip
    store = trained_store(PreparedData.load(folder), tiny_config(**changes))
    made = FolderStore(tmp_path_factory.mktemp("model") / "run")
    for name, content in run_files(store):
        made.put(name, content)
    return made.root


@pytest.fixture(scope="module")
def extractor(run: Path) -> Extractor:
    return Extractor.load(run, runtime=RUNTIME)


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


def test_posts_are_read_faster_together(run: Path, extractor: Extractor) -> None:
    posts = [Post(record["text"], context=record["context"]) for record in some_records()]
    rough = Extractor.load(run, precision="bf16", runtime=RUNTIME)
    together, alone, roughly = best_seconds(
        lambda: extractor.extract_many(posts),
        lambda: [extractor.extract_many([post]) for post in posts],
        lambda: rough.extract_many(posts),
        rounds=2,
        clock=time.process_time,
    )
    print(f"\npredict: {NUM_POSTS / together:.0f} posts/s in one call, "
          f"{NUM_POSTS / alone:.0f} one by one: {alone / together:.2f} times; in bf16 "
          f"{NUM_POSTS / roughly:.0f}, which pays with AMX")  # fmt: skip
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


def test_a_file_of_posts_is_read_faster_than_post_by_post(
    run: Path, extractor: Extractor, tmp_path: Path
) -> None:
    records = some_records() * 4
    file = tmp_path / "posts.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    posts = [Post(record["text"], context=record["context"]) for record in some_records()]

    def predict() -> None:
        out = tmp_path / "found.jsonl"
        out.unlink(missing_ok=True)
        arguments = ["predict", run, "--input", file, "--out", out, "--device", "cpu"]
        app(args=[str(argument) for argument in arguments], standalone_mode=False)

    whole, alone = best_seconds(
        predict,
        lambda: [extractor.extract_many([post]) for post in posts],
        rounds=2,
        clock=time.process_time,
    )
    speed, single = len(records) / whole, NUM_POSTS / alone
    print(f"\npredict --input: {speed:.0f} posts/s with the model's loading, "
          f"{single:.0f} one by one: {speed / single:.2f} times")  # fmt: skip
    assert speed / single > 1.3


@dataclass(frozen=True)
class Serving:
    """A server that MLflow started, in a process group of its own."""

    group: int
    port: int

    def cpu_seconds(self) -> float:
        """What its processes have used so far."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = file.read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == self.group else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def ask(self, records: list[dict[str, Any]]) -> None:
        """One post after another over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        for record in records:
            body = json.dumps({"dataframe_records": [record]})
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
        connection.close()


@pytest.fixture(scope="module")
def serving(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    package(run, folder / "model", about={}, identity={})
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["mlflow", "models", "serve", "--model-uri", str(folder / "model"), "--env-manager",
         "local", "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder, env={**os.environ, "PATH": path, "SHAPCA_DEVICE": "cpu"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    made = Serving(process.pid, port)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                made.ask(some_records()[:1])
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_clients_over_http_share_passes(serving: Serving) -> None:
    records = some_records()
    cpu, clock = dict.fromkeys((1, 8, 32), float("inf")), dict.fromkeys((1, 8, 32), float("inf"))
    for _ in range(3):
        for num_clients in cpu:
            began, used = time.perf_counter(), serving.cpu_seconds()
            with ThreadPoolExecutor(num_clients) as clients:
                parts = [records[number::num_clients] for number in range(num_clients)]
                list(clients.map(serving.ask, parts))
            clock[num_clients] = min(clock[num_clients], time.perf_counter() - began)
            cpu[num_clients] = min(cpu[num_clients], serving.cpu_seconds() - used)
    for num_clients in cpu:
        print(f"\n{num_clients} clients over HTTP: {NUM_POSTS / cpu[num_clients]:.0f} posts a CPU "
              f"second, {cpu[1] / cpu[num_clients]:.2f} times one client; "
              f"{NUM_POSTS / clock[num_clients]:.0f} a second on the clock, "
              f"{clock[1] / clock[num_clients]:.2f} times")  # fmt: skip
    assert cpu[1] / cpu[8] > 1.1
    assert cpu[1] / cpu[32] > 1.1
