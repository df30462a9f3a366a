"""`orchestrator ui`: the MLflow UI over a sweep's store, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

import typer

from orchestrator.commands.arguments import Storage, TrackingUri
from shapca.errors import InputError

FIRST_PORT = 5000
NUM_PORTS = 50
# A proxy has no business between us and our own server.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MOST_LINKS = 20
START_SECONDS = 120.0
STOP_SECONDS = 10.0

Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port.", show_default="the first free from 5000"),
]
Browser = Annotated[
    bool,
    typer.Option("--browser/--no-browser", help="Open a browser, where there is a screen."),
]


def ui(
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    port: Port = None,
    browser: Browser = True,
) -> None:
    """Serve the MLflow UI on 127.0.0.1 until Ctrl-C, and open what was run last.

    Of a tracking server the addresses are shown: it has a UI of its own.
    """
    from orchestrator.store.address import absolute_uri
    from orchestrator.tracking.client.addresses import (
        database_file,
        existing_database,
        redact,
        resolve_tracking,
        server_command,
    )
    from orchestrator.tracking.client.environment import follow_storage

    uri = resolve_tracking(tracking_uri, absolute_uri(storage))
    if uri.startswith(("http://", "https://")):
        typer.echo(f"{redact(uri)} is an MLflow server: open it in a browser")
        links = _links_of_server(uri)
        for name, address in links:
            typer.echo(f"  {name}: {address}")
        if links and browser and has_screen():
            webbrowser.open(links[0][1])
        return
    command, environment = server_command(existing_database(uri), chosen := free_port(port))
    if (file := database_file(uri)) is not None:
        follow_storage(file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive us
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it with all its workers
        )
        try:
            if _is_up(server, chosen):
                root = f"http://127.0.0.1:{chosen}"
                links = _links(root) or [("experiments", f"{root}/#/experiments")]
                typer.echo(f"MLflow UI over {redact(uri)} (Ctrl-C stops it)")
                for name, address in links:
                    typer.echo(f"  {name}: {address}")
                if browser and has_screen():
                    webbrowser.open(links[0][1])
                server.wait()
            is_slow = server.poll() is None
        except KeyboardInterrupt:
            typer.echo("stopped")
            return
        finally:
            _stop(server)
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()[-5:]
    why = f"gave no answer in {START_SECONDS:g} s" if is_slow else "has ended"
    typer.echo(redact("\n".join([f"error: the MLflow server {why}", *said])), err=True)
    raise typer.Exit(1)


def has_screen() -> bool:
    """Whether a browser would open a window; on a server it might take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def free_port(asked: int | None) -> int:
    """A port of loopback that is free: the one asked for, or the first from 5000.

    Raises:
        InputError: taken.
    """
    ports = range(FIRST_PORT, FIRST_PORT + NUM_PORTS) if asked is None else [asked]
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    shown = f"{FIRST_PORT} to {FIRST_PORT + NUM_PORTS - 1}" if asked is None else str(asked)
    raise InputError(f"--port {shown}: taken; give another one")


def _is_up(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; false where it ended instead, or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with DIRECT.open(f"http://127.0.0.1:{port}/health", timeout=2):
                return True
        time.sleep(0.2)
    return False


def _links(server: str) -> list[tuple[str, str]]:
    """Experiments that have a view of their averages, the newest first, with its address."""
    query = f"max_results={MOST_LINKS}&order_by=last_update_time%20DESC"
    try:
        with DIRECT.open(
            f"{server}/api/2.0/mlflow/experiments/search?{query}", timeout=20
        ) as answer:
            found = json.load(answer).get("experiments", [])
    except (OSError, ValueError):
        return []  # a server that shows no list still shows the runs
    return _with_averages(
        server,
        (
            (one["name"], one["experiment_id"], {tag["key"] for tag in one.get("tags", [])})
            for one in found
        ),
    )


def _links_of_server(uri: str) -> list[tuple[str, str]]:
    """As `_links` for a tracking server, with the credentials that tracking has for it."""
    from orchestrator.tracking.client.client import (
        Tracking,
        TrackingRefusedError,
        TrackingUnavailableError,
    )

    try:
        found = Tracking(uri).client.search_experiments(
            max_results=MOST_LINKS, order_by=["last_update_time DESC"]
        )
    except (TrackingUnavailableError, TrackingRefusedError):
        return []
    parts = urlsplit(uri)
    root = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    return _with_averages(root, ((one.name, one.experiment_id, set(one.tags)) for one in found))


def _with_averages(
    server: str, experiments: Iterable[tuple[str, str, set[str]]]
) -> list[tuple[str, str]]:
    from orchestrator.tracking.client.saved_views import AVERAGES, TAG, link

    return [(name, link(server, key)) for name, key, tags in experiments if TAG + AVERAGES in tags]


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(patience)
