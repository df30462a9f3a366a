"""What MLflow needs before it is first used: settings of this process, and its SQLite database."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.store.sweep_folder import SWEEPS
from orchestrator.tracking.client.addresses import ARTIFACTS, DATABASE, database_file, sqlite_uri
from shapca.errors import InputError
from shapca.storage import make_private_folder
from shapca.storage.objects import TEMPORARY, remove_leftovers
from shapca.storage.processes import this_process

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What is relied upon, whatever the user's environment says. Requests are not repeated by the
# client, which would repeat the creation of a run that the server did create; telemetry and links
# on the console are off.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # what is refused would never be told
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A model is made of what is installed, and its upload draws nothing over the progress view.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# What a slow server may need more of.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "120",
}
# Where MLflow keeps absolute addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def open_client(uri: str) -> MlflowClient:
    """MLflow's client of a store, whose SQLite database is made if it is missing.

    MLflow is imported here, and told to be silent: errors are raised, and its own lines would
    break the progress view.

    Args:
        uri: A checked tracking URI; models are registered there as well.
    """
    os.environ.update(_ENVIRONMENT)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.store.db import utils

    for name in ("mlflow", "alembic"):  # the import sets the level of MLflow's logger
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # It would make the folder above a database by the URI, that is by its quoted name.
    utils._make_parent_dirs_if_sqlite = lambda uri: None
    if (file := database_file(uri)) is not None:
        _prepare_sqlite(file)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _prepare_sqlite(path: Path) -> None:
    """Make the database file its owner's alone, with a write-ahead log.

    So the UI reads while runs are written, and a commit syncs the disk once instead of three times.
    """
    make_private_folder(path.parent)
    if not path.exists():
        _create_sqlite(path)
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    follow_storage(path)


def follow_storage(path: Path) -> bool:
    """Let the addresses in a storage's database mean where it lies now: storages are moved.

    MLflow keeps absolute ones, so that a storage that was moved or copied would go on to write and
    read where it was. Of other databases nobody knows where their artifacts should be.

    Args:
        path: MLflow's database file.

    Returns:
        Whether the storage had been moved.

    Raises:
        InputError: it was, and the database cannot be written.
    """
    if path.name != DATABASE or not (path.parent / SWEEPS).is_dir():
        return False
    here = (path.parent / ARTIFACTS).as_uri()
    with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        there = [pair for pair in _ADDRESSES if _has_column(connection, *pair)]
        if not there:
            return False
        query = "SELECT artifact_location FROM experiments ORDER BY experiment_id LIMIT 1"
        (first,) = connection.execute(query).fetchone() or ("",)
        found = re.fullmatch(rf"(file://.*/{ARTIFACTS})(/\d+)?", first)
        if found is None or found[1] == here:
            return False
        length = len(found[1])
        try:
            for table, column in there:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, length + 1, found[1], length + 1, found[1] + "/"),
                )
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{path}: the storage was moved, and the addresses in its MLflow database cannot "
                f"be brought into line ({error})"
            ) from error
    return True


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    rows = connection.execute(f"PRAGMA table_info({table})")
    return any(name == column for _, name, *_ in rows)


def _create_sqlite(path: Path) -> None:
    """Let MLflow make its tables in another file, which then appears under its name whole.

    Making them takes seconds and dozens of migrations: a process killed on the way would leave a
    database that MLflow can neither use nor mend, and so would two at once.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    remove_leftovers(path.parent)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f"{TEMPORARY}{this_process()}-", suffix=".db"
    )
    os.close(handle)
    temporary = Path(name)
    try:
        store = SqlAlchemyStore(sqlite_uri(temporary), (path.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
