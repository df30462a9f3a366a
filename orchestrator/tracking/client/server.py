"""MLflow's server whose UI begins with model training; a module to be run.

MLflow 3 opens as a tool for language models, whose pages are empty here, and goes back there
whenever an address does not say otherwise. The browser keeps the choice; `app` makes it where
nobody has made it yet. All else is MLflow's own server with its own options.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

_MLFLOW_APP = "mlflow.server.fastapi_app:app"
_CHOICES = """<script>for (const [key, value] of [
  ["mlflow.workflowType_v1", '"machine_learning"'],
  ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"],
]) if (localStorage.getItem(key) === null) localStorage.setItem(key, value)</script>"""

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """MLflow's application, but for its one page."""
    from mlflow.server.fastapi_app import app as inner

    if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
        await inner(scope, receive, send)
        return
    content = page().encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def page() -> str:
    """The page that MLflow's UI is, which chooses model training first."""
    import mlflow.server

    index = Path(mlflow.server.__file__).parent / "js" / "build" / "index.html"
    return index.read_text("utf-8").replace("<head>", f"<head>{_CHOICES}", 1)


def main() -> None:
    """Start MLflow's server, given its options, with `app` in the place of its own."""
    import mlflow.server
    from mlflow.cli import cli

    build = mlflow.server._build_uvicorn_command

    def command(*arguments: Any, **named: Any) -> list[str]:
        ours = f"{__package__}.server:app"
        return [ours if part == _MLFLOW_APP else part for part in build(*arguments, **named)]

    mlflow.server._build_uvicorn_command = command
    cli()


if __name__ == "__main__":
    main()
