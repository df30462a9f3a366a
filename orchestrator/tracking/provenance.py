"""Where a run comes from, as MLflow has words for it: its data set, its user, its code."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.tracking.run_document import DatasetDocument
from shapca.data.manifest import MANIFEST, hash_file
from shapca.data.prepared import PreparedData
from shapca.runs.provenance import git_commit

CONFIG = "config.yaml"
"""The artifact of every run that holds its resolved configuration."""
SUBMITTED_BY = "SHAPCA_SUBMITTED_BY"
"""In a submitted job's environment: who submitted it."""
USER, COMMIT, SOURCE_TYPE = "mlflow.user", "mlflow.source.git.commit", "mlflow.source.type"
MAX_DIGEST = 36
"""Characters that MLflow allows: 144 bits of a SHA-256."""
_COLUMNS = {
    "mner": ("id", "words", "pos", "image", "entities"),
    "mre": ("id", "words", "pos", "image", "entities", "relations"),
    "mjere": ("id", "words", "pos", "image", "entities", "relations"),
}


def run_tags() -> dict[str, str]:
    """Tags of all runs that this process begins: whose they are, of which code, begun how."""
    submitted_by = os.environ.get(SUBMITTED_BY)
    return source_tags(submitted_by or _user(), git_commit(), "JOB" if submitted_by else "LOCAL")


def source_tags(user: str | None, commit: str | None, source_type: str) -> dict[str, str]:
    """The same of what is known.

    Args:
        user: Whose they are.
        commit: As `git_commit` gives it; MLflow gets the bare hash.
        source_type: One of MLflow's words, e.g. `LOCAL`, `JOB`, `UNKNOWN`.
    """
    found = {
        USER: user,
        COMMIT: None if commit is None else commit.partition("+")[0],
        SOURCE_TYPE: source_type,
    }
    return {key: value for key, value in found.items() if value}


def submitted_environment() -> dict[str, str]:
    """What a job needs to know of who submits it."""
    return {SUBMITTED_BY: os.environ.get(SUBMITTED_BY) or _user()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"


def dataset_document(data: PreparedData) -> DatasetDocument:
    """A prepared data set as an input of runs, by the hash of its manifest."""
    manifest, file = data.manifest, data.folder / MANIFEST
    task = manifest.labels.task
    sets = [f"context:{name}" for name in sorted(manifest.contexts)]
    columns = [
        {"name": name, "type": "string", "required": name in ("id", "words")}
        for name in (*_COLUMNS[task], *sets)
    ]
    manifest_hash = hash_file(file)
    profile = {
        "task": task,
        "labels": manifest.labels.to_json(),
        **{split: dict(counts) for split, counts in manifest.counts.items()},
        "image_size": manifest.image_size,
        "manifest_sha256": manifest_hash,
    }
    return DatasetDocument(
        name=data.folder.name,
        digest=manifest_hash[:MAX_DIGEST],
        source=json.dumps({"uri": data.folder.absolute().as_uri()}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile, ensure_ascii=False),
    )


def config_yaml(config: Mapping[str, Any]) -> bytes:
    """A resolved configuration as a file."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in a tenth of the time
    text: str = yaml.dump(dict(config), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text.encode()
