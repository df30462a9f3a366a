"""What a parser is to the fuzzer, and where its files lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

Read = Callable[[bytes], object]
Damage = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Parser:
    """A kind of file.

    Attributes:
        name: For people.
        damage: Makes a damaged copy.
        sound: Gives the content of a sound one.
        read: Reads the content of one; bad input is an InputError, anything else a fault.
    """

    name: str
    damage: Damage
    sound: Callable[[], bytes]
    read: Read


@cache
def folder() -> Path:
    return Path(mkdtemp(prefix="fuzz-"))


def in_file(name: str, read: Callable[[Path], object]) -> Read:
    """A reader of a file with this name."""

    def read_content(content: bytes) -> object:
        file = folder() / name
        file.write_bytes(content)
        return read(file)

    return read_content
