"""The `orchestrator` command line: mounts the sub-commands and turns bad input into exit code 2.

Exit codes: 0 done, 1 the work failed, 2 bad input (one message, no traceback), 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from shapca.cli import run_application

# Each module holds an `app`; it is imported when its command is asked for, so start-up stays fast.
COMMANDS = {
    "doctor": "orchestrator.commands.doctor",
    "forecast": "orchestrator.commands.forecast",
    "sweep": "orchestrator.commands.sweep",
    "study": "orchestrator.commands.study",
    "generalize": "orchestrator.commands.generalize",
    "contexts": "orchestrator.commands.contexts",
    "submit": "orchestrator.commands.submit",
    "status": "orchestrator.commands.status",
    "stop": "orchestrator.commands.stop",
    "report": "orchestrator.commands.report",
    "sync": "orchestrator.commands.sync",
    "ui": "orchestrator.commands.ui",
    "predict": "orchestrator.commands.predict",
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
    help="Sweeps and studies of Shap-CA on Ray, Optuna and MLflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _orchestrator() -> None:
    """Sweeps and studies of Shap-CA on Ray, Optuna and MLflow."""


def main() -> None:
    """Entry point of the script `orchestrator`."""
    run_driver(app)


def run_driver(application: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command line; where a driver lost what it works on, one message and exit code 1.

    Args:
        application: The command line.
        arguments: Its arguments; none: those of the process.

    Raises:
        SystemExit: always, with the exit code, except where Ray was lost.
    """
    from orchestrator.cluster.watch import RayLostError
    from orchestrator.store.lease import LeaseLost

    try:
        run_application(application, arguments)
    except LeaseLost as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except RayLostError as error:
        message = f"error: {error}. Nothing that was trained is lost: the same command goes on"
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)  # Ray's own farewell would wait for what is gone
