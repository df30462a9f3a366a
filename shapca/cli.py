"""The `shapca` command line: mounts the sub-commands and turns what goes wrong into one message.

Exit codes: 0 done, 1 the work failed, 2 bad input (one message, no traceback), 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import shapca
from shapca.commands.display.streams import make_steady
from shapca.errors import InputError
from shapca.words import visible

STOPS_WORK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
"""What comes over a system in the middle of work, and not from what was asked for."""
COMMANDS = (
    "data",
    "contexts",
    "config",
    "train",
    "evaluate",
    "predict",
    "push",
    "parameters",
    "shapley-report",
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"Shap-CA {shapca.__version__}")
        raise typer.Exit


def mount(
    package: str, commands: Sequence[str], summary: str, places: Mapping[str, str] | None = None
) -> typer.Typer:
    """A command line whose commands are imported when they are asked for: start-up stays fast.

    Args:
        package: Holds a module for each command, with a function of the module's name, or an
            `app` of sub-commands. The function's `EPILOG` beside it is shown under its help.
        commands: Their names in the order of a user's work.
        summary: What the command line is for, in a sentence.
        places: Modules below the package, of commands that have not their own name's.
    """

    class Commands(TyperGroup):
        def main(self, *args: Any, **named: Any) -> Any:
            # Started as `python -m PACKAGE`, as a cluster does, it is the same command.
            return super().main(*args, **{"prog_name": package.partition(".")[0], **named})

        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in commands:
                return None
            place = (places or {}).get(cmd_name, cmd_name.replace("-", "_"))
            module = importlib.import_module(f"{package}.{place}")
            app = getattr(module, "app", None) or _alone(module)
            command = typer.main.get_command(app)
            command.name = cmd_name
            return command

    app = typer.Typer(
        cls=Commands,
        help=summary,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},  # of all commands below it too
        pretty_exceptions_enable=False,
    )
    app.callback()(_top)
    return app


def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Typer takes the options before a command's name from here."""


def _alone(module: ModuleType) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    function = getattr(module, module.__name__.rpartition(".")[2])
    app.command(epilog=getattr(module, "EPILOG", None))(function)
    return app


app = mount(
    "shapca.commands",
    COMMANDS,
    "Shap-CA: multimodal information extraction from social media posts.",
)


def run_application(application: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command line; what goes wrong outside of the code is one message on stderr.

    Bad input, and files that the system refuses, end with exit code 2; a disk that is full or fails
    ends with 1.

    Args:
        application: The command line.
        arguments: Its arguments; None: those of the process.

    Raises:
        SystemExit: always, with the exit code.
    """
    make_steady()
    try:
        application(args=arguments)
    except InputError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno is None:
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {visible(f'{place}{error.strerror or error}')}", file=sys.stderr)
        sys.exit(1 if error.errno in STOPS_WORK else 2)


def main() -> None:
    """Entry point of the script `shapca`."""
    run_application(app)
