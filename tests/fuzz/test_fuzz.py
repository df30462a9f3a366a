"""Damaged and foreign files are one message each, in little time and memory: never an exception.

`SHAPCA_FUZZ_CASES` says how many cases a parser gets; `make fuzz` asks for 20,000.
"""

from __future__ import annotations

import resource

import pytest

from tests.damage import read_damaged
from tests.fuzz.parsers import PARSERS, Parser

SHORT = 60
MOST_MEMORY = 2**20  # KiB


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_what_is_damaged_is_said_in_one_message(parser: Parser) -> None:
    sound = parser.sound()
    parser.read(sound)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for message in read_damaged(sound, parser.damage, parser.read, SHORT):
        assert "Traceback" not in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
