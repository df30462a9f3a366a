"""Requests of many threads share passes; what is wrong with one is told to that one alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from shapca.prediction import Extraction, Extractor, Post, PostError
from shapca.prediction.gathering import MOST_POSTS, GatheringExtractor

NUM = 12


class Slow:
    """A model whose first pass ends when it is let go."""

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.users = 0

    def extract_many(self, posts: Sequence[Post]) -> list[Extraction]:
        self.users += 1
        assert self.users == 1  # one thread at a time
        self.passes.append(len(posts))
        self.begun.set()
        assert self.let_go.wait(30)
        self.users -= 1
        for index, post in enumerate(posts):
            if post.text == "bad":
                raise PostError(index, "no use for it")
        return [Extraction(post.text, ()) for post in posts]


def gathered(requests: Sequence[list[Post]]) -> tuple[Slow, list[Future[Any]]]:
    """Requests that come while another is read; the first pass is that one's."""
    slow = Slow()
    model = GatheringExtractor(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(len(requests) + 1) as threads:
        first = threads.submit(model.extract_many, [Post("first")])
        assert slow.begun.wait(30)
        found = [threads.submit(model.extract_many, posts) for posts in requests]
        while len(model._waiting) < len(requests):
            time.sleep(0.001)
        slow.let_go.set()
    assert first.result()[0].text == "first"
    return slow, found


def test_who_waits_shares_a_pass_and_gets_what_is_its_own() -> None:
    requests = [[Post(f"{n} {k}") for k in range(n % 3 + 1)] for n in range(NUM)]
    slow, found = gathered(requests)
    assert slow.passes == [1, sum(map(len, requests))]
    for posts, future in zip(requests, found, strict=True):
        assert [extraction.text for extraction in future.result()] == [p.text for p in posts]


def test_a_pass_has_so_many_posts() -> None:
    slow, found = gathered([[Post(str(n))] * 30 for n in range(5)])
    assert slow.passes == [1, 60, 60, 30]
    assert MOST_POSTS == 64
    assert [len(future.result()) for future in found] == [30] * 5
    slow, _ = gathered([[Post("a")] * 70, [Post("b")]])
    assert slow.passes == [1, 70, 1]  # none is cut, or waits for ever


def test_what_is_wrong_with_one_is_told_to_it_alone() -> None:
    requests = [[Post("good")], [Post("good"), Post("bad")], [Post("good")]]
    slow, found = gathered(requests)
    assert slow.passes == [1, 4, 1, 2, 1]
    for number in (0, 2):
        assert found[number].result()[0].text == "good"
    with pytest.raises(PostError) as caught:
        found[1].result()
    assert caught.value.index == 1  # in its own request


def test_a_model_finds_the_same_for_many_threads(light: Extractor) -> None:
    posts = [Post(f"Frida Kahlo lives in Lisbon {'now ' * n}", context="a house") for n in range(9)]
    wanted = [light.extract_many([post]) for post in posts]
    model = GatheringExtractor(light)
    with ThreadPoolExecutor(9) as threads:
        assert list(threads.map(lambda post: model.extract_many([post]), posts)) == wanted


def test_who_is_done_waits_for_no_other_pass() -> None:
    """Of a pass of two the second is answered although a third holds the model by then."""
    gates = {text: threading.Event() for text in ("first", "shared", "last")}
    begun = {text: threading.Event() for text in gates}

    class Gated:
        def extract_many(self, posts: Sequence[Post]) -> list[Extraction]:
            begun[posts[0].text].set()
            assert gates[posts[0].text].wait(30)
            return [Extraction(post.text, ()) for post in posts]

    model = GatheringExtractor(Gated())  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as threads:
        threads.submit(model.extract_many, [Post("first")])
        assert begun["first"].wait(30)
        pair = [threads.submit(model.extract_many, [Post("shared")]) for _ in range(2)]
        while len(model._waiting) < 2:
            time.sleep(0.001)
        gates["first"].set()
        assert begun["shared"].wait(30)
        threads.submit(model.extract_many, [Post("last")])
        while not model._waiting:
            time.sleep(0.001)
        gates["shared"].set()
        assert begun["last"].wait(30)
        try:
            assert [future.result(10)[0].text for future in pair] == ["shared"] * 2
        finally:
            gates["last"].set()
