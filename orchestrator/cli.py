"""The `orchestrator` command line: mounts the sub-commands and turns bad input into exit code 2.

Exit codes: 0 done, 1 the work failed, 2 bad input (one message, no traceback), 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import typer

from shapca.cli import mount, run_application

COMMANDS = (
    "config",
    "doctor",
    "forecast",
    "sweep",
    "study",
    "generalize",
    "prepare",
    "contexts",
    "submit",
    "list",
    "status",
    "stop",
    "report",
    "export",
    "sync",
    "ui",
    "predict",
    "demo",
    "push",
)
# That the extra `orchestrator` brings; `shapca` needs none of them.
PACKAGES = ("matplotlib", "mlflow", "optuna", "pandas", "pyarrow", "ray", "scipy")
app = mount(
    "orchestrator.commands",
    COMMANDS,
    "Sweeps and studies of Shap-CA on Ray, Optuna and MLflow.",
    places={
        "config": "showing.config",
        "list": "showing.listing",
        "export": "showing.export",
        "predict": "models.predict",
        "demo": "models.demo",
        "push": "models.push",
    },
)


def main() -> None:
    """Entry point of the script `orchestrator`."""
    run_driver(app)


def run_driver(application: typer.Typer, arguments: list[str] | None = None) -> None:
    """Run a command line; where a driver lost what it works on, one message and exit code 1.

    Args:
        application: The command line.
        arguments: Its arguments; None: those of the process.

    Raises:
        SystemExit: always, with the exit code, except where Ray was lost.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        # Before anything is drawn, written or started.
        print(
            f"error: orchestrator needs the package {missing[0]}: "
            "pip install 'shap-ca[orchestrator]'",
            file=sys.stderr,
        )
        sys.exit(2)

    from orchestrator.cluster.watch import KEPT, RayLostError, say_farewell
    from orchestrator.store.address import StorageLost
    from orchestrator.store.lease import LeaseLost

    try:
        run_application(application, arguments)
    except LeaseLost as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except StorageLost as error:
        print(f"error: {error}. {KEPT} once the storage can be used", file=sys.stderr)
        sys.exit(1)
    except RayLostError as error:
        say_farewell(str(error))
