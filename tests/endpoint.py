"""A server on loopback that speaks the chat-completions protocol, and fails when told to."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW_SECONDS = 1.5


@dataclass
class Endpoint:
    """What the server does next, and what it was asked.

    Attributes:
        url: base URL for clients.
        plan: faults, taken one a request; afterwards every request is answered well.
        always: a fault that every request meets.
        for_picture: a fault for the picture of this SHA-256, whatever else.
        asked: bodies of the requests.
        keys: their Authorization headers.
        times: when they came.
        sent: parts of answers without end that were sent.
    """

    url: str = ""
    plan: list[str] = field(default_factory=list)
    always: str | None = None
    for_picture: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def said_of(sha256: str) -> str:
    """What the server says of a picture."""
    return f"a picture called {sha256[:12]}"


def picture_of(body: dict[str, Any]) -> bytes:
    """The picture in a request."""
    url = body["messages"][0]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition(";base64,")[2])


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """A server of one's own."""
    state = Endpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sha256 = hashlib.sha256(picture_of(body)).hexdigest()
            with state.lock:
                state.asked.append(body)
                state.keys.append(self.headers["Authorization"])
                state.times.append(time.monotonic())
                fault = state.for_picture.get(sha256) or state.always
                if fault is None and state.plan:
                    fault = state.plan.pop(0)
            if self.path != "/v1/chat/completions":
                self._send(404, {"error": {"message": f"no {self.path} here"}})
                return
            self._answer(fault or "good", body, sha256)

        def _answer(self, fault: str, body: dict[str, Any], sha256: str) -> None:
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [{"mess')
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            if fault in ("endless", "drip", "drip of headers", "bomb"):
                self._never_end(fault)
                return
            if fault == "malformed":
                self._raw(200, b'{"choices": [{"message": ')
                return
            status, answer, headers = _errors(self.headers["Authorization"]).get(
                fault, (200, _completion(fault, body, sha256), {})
            )
            self._send(status, answer, headers)

        def _never_end(self, fault: str) -> None:
            """What keeps a client's timeout between two bytes from ever passing."""
            self.close_connection = True
            try:
                if fault == "drip of headers":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    for number in range(1000):
                        self.wfile.write(f"X-{number}: x\r\n".encode())
                        time.sleep(0.05)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                if fault == "bomb":
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                if fault == "bomb":
                    self.wfile.write(gzip.compress(b" " * 2**28))
                for _ in range(1000):
                    self.wfile.write(b" " * (2**20 if fault == "endless" else 1))
                    state.sent += 1
                    time.sleep(0 if fault == "endless" else 0.05)
            except OSError:
                return  # the client has given up

        def _send(
            self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None
        ) -> None:
            self._raw(status, json.dumps(answer).encode(), headers)

        def _raw(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has given up

    return Handler


def _errors(key: str) -> dict[str, tuple[int, dict[str, Any], dict[str, str]]]:
    def error(status: int, code: str | None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return status, {"error": {"message": f"fault {status}", "code": code}}, named

    return {
        "429": error(429, "rate_limit_exceeded", Retry_After="0.3"),
        "429 for an hour": error(429, "rate_limit_exceeded", Retry_After="3600"),
        "no quota": error(429, "insufficient_quota"),
        "500": error(500, None),
        "400": error(400, "bad_picture"),
        "400 filter": error(400, "content_policy_violation"),
        "401": (401, {"error": {"message": f"wrong key {key}", "code": "invalid_api_key"}}, {}),
        "404": error(404, "model_not_found"),
        "no choices": (200, {"object": "chat.completion"}, {}),
        "no text": (200, {"choices": [{"index": 0, "message": {"role": "assistant"}}]}, {}),
    }


def _completion(kind: str, body: dict[str, Any], sha256: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said_of(sha256)}
    reason = "stop"
    if kind == "refusal":
        message |= {"content": None, "refusal": "I will not describe this."}
    elif kind.endswith("sorry"):
        message["content"] = "I'm sorry, but I can't help with that."
    elif kind == "filter":
        message["content"], reason = None, "content_filter"
    elif kind == "half a character":
        message["content"] = "smile \U0001f600 and \ud83d"
    elif kind == "empty":
        message["content"] = "  \n"
    elif kind == "length":
        reason = "length"
    completion = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    if kind.startswith("no usage"):
        del completion["usage"]
    if kind.startswith("usage "):
        name, value = kind.removeprefix("usage ").split("=")
        completion["usage"][name] = json.loads(value)
    return completion
