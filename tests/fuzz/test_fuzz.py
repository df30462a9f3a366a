"""Damaged and foreign files are one message each, in little time and memory: never an exception.

`SHAPCA_FUZZ_CASES` says how many cases a parser gets; `make fuzz` asks for 20,000.
"""

from __future__ import annotations

import os
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shapca.errors import InputError
from tests.fuzz.mutations import damaged
from tests.fuzz.parsers import PARSERS, Parser

NUM_CASES = int(os.environ.get("SHAPCA_FUZZ_CASES", "0"))
SHORT = 12
LONGEST_SECONDS = 2.0
MOST_MEMORY = 2**20  # KiB


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_what_is_damaged_is_said_in_one_message(parser: Parser) -> None:
    sound = parser.sound()
    parser.read(sound)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=NUM_CASES or SHORT, deadline=None, database=None, derandomize=not NUM_CASES,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def read(data: st.DataObject) -> None:
        content = data.draw(damaged(sound, parser.form))
        began = time.perf_counter()
        try:
            parser.read(content)
        except InputError as error:
            str(error).encode()  # it can be written anywhere
        assert time.perf_counter() - began < LONGEST_SECONDS

    read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
