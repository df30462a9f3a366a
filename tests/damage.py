"""Files as they are after damage, or as someone wrote them who meant harm.

Each case is drawn from its own number, so that one that failed can be made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

from shapca.errors import InputError

NUM_CASES = int(os.environ.get("SHAPCA_FUZZ_CASES", "0"))
"""How many cases each parser gets; 0: what its test says."""
SLOWEST = 2.0
"""Seconds that one case may take."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 7, 10**9, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), float("-inf"), "", " ", "a", "1", "None", "a\0b", "../x",
    "/etc/passwd", "\ud83d", "\x1b[31m", "\r\n", "val/f1", "B-CAT", "I-PER", "2001-99-99", "*a",
    "é" * 300, "x" * 3000, [], [None], [1], [0, 99], [2, 1], [[0, 1], "PER"], [[]] * 3, {},
    {"": 1}, {"a": 1}, {"a": {"b": [1]}},
)  # fmt: skip
ODD_TEXTS = (
    "", "\0", "\r", "\n", "\t", " ", "{", "}", "[", "]", '"', "'", ",", ":", ": ", "- ", "? ", "*a",
    "&a ", "<<: ", "!!bool x", "!!int ''", "!x ", "|\n", "=", "~", "#", "%", "---\n", "\\", "NaN",
    "-1", "1e999", "null", "0x" + "f" * 300, "1:2:3", "[" * 3000, "9" * 5000, "IMGID:", "\\ud83d",
    "\\/", "B-PER", "\u2028", "\ufeff", "\ud83d",
)  # fmt: skip
ODD_BYTES = (b"\xff\xfe", *(text.encode("utf-8", "surrogatepass") for text in ODD_TEXTS))


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """A copy with one to four places cut, doubled, overwritten or filled with something odd."""
    if random.random() < 0.02:
        return random.randbytes(random.randint(0, 64))
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
    """A copy of JSON in which one to three values or keys are others, missing, or there twice."""
    for _ in range(random.choice((1, 1, 2, 3))):
        tree = _changed(tree, random.choice(_places(tree)), random)
    return tree


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to each value of a tree, the tree itself included."""
    found = [path]
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += _places(value, (*path, key))
    return found


def _changed(tree: Any, path: tuple[Any, ...], random: Random) -> Any:
    if not path:
        return random.choice(ODD_VALUES)
    key, kind = path[0], random.randrange(6)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if len(path) > 1 or kind < 3:
        copy[key] = _changed(tree[key], path[1:], random)
    elif kind == 3:
        del copy[key]
    else:
        new = copy[key] if kind == 4 else random.choice(ODD_VALUES)
        if isinstance(copy, list):
            copy.insert(key, new)
        else:
            copy[random.choice(("x", "", "id", "text", "tags", str(new)[:20]))] = new
    return copy


def damaged_lines(content: bytes, random: Random) -> bytes:
    """JSON lines of which one is damaged as text or as JSON."""
    lines = content.splitlines(keepends=True)
    if not lines or random.random() < 0.3:
        return damaged_bytes(content, random)
    index = random.randrange(len(lines))
    lines[index] = json.dumps(damaged_tree(json.loads(lines[index]), random)).encode() + b"\n"
    return b"".join(lines)


def damaged_json(content: bytes, random: Random) -> bytes:
    """A JSON file, damaged as text or as JSON."""
    if random.random() < 0.3:
        return damaged_bytes(content, random)
    return json.dumps(damaged_tree(json.loads(content), random)).encode()


def damaged_yaml(content: bytes, random: Random) -> bytes:
    """A YAML file, damaged as text or in what it says."""
    if random.random() < 0.4:
        return damaged_bytes(content, random)
    tree = damaged_tree(yaml.load(content, yaml.CSafeLoader), random)
    try:
        return yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
    except UnicodeEncodeError:  # half a character
        return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


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
        AssertionError: another exception than InputError, a message with an endless line or that no
            file can hold, or a case that took too long; the case's number is named.
    """
    for seed in range(NUM_CASES or num_cases):
        copy = damage(content, Random(seed))
        began = time.process_time()  # others may work here too
        try:
            read(copy)
        except InputError as error:
            message = str(error)
            assert message
            longest = max(map(len, message.split("\n")))
            assert longest < 3000, f"case {seed}: {message[:200]}"
            message.encode()
            yield message
        except Exception as error:
            raise AssertionError(f"case {seed}: {type(error).__name__}: {error}") from error
        seconds = time.process_time() - began
        assert seconds < SLOWEST, f"case {seed}: {seconds:.1f} s"
