"""MLflow's server whose UI begins with model training."""

from __future__ import annotations

import asyncio
from typing import Any

import mlflow.cli
import mlflow.server
import pytest

from orchestrator.tracking.client import server


def asked(scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What the application answers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(server.app(scope, receive, send))
    return sent


def test_the_page_is_mlflows_own_and_makes_the_choice_before_it_runs() -> None:
    start, body = asked({"type": "http", "path": "/", "method": "GET"})
    assert start["status"] == 200
    page = body["body"].decode()
    assert page.index("mlflow.workflowType_v1") < page.index("static-files/static/js/main")
    assert "localStorage.getItem(key) === null" in page  # what was chosen in the UI stays


@pytest.mark.parametrize("path", ["/health", "/api/2.0/mlflow/experiments/search"])
def test_all_else_is_asked_of_mlflow(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    monkeypatch.setattr("mlflow.server.fastapi_app.app", inner)
    assert asked({"type": "http", "path": path, "method": "GET"}) == []
    assert seen == [path]


def test_the_server_is_started_with_our_application(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    monkeypatch.setattr(
        mlflow.server, "_build_uvicorn_command", mlflow.server._build_uvicorn_command
    )

    def cli() -> None:
        arguments = (None, "127.0.0.1", 5000, 1, "mlflow.server.fastapi_app:app")
        commands.append(mlflow.server._build_uvicorn_command(*arguments))

    monkeypatch.setattr(mlflow.cli, "cli", cli)
    server.main()
    assert commands[0][-1] == "orchestrator.tracking.client.server:app"
    assert commands[0][:3] == [*commands[0][:1], "-m", "uvicorn"]
