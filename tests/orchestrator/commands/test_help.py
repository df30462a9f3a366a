"""Every command of both programs explains itself."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import orchestrator.cli
import shapca.cli

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


def leaves(command: Any) -> list[Any]:
    return list(getattr(command, "commands", {}).values()) or [command]
