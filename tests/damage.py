"""Files as they are after damage, or as someone wrote them who meant harm."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from shapca.errors import InputError

NUM_CASES = int(os.environ.get("SHAPCA_FUZZ_CASES", "0"))
"""How many cases each parser gets; 0: what its test says."""
SLOWEST = 2.0
"""Seconds that one case may take."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 10**9, 2**63, 10**30, 0.5, float("nan"), float("inf"), "", "a", "None",
    "\x00", "../x", "\ud83d", "B-CAT", "I-PER", [], [1], [0, 99], [2, 1], [[0, 1], "PER"], {},
    {"a": 1}, [[]] * 3, "x" * 300,
)  # fmt: skip
ODD_BYTES = (
    b"", b"\x00", b"\xff\xfe", b"\r", b"\n", b"\t", b" ", b"{", b"}", b"[", b"]", b'"', b",", b":",
    b"NaN", b"-1", b"1e999", b"null", b"\xef\xbb\xbf", b"\xed\xa0\xbd", b"[" * 3000, b"9" * 5000,
    b"IMGID:", b"\\ud83d", b"\\/", b"B-PER",
)  # fmt: skip


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """A copy with one to four places cut, doubled, overwritten or filled with something odd."""
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(content))
        end = min(len(content), start + random.choice((0, 1, 1, 2, 8, 64)))
        kind = random.randrange(5)
        if kind == 0:
            content = content[:start] + random.choice(ODD_BYTES) + content[end:]
        elif kind == 1:
            content = content[:start] + content[end:]
        elif kind == 2:
            content = content[:end] + content[start:]
        elif kind == 3:
            content = content[:start] + random.randbytes(end - start) + content[end:]
        else:
            content = content[:start] if random.random() < 0.2 else content
    return content


def damaged_tree(tree: Any, random: Random) -> Any:
    """A copy of JSON in which a value or a key somewhere is another, missing or there twice."""
    if isinstance(tree, dict) and tree and random.random() < 0.85:
        key = random.choice(list(tree))
        copy = dict(tree)
        kind = random.randrange(8)
        if kind == 0:
            del copy[key]
        elif kind == 1:
            copy[random.choice(("x", "", "id", "text", "tags"))] = copy.pop(key)
        else:
            copy[key] = damaged_tree(tree[key], random)
        return copy
    if isinstance(tree, list) and tree and random.random() < 0.85:
        index = random.randrange(len(tree))
        kind = random.randrange(6)
        items = {0: [], 1: [tree[index]] * 2}.get(kind, [damaged_tree(tree[index], random)])
        return [*tree[:index], *items, *tree[index + 1 :]]
    return random.choice(ODD_VALUES)


def damaged_lines(content: bytes, random: Random) -> bytes:
    """JSON lines of which one is damaged as text or as JSON."""
    lines = content.splitlines(keepends=True)
    if not lines or random.random() < 0.4:
        return damaged_bytes(content, random)
    index = random.randrange(len(lines))
    lines[index] = json.dumps(damaged_tree(json.loads(lines[index]), random)).encode() + b"\n"
    return b"".join(lines)


def damaged_json(content: bytes, random: Random) -> bytes:
    """A JSON file, damaged as text or as JSON."""
    if random.random() < 0.4:
        return damaged_bytes(content, random)
    return json.dumps(damaged_tree(json.loads(content), random)).encode()


def read_damaged(
    content: bytes,
    damage: Callable[[bytes, Random], bytes],
    read: Callable[[bytes], object],
    num_cases: int,
) -> Iterator[str]:
    """Read many damaged copies of a file; each has to be read or refused in one message.

    Args:
        content: The sound file.
        damage: Makes a damaged copy.
        read: Reads one.
        num_cases: How many, unless the environment says so.

    Yields:
        The messages of those that were refused.

    Raises:
        AssertionError: another exception than InputError, a message of several lines, or a case
            that took too long; the case's seed is named.
    """
    for seed in range(NUM_CASES or num_cases):
        copy = damage(content, Random(seed))
        began = time.perf_counter()
        try:
            read(copy)
        except InputError as error:
            message = str(error)
            assert message
            assert len(message) < 3000, f"seed {seed}: {message[:200]}"
            assert "\n" not in message, f"seed {seed}: {message}"
            yield message
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        seconds = time.perf_counter() - began
        assert seconds < SLOWEST, f"seed {seed}: {seconds:.1f} s"
