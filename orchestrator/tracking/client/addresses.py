"""Addresses of MLflow stores and models: which are allowed, the default ones, how they are shown.

Nothing here imports or contacts MLflow. Credentials in an address reach MLflow alone; they may as
well be given as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shapca.errors import InputError
from shapca.storage.files import below, refuse_link

REGISTRY_URI = "models:/"
DATABASE = "mlflow.db"
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal")
"""MLflow's in a storage folder, with what belongs to it beside it."""
ARTIFACTS = "mlartifacts"
NO_TRACKING = "none"
"""In place of a tracking URI: nothing is tracked."""
# `?password=…`, `&access_token=…`, `&sslkey=…`; and what libraries print of requests' headers.
_SECRET = re.compile(
    r"(?i)([?&;][\w.-]*(?:pass|pwd|user|token|secret|key|sig|cred|auth)[\w.-]*=)[^&;\s'\"]+"
    r"|(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)\s+)[^\s'\",}]+"
)
_DATABASE_DRIVERS = {"postgresql": "psycopg2", "mysql": "pymysql", "mssql": "pymssql"}


def redact(text: str) -> str:
    """The text without the credentials of any URI in it."""
    text = re.sub(r"(?<=://)[^\s/'\"]*@", "***@", text)
    return _SECRET.sub(lambda found: (found[1] or found[2]) + "***", text)


def resolve_tracking(given: str | None, storage: str) -> str:
    """The tracking URI that was given, checked, or else that of SQLite under a storage folder.

    Raises:
        InputError: it is of no use, or the storage is no folder that a database could live in, or a
            link stands in the place of the database or of what SQLite keeps beside it.
    """
    if not given and "://" in storage:
        raise InputError(
            f"storage {redact(storage)}: MLflow's database cannot live there; give --tracking-uri, "
            "e.g. http://127.0.0.1:5000"
        )
    if given:
        return check_uri(given)
    folder = Path(storage).expanduser().resolve()
    for ending in _BESIDE_DATABASE:
        below(folder, DATABASE + ending)
    return check_uri(sqlite_uri(folder / DATABASE))


def check_uri(uri: str) -> str:
    """A tracking URI that MLflow can serve, made absolute; nothing is contacted.

    Raises:
        InputError: of a kind that MLflow 3 does not store runs in, or its driver is not installed.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    shown = redact(uri)
    if scheme in ("http", "https"):
        if not urlsplit(uri).hostname:
            raise InputError(f"tracking URI {shown}: expected a host, e.g. http://127.0.0.1:5000")
        return uri.rstrip("/")
    if scheme == "sqlite":
        path = unquote(uri.partition(":///")[2].partition("?")[0])
        if not path or path == ":memory:":
            raise InputError(
                f"tracking URI {shown}: expected a database file, e.g. sqlite:///storage/mlflow.db"
            )
        return sqlite_uri(Path(path).expanduser().resolve())
    if scheme in _DATABASE_DRIVERS:
        dialect, _, rest = uri.partition("://")
        driver = dialect.partition("+")[2] or _DATABASE_DRIVERS[scheme]
        if importlib.util.find_spec(driver) is None:
            extra = " (pip install 'shap-ca[postgres]')" if scheme == "postgresql" else ""
            raise InputError(f"tracking URI {shown}: the Python driver {driver} is missing{extra}")
        # The driver is named, since SQLAlchemy's own choice differs between its versions.
        return f"{scheme}+{driver}://{rest}"
    raise InputError(
        f"tracking URI {shown}: expected http://…, https://…, sqlite:///FILE or postgresql://…; "
        "MLflow 3 keeps runs in no plain folder (file:)"
    )


def sqlite_uri(file: Path) -> str:
    """The URI of a database file, in which what means something in a URI is quoted."""
    return "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F")


def database_file(uri: str) -> Path | None:
    """The inverse of `sqlite_uri`, for a checked URI; None for any other store."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri else Path(unquote(path))


def existing_database(uri: str) -> str:
    """A checked tracking URI that is only read, so a database file must be there.

    Raises:
        InputError: no such file.
    """
    if (file := database_file(uri)) is not None and not file.is_file():
        raise InputError(
            f"{uri}: no such database; nothing was tracked there yet (orchestrator sweep FILE), or "
            "another --storage has it"
        )
    return uri


def parse_model_uri(uri: str) -> tuple[str, str, bool]:
    """Name, then alias or version, and whether it is an alias, of a model's address.

    Raises:
        InputError: neither `models:/NAME@ALIAS` nor `models:/NAME/VERSION`.
    """
    rest = uri.removeprefix(REGISTRY_URI)
    is_alias = "@" in rest
    name, _, which = rest.partition("@" if is_alias else "/")
    if rest == uri or not name or not which or "/" in which or not (is_alias or which.isdigit()):
        raise InputError(f"{uri!r}: expected models:/NAME@champion or models:/NAME/VERSION")
    return name, which, is_alias


def default_artifacts(uri: str, storage: Path | None) -> str | None:
    """Where a new experiment keeps its artifacts; None: the tracking server decides.

    Raises:
        InputError: a bare database over a storage that is no folder has no place for them, or a
            link lies in it, which MLflow would write through.
    """
    if uri.startswith(("http://", "https://")):
        return None
    file = database_file(uri)
    folder = storage if file is None else file.parent
    if folder is None:
        raise InputError(
            f"tracking URI {redact(uri)}: a bare database has no place for artifacts when the "
            "storage is no folder; run `mlflow server` over it and give its http:// address"
        )
    place = below(folder.resolve(), ARTIFACTS)
    for parent, folders, files in os.walk(place):
        for entry in (*folders, *files):
            refuse_link(Path(parent, entry))
    return place.as_uri()


def server_command(uri: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Command and additional environment of an MLflow server on loopback over a database.

    The URI goes through the environment, since a command line shows credentials to everyone.
    """
    server = "orchestrator.tracking.client.server"
    command = [sys.executable, "-m", server, "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a second process that nothing here uses
    }
    if (file := database_file(uri)) is not None:
        environment["MLFLOW_ARTIFACTS_DESTINATION"] = str(file.with_name(ARTIFACTS))
    return command, environment
