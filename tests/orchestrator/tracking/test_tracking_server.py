"""The team's tracking server: what the compose file promises, and a sweep over PostgreSQL."""

from __future__ import annotations

import configparser
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.tracking.client.addresses import check_uri, redact
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.run_document import read_runs
from shapca.storage import FolderStore
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.publishing import SWEEP, snapshot, whole_sweep
from tests.orchestrator.servers import Server, free_port
from tests.paths import ROOT

FOLDER = ROOT / "mlflow"
VARIABLE = re.compile(r"\$\{(\w+)(:[-?][^}]*)?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return tree


def example() -> dict[str, str]:
    lines = (FOLDER / "env.example").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_the_folder_never_stands_in_for_the_package() -> None:
    assert not list(FOLDER.rglob("*.py"))


def test_only_mlflow_is_published_and_on_loopback(compose: dict[str, Any]) -> None:
    services = compose["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"mlflow": ["${MLFLOW_BIND:-127.0.0.1}:${MLFLOW_PORT:-5000}:5000"]}
    assert all("network_mode" not in service for service in services.values())
    assert example()["MLFLOW_BIND"] == "127.0.0.1"


def test_nobody_enters_without_a_password(compose: dict[str, Any]) -> None:
    mlflow = compose["services"]["mlflow"]
    assert "--app-name basic-auth" in mlflow["command"]
    config = configparser.ConfigParser()
    config.read(FOLDER / "basic_auth.ini")
    assert not config.has_option("mlflow", "admin_password")
    database = config["mlflow"]["database_uri"].removeprefix("sqlite:///")
    mounts = [mount.split(":")[1] for mount in mlflow["volumes"]]
    assert str(Path(database).parent) in mounts  # users outlive the container
    assert mlflow["environment"]["MLFLOW_AUTH_CONFIG_PATH"] in mounts


def test_secrets_are_asked_for_and_none_is_given() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    defaults: dict[str, set[str]] = {}
    for name, default in VARIABLE.findall(text):
        defaults.setdefault(name, set()).add(default)
    given = example()
    assert set(defaults) == set(given)
    for name, value in given.items():
        if re.search("PASSWORD|KEY", name):
            assert value == ""
            assert all(default.startswith(":?") for default in defaults[name])
        else:
            assert defaults[name] == {f":-{value}"}
    for line in re.findall(r"(?im)^\s*\w*(?:password|secret|access_key)\w*: .*$", text):
        assert "${" in line


def test_images_are_pinned_and_dependencies_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        tag = service["image"].rpartition(":")[2]
        assert tag not in ("", "latest")
        assert set(service.get("depends_on", {})) <= set(services)
    volumes = {v.split(":")[0] for s in services.values() for v in s.get("volumes", ())}
    assert {volume for volume in volumes if "/" not in volume} == set(compose["volumes"])


def test_mlflow_knows_every_option_and_variable(compose: dict[str, Any]) -> None:
    from mlflow import environment_variables
    from mlflow.cli import server

    service = compose["services"]["mlflow"]
    options = {option for parameter in server.params for option in parameter.opts}
    assert set(re.findall(r"--[\w-]+", service["command"])) <= options
    known = {str(parameter.envvar) for parameter in server.params} | set(dir(environment_variables))
    auth = Path(environment_variables.__file__).parent / "server" / "auth" / "__init__.py"
    asked = {name for name in service["environment"] if name.startswith("MLFLOW_")}
    missing = {name for name in asked - known if name not in auth.read_text()}
    assert missing == set()


def test_the_readme_names_what_is_here() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        if path.name not in ("README.md", ".env"):
            assert f"`{path.name}`" in text


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URI of a PostgreSQL server of the system's packages, with a password, on loopback."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra: postgres)")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")
    user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="postgres-") as temporary:
        data, port = Path(temporary, "data"), free_port()
        password = Path(temporary, "password")
        password.write_text("s3cret")
        if user is not None:
            shutil.chown(temporary, user)
            shutil.chown(password, user)

        def call(*command: str) -> None:
            program = [str(programs / command[0]), *command[1:]]
            subprocess.run(program, check=True, user=user, cwd=temporary, stdout=subprocess.DEVNULL)

        call("initdb", "--pgdata", str(data), "--username", "me", "--pwfile", str(password),
             "--auth", "scram-sha-256", "--no-sync")  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={temporary}"
        call("pg_ctl", "start", "--wait", "--pgdata", str(data), "--options", options,
             "--log", str(data / "log"))  # fmt: skip
        try:
            yield f"postgresql://me:s3cret@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(data))


def _programs() -> Path | None:
    """Folder of PostgreSQL's programs; Debian keeps them off the search path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    needed = ("initdb", "postgres", "pg_ctl")
    return next((f for f in folders if all((f / name).is_file() for name in needed)), None)


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: the user that its package makes, where we are root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("running as root without a user for PostgreSQL")


def test_a_sweep_on_a_server_over_postgresql(
    postgres: str, mlflow_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path / "storage")
    whole_sweep(store)
    Publisher(store, SWEEP, SWEEP, mlflow_uri).reconcile()
    expected = snapshot(mlflow_uri)

    server = Server(check_uri(postgres), free_port(), tmp_path / "artifacts")
    try:
        server.start()
        assert Publisher(store, SWEEP, SWEEP, server.uri).reconcile().num_published == 6
        assert Publisher(store, SWEEP, SWEEP, server.uri).reconcile().num_published == 0
        assert snapshot(server.uri) == expected
        live = FolderStore(tmp_path / "live")  # and a sweep that is followed while it runs
        publisher = Publisher(live, "small", "small", server.uri)
        publisher.gather_seconds = 0.01
        sweep = sweep_config(protocol={"trials": 3, "confirm_seeds": [11, 12]})
        conductor = open_sweep(live.root, sweep, on_change=publisher.notify)
        publisher.start()
        execute(conductor, live.root)
        conductor.documents.sweep_ended("finished", 100.0, "# the note")
        assert publisher.stop(120).status == "current"
        followed = snapshot(server.uri, "small")
        assert {run["status"] for run in followed.values()} <= {"FINISHED", "KILLED"}
        assert followed.keys() == read_runs(live, "small").keys()
        assert Publisher(live, "small", "small", server.uri).reconcile().num_published == 0
    finally:
        server.kill()
    # And without a server in between: the runs are found again, nothing is doubled.
    report = Publisher(store, SWEEP, SWEEP, postgres).reconcile()
    assert (report.num_runs, report.num_duplicates) == (6, 0)
    assert snapshot(check_uri(postgres)) == expected
    assert "s3cret" not in "".join(capfd.readouterr())
    names = store.list(f"sweeps/{SWEEP}/")
    assert not any(b"s3cret" in (store.get(name) or b"") for name in names)
    assert redact(postgres).startswith("postgresql://***@127.0.0.1")
