"""Requests that come at once are read at once: one pass for all that wait, and nobody waits longer.

A request that finds the model idle is read by itself. While it is, others gather; who comes to the
model next takes all of them along. So one client is served as before, and many share their batches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shapca.prediction.extraction import Extraction, Post
from shapca.prediction.extractor import Extractor

MOST_POSTS = 64
"""Posts of one pass, where they are of several requests."""


@dataclass
class _Request:
    posts: Sequence[Post]
    found: list[Extraction] | None = None
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.found is not None or self.error is not None


class GatheringExtractor:
    """A model for many threads, of which one at a time uses it, for all that wait.

    Args:
        extractor: The model.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._changed = threading.Condition()
        self._is_busy = False
        self._waiting: deque[_Request] = deque()

    def extract_many(self, posts: Sequence[Post]) -> list[Extraction]:
        """What the model finds in each post.

        Raises:
            InputError: as `Extractor.extract_many`, of these posts alone.
        """
        request = _Request(posts)
        self._waiting.append(request)
        while self._has_turn(request):
            try:
                self._read_next()
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
        if request.error is not None:
            raise request.error
        assert request.found is not None
        return request.found

    def _has_turn(self, request: _Request) -> bool:
        """Wait until a request is done, by whoever, or may use the model: whether it may."""
        with self._changed:
            self._changed.wait_for(lambda: request.is_done or not self._is_busy)
            if request.is_done:
                return False
            self._is_busy = True
            return True

    def _read_next(self) -> None:
        """Read the request that has waited longest, with as many behind it as a pass takes."""
        taken = [self._waiting.popleft()]
        num_posts = len(taken[0].posts)
        while self._waiting and num_posts + len(self._waiting[0].posts) <= MOST_POSTS:
            taken.append(self._waiting.popleft())
            num_posts += len(taken[-1].posts)
        if len(taken) > 1:
            try:
                found = self._extractor.extract_many(
                    [p for request in taken for p in request.posts]
                )
            except Exception:
                pass  # one of them is to blame: each is read by itself, and told what is its own
            else:
                for request in taken:
                    request.found = found[: len(request.posts)]
                    del found[: len(request.posts)]
                return
        for request in taken:
            try:
                request.found = self._extractor.extract_many(request.posts)
            except Exception as error:
                request.error = error
