"""The guides in docs/ are true: their commands parse, and quoted messages are the code's."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestrator.config.sweep import SweepConfig
from tests.paths import ROOT
from tests.whole.test_readme import blocks, check_command, commands

GUIDES = sorted((ROOT / "docs").glob("*.md"))
TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| (`[^|]*`)[^|`]*\|", TROUBLES, flags=re.MULTILINE)


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """Strings of the two packages but docstrings, with `…` in place of what is put in."""
    return tuple(
        text
        for package in ("shapca", "orchestrator")
        for file in (ROOT / package).rglob("*.py")
        for text in _texts(ast.parse(file.read_text(encoding="utf-8")))
    )


def _texts(tree: ast.AST) -> Iterator[str]:
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in documentation:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(map(str, parts))


def says(message: str) -> bool:
    """Whether some text of the code holds the parts of a message in their order."""
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    return any(re.search(pattern, text, flags=re.DOTALL) for text in texts_of_the_code())


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_commands_of_the_guides_parse(guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for words in commands(guide.read_text(encoding="utf-8")):
        check_command(words)
        for word in words[1:]:
            if word.partition("/")[0] in ("configs", "orchestrator", "search_spaces", "mlflow"):
                assert (ROOT / word).exists(), f"{shlex.join(words)}: {word} is not in this project"


def test_there_are_twenty_messages() -> None:
    assert len(MESSAGES) >= 20


@pytest.mark.parametrize("message", MESSAGES)
def test_every_quoted_message_is_the_code_s(message: str) -> None:
    for part in re.findall(r"`([^`]*)`", message):
        assert says(part), part


def test_a_wrong_quotation_would_be_found() -> None:
    assert says("unknown data set; expected one of …")
    assert not says("no such message at all")


def test_the_search_space_of_its_guide_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "search_spaces.md").read_text(encoding="utf-8")
    [block] = [block for block in blocks(text) if block.language == "yaml"]
    file = tmp_path / "space.yaml"
    file.write_text(block.text, encoding="utf-8")
    shown = {tuple(corner)[:3] for corner in SweepConfig.load(file).corners()}
    rates = ("optimisation.encoder_learning_rate", "optimisation.learning_rate")
    assert shown == {
        ("text.encoder", rates[1]),
        ("text.encoder", "text.freeze", rates[1]),
        ("text.encoder", "text.freeze", rates[0]),
    }
