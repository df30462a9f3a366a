"""A page on loopback that shows what a model finds in a post; nothing but the standard library.

It answers browsers of this machine alone: other names than loopback's (DNS rebinding) and posts of
other pages are refused, bodies are bounded, and what the page shows is set as text, under a policy
that runs no script but its own.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from shapca.data.schema import Labels
from shapca.errors import InputError
from shapca.prediction import Extractor
from shapca.prediction.request import MAX_IMAGE_BYTES, read_post
from shapca.storage.records import parse_json

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
MAX_BODY = MAX_IMAGE_BYTES * 4 // 3 + 2**18
"""Bytes of a request: a picture as base64, and the longest text and context as JSON."""
PATIENCE = 30.0  # seconds that a browser may take for its request
SILENCE = 1.0  # seconds without a further byte after which a refused request is left
MOST_UNREAD = 8 * MAX_BODY  # bytes of one that are taken in
FILES = {
    "/": ("demo.html", "text/html; charset=utf-8"),
    "/demo.js": ("demo.js", "text/javascript; charset=utf-8"),
    "/demo.css": ("demo.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
EXAMPLE = {"text": "Frida Kahlo lives in Lisbon now", "entities": "Frida Kahlo; Lisbon"}
_COLUMNS = ("text", "context", "image_base64", "entities")


class Page(ThreadingHTTPServer):
    """The page of a model; `serve_forever` serves it.

    Args:
        model: The model.
        name: What to call it.
        port: Port on loopback; 0: any that is free.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, model: Extractor, name: str, port: int) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self._model = model
        self._name = name
        self._turn = threading.Lock()  # one post at a time: a model has no threads of its own

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @cached_property
    def hosts(self) -> frozenset[str]:
        """What a request may call this server."""
        return frozenset(f"{name}:{self.server_port}" for name in NAMES)

    def about(self) -> dict[str, Any]:
        """What the page says of the model."""
        config, labels = self._model.config, self._model.labels
        return {
            "name": self._name,
            "task": config.task,
            "types": [*labels.entity_types, *labels.relation_types],
            "reads_context": config.data.contexts is not None,
            "reads_image": config.image.encoder != "none",
            "example": EXAMPLE if _fits(labels) else None,
        }

    def extract(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the model finds in a post, and how near its sides are to each other.

        Raises:
            InputError: a post beyond the limits, or one that the model has no use for.
        """
        if unknown := sorted(map(str, set(asked) - set(_COLUMNS))):
            raise InputError(f"{unknown[0][:60]!r}: expected {', '.join(_COLUMNS)}")
        with TemporaryDirectory() as folder, self._turn:
            post = read_post(asked, Path(folder, "picture"))
            (found,) = self._model.extract_many([post])
            return {**found.to_json(), "cosines": self._model.cosines(post)}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is nobody's business; all else is said, but for values."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            print(f"error: the page: {type(error).__name__}", file=sys.stderr)
            traceback.print_tb(error.__traceback__)


def _fits(labels: Labels) -> bool:
    """Whether the example has something that the labels name: a person at a place."""
    return {"PER", "LOC"} <= {*labels.entity_types} or any(
        name.startswith("/per/loc/") for name in labels.relation_types
    )


class _Handler(BaseHTTPRequestHandler):
    server: Page
    server_version, sys_version = "Shap-CA", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """The page and its files."""
        if not self._is_ours():
            return
        path = urlsplit(self.path).path
        if path == "/about":
            self._say(HTTPStatus.OK, self.server.about())
        elif path in FILES:
            name, kind = FILES[path]
            content = files("orchestrator.commands.models") / "assets" / name
            self._send(HTTPStatus.OK, content.read_bytes(), kind)
        elif path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        """A post to extract from, as JSON."""
        if not self._is_ours():
            return
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/extract":
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        elif not (length.isascii() and length.isdigit()) or len(length) > 12:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        elif int(length) > MAX_BODY:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected {MAX_BODY:,} bytes at most"
            )
        else:
            self._extract(self.rfile.read(int(length)))

    def _extract(self, body: bytes) -> None:
        try:
            asked = parse_json(body, "the request", dict[str, Any])
            self._say(HTTPStatus.OK, self.server.extract(asked))
        except InputError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # memory that runs out, say
            kind = type(error).__name__
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the model failed ({kind})")
            raise

    def _is_ours(self) -> bool:
        """Whether a request names this server and comes from its own page, or from no page."""
        hosts = self.server.hosts
        if self.headers.get("Host", "").lower() not in hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, f"expected Host {min(hosts)}")
            return False
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_read = self.command == "GET"
        if (origin is not None and origin.lower() not in {f"http://{host}" for host in hosts}) or (
            not is_read and site not in ("none", "same-origin")
        ):
            self._refuse(HTTPStatus.FORBIDDEN, "this page takes no posts of other pages")
            return False
        return True

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._say(status, {"error": reason})

    def _say(self, status: HTTPStatus, value: Any) -> None:
        content = json.dumps(value, ensure_ascii=False).encode()
        self._send(status, content, "application/json; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def finish(self) -> None:
        """Take in what is still being sent: a browser that is cut off shows no refusal."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(SILENCE)
            left, end = MOST_UNREAD, time.monotonic() + PATIENCE
            while left > 0 and time.monotonic() < end and (part := self.rfile.read1(2**16)):
                left -= len(part)
        super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: what people type stays with them."""
