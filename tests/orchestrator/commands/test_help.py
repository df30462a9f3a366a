"""Every command of both programs explains itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import orchestrator.cli
import shapca.cli
from tests.paths import ROOT
from tests.whole.test_readme import check_command

PROGRAMS = {"shapca": shapca.cli, "orchestrator": orchestrator.cli}
COMMANDS = [(name, command) for name, cli in PROGRAMS.items() for command in cli.COMMANDS]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_shown_whole(words: tuple[str, str]) -> None:
    program, command = words
    app = PROGRAMS[program].app
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "1000"})
    assert result.exit_code == 0, result.output
    assert "install-completion" not in result.output
    group: Any = typer.main.get_command(app)
    for child in leaves(group.get_command(None, command)):
        assert child.help
        for parameter in child.params:
            assert parameter.help, parameter.name
            assert "[" not in parameter.help  # would be taken for markup, and be left out
            # Defaults and variables are told by Typer, which puts them in brackets.
            assert not re.search(r"by default|left out|_URI|RAY_", parameter.help)
        path = [command] if child.name == command else [command, child.name]
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "1000"}).output
        for parameter in child.params:
            if isinstance(parameter.show_default, str):
                assert f"[default: ({parameter.show_default})]" in shown
            if parameter.envvar is not None:
                names = (
                    [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar
                )
                assert f"[env var: {', '.join(names)}]" in shown


def leaves(command: Any) -> list[Any]:
    return list(getattr(command, "commands", {}).values()) or [command]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_top_has_a_version_short_help_and_completion(program: str) -> None:
    app = PROGRAMS[program].app
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"Shap-CA {shapca.__version__}\n")
    wide = {"COLUMNS": "1000"}
    shown = CliRunner().invoke(app, ["-h"], env=wide).output
    assert shown == CliRunner().invoke(app, ["--help"], env=wide).output
    assert {"--version", "--install-completion", "--show-completion"} <= set(shown.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_short_help_is_the_same_as_help_in_every_sub_command(words: tuple[str, str]) -> None:
    program, command = words
    app = PROGRAMS[program].app
    group: Any = typer.main.get_command(app)
    children = getattr(group.get_command(None, command), "commands", {})
    for line in ([command], *([command, child] for child in children)):
        short, long = (CliRunner().invoke(app, [*line, option]) for option in ("-h", "--help"))
        assert short.exit_code == 0
        assert short.output == long.output


MAIN = [
    ("shapca", "train"), ("shapca", "predict"), ("shapca", "evaluate"), ("shapca", "config"),
    ("shapca", "data", "prepare"), ("shapca", "contexts", "generate"),
    ("orchestrator", "sweep"), ("orchestrator", "study"), ("orchestrator", "report"),
    ("orchestrator", "submit"), ("orchestrator", "contexts"), ("orchestrator", "predict"),
    ("orchestrator", "prepare"),
    ("orchestrator", "config"), ("orchestrator", "list"),
]  # fmt: skip


@pytest.mark.parametrize("words", MAIN, ids=" ".join)
def test_main_commands_show_examples_that_parse(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # an option's file may have to be there
    program, *path = words
    app = PROGRAMS[program].app
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.get_command(None, name)
    title, *lines = command.epilog.split("\n\n")
    assert title == "Examples:"
    assert lines
    shown = CliRunner().invoke(app, [*path, "-h"], env={"COLUMNS": "1000"}).output
    for line in lines:
        assert line in shown  # whole, markup included
        assert tuple(shlex.split(line)[: len(words)]) == words
        check_command(shlex.split(line.partition(" > ")[0]))
        for word in shlex.split(line):
            if word.startswith(("configs/", "search_spaces/")):
                assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_started_as_a_module_calls_itself_by_its_name(program: str) -> None:
    command = {"shapca": "train", "orchestrator": "sweep"}[program]
    said = subprocess.run(
        [sys.executable, "-m", program, command], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert f"Usage: {program} {command} " in said.stderr
    assert f"Try '{program} {command} -h'" in said.stderr
    assert "python" not in said.stderr
