"""What a submission sends to a cluster: the two packages and the sweep's file, nothing else.

Data, storage, environments and version control stay where they are: files are taken from the
packages' own folders alone.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import yaml

from orchestrator.config.sweep import SweepConfig
from shapca.errors import InputError
from shapca.runs.code import code_fingerprint, fingerprint_folder
from shapca.runs.provenance import SENT, git_commit

PACKAGES = ("shapca", "orchestrator")
SWEEP_FILE = "sweep.yaml"
MAX_BYTES = 20 * 1024 * 1024


def stage(folder: Path, sweep: SweepConfig) -> int:
    """Copy what a job needs into an empty folder; how many bytes it is.

    Args:
        folder: Where to.
        sweep: The sweep, overrides applied: so no override stands on a command line.

    Raises:
        InputError: a package is not in a folder (a zip), or far larger than code is.
    """
    size = 0
    for package in PACKAGES:
        source = package_folder(package)
        for file in sorted(source.rglob("*")):
            parts = file.relative_to(source).parts
            is_code = not any(part == "__pycache__" or part.startswith(".") for part in parts)
            if is_code and file.is_file() and not file.is_symlink():
                target = (folder / package).joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                size += target.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"the packages are {size / 2**20:.0f} MiB: something other than code lies in "
            f"{package_folder(PACKAGES[0]).parent}; expected at most {MAX_BYTES // 2**20} MiB"
        )
    if fingerprint_folder(folder / PACKAGES[0]) != code_fingerprint():
        raise InputError("the code was changed while it was packaged; submit again")
    if (commit := git_commit()) is not None:
        (folder / PACKAGES[0] / SENT).write_text(commit, encoding="ascii")
    tree = sweep.model_dump(mode="json", exclude_unset=True)
    (folder / SWEEP_FILE).write_text(
        yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    return size


def package_folder(package: str) -> Path:
    """The folder that a package is imported from.

    Raises:
        InputError: it has none.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(f"{package}: expected an installed package in a folder")
    return Path(spec.origin).parent
