"""A sweep on the head of a cluster, as `ray submit CLUSTER.yaml run_sweep.py -- SPACE` runs it.

`ray submit` copies this file alone to the head; the project is there by the cluster's file mounts.
Everything after SPACE is an option of `orchestrator sweep`, e.g. `--storage s3://bucket/prefix`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PROJECT = Path(os.environ.get("SHAPCA_PROJECT", "~/shap-ca")).expanduser()
PYTHON = Path("~/shap-ca-venv/bin/python").expanduser()


def main(arguments: list[str]) -> None:
    """Run or resume a sweep on the cluster whose head this is."""
    if importlib.util.find_spec("orchestrator") is None:
        if PYTHON.is_file() and Path(sys.executable) != PYTHON:  # the login shell's was another
            os.execv(PYTHON, [str(PYTHON), __file__, *arguments])
        sys.exit(f"error: the package orchestrator is not installed for {sys.executable}")
    if not arguments or arguments[0].startswith("-"):
        sys.exit("error: expected the sweep's file first: ray submit CLUSTER.yaml SCRIPT -- SPACE")
    os.environ.setdefault("RAY_ADDRESS", "auto")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    space = Path(arguments[0]).expanduser().absolute()
    if PROJECT.is_dir():
        os.chdir(PROJECT)  # relative paths mean the project's
        space = space if space.is_file() else Path(arguments[0])
    command = [sys.executable, "-m", "orchestrator", "sweep", str(space), *arguments[1:]]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main(sys.argv[1:])
