"""Names in MLflow: its own rules hold for every text, and no two texts share a name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import (
    _validate_batch_log_data,
    _validate_metric_name,
    _validate_param_name,
    _validate_tag_name,
)

from orchestrator.tracking.client.names import key_of, value_of

RULES = (_validate_metric_name, _validate_param_name, _validate_tag_name)
# What the rules are about, in any order, beside any character at all.
NAMES = st.text(st.sampled_from("/._0x2fe(:-\n") | st.characters(), max_size=40) | st.text(
    "/.ab(", min_size=230, max_size=270
)


def named_by(key: str) -> str:
    """The name of a key that was not cut."""
    return re.sub("_0x([0-9a-f]*)_", lambda code: code[1] and chr(int(code[1], 16)), key)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("test/f1_mean", "test/f1_mean"),
        ("val/f1_ünïcode 关系", "val/f1_ünïcode 关系"),
        ("val/f1_per:loc", "val/f1_per:loc"),
        ("val/f1_a(b", "val/f1_a_0x28_b"),
        ("val/f1_a)b", "val/f1_a_0x29_b"),
        ("val/f1_/per/org//member_of", "val/f1_/per/org/_0x2f_member_of"),
        ("val/f1_/per/loc/", "val/f1_/per/loc_0x2f_"),
        ("val/../x", "val/_0x2e_./x"),
        ("./x", "_0x2e_/x"),
        ("..x", "_0x2e_.x"),
        ("/x", "_0x2f_x"),
        ("α=0.5", "α_0x3d_0.5"),
        ("a/", "a_0x2f_"),
        ("a_0x28_b", "a_0x5f_0x28_b"),
        ("a\n", "a_0xa_"),
        ("..", "_0x2e_."),
        ("", "_0x_"),
    ],
)
def test_what_the_rules_forbid_is_written_as_a_code(name: str, key: str) -> None:
    assert key_of(name) == key
    assert named_by(key) == name


@given(NAMES)
def test_mlflow_takes_every_name(name: str) -> None:
    key = key_of(name)
    for rule in RULES:
        rule(key)
    _validate_batch_log_data([Metric(key, 1.0, 0, 0)], [Param(key, "1")], [RunTag(key, "1")])
    assert "_0xcut_" in key or named_by(key) == name


@given(st.lists(NAMES, unique=True, min_size=2, max_size=20))
def test_no_two_names_share_a_key(names: list[str]) -> None:
    assert len({key_of(name) for name in names}) == len(names)


def test_long_names_that_begin_alike_stay_apart() -> None:
    keys = {key_of("n" * 300 + end) for end in "ab"}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {250}
    assert key_of("n" * 250) == "n" * 250


def test_values_hold_no_half_character_and_no_nul() -> None:
    assert value_of("a\0b\udcff", 100) == "a\\x00b\\udcff"
    assert value_of("x" * 101, 100) == "x" * 93 + "… (cut)"
