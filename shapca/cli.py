"""The `shapca` command line: mounts the sub-commands and turns bad input into exit code 2.

Exit codes: 0 done, 1 the work failed, 2 bad input (one message, no traceback), 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from shapca.errors import InputError

# Each module holds an `app`; it is imported when its command is asked for, so start-up stays fast.
COMMANDS = {
    "data": "shapca.commands.data",
    "contexts": "shapca.commands.contexts",
    "train": "shapca.commands.train",
    "evaluate": "shapca.commands.evaluate",
    "predict": "shapca.commands.predict",
    "parameters": "shapca.commands.parameters",
    "shapley-report": "shapca.commands.shapley_report",
}


class CommandGroup(TyperGroup):
    """Sub-commands by name, imported on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a user's work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The sub-command of that name, or none."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=CommandGroup,
    help="Shap-CA: multimodal information extraction from social media posts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _shapca() -> None:
    """Shap-CA: multimodal information extraction from social media posts."""


def run_application(application: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command line; a bad input is one message on stderr and exit code 2.

    Args:
        application: The command line.
        arguments: Its arguments; none: those of the process.

    Raises:
        SystemExit: always, with the exit code.
    """
    try:
        application(args=arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """Entry point of the script `shapca`."""
    run_application(app)
