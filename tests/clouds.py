"""Object storages on loopback for tests: S3 by moto, Google's and Azure's as far as is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

DATE = "Thu, 26 Nov 2026 10:00:00 GMT"


class Cloud(BaseHTTPRequestHandler):
    """Objects of one bucket in memory, after Google's XML API or Azure's Blob API."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    azure: bool
    refusal: int | None = None
    lost: int = 0
    """How many new objects to write and yet to answer with 503."""

    def parse_request(self) -> bool:
        """Answer everything with the refusal, where one is set."""
        if not super().parse_request():
            return False
        if self.refusal is None:
            return True
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(self.refusal, b"Slow down")
        return False

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).partition("/bucket")[2].strip("/")

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", DATE)
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _list(self, prefix: str, delimiter: str) -> bytes:
        names = sorted(name for name in self.objects if name.startswith(prefix))
        folders: dict[str, None] = {}
        if delimiter:
            below = {name: name.removeprefix(prefix).partition("/") for name in names}
            names = [name for name in names if not below[name][1]]
            folders = dict.fromkeys(prefix + head + "/" for head, mark, _ in below.values() if mark)
        if self.azure:
            blobs = "".join(
                f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{DATE}"
                f"</Last-Modified><Content-Length>{len(self.objects[name])}</Content-Length>"
                '<Content-Type>x/y</Content-Type><Etag>"0"</Etag></Properties></Blob>'
                for name in names
            )
            blobs += "".join(
                f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" for name in folders
            )
            return (
                f"<EnumerationResults><Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs>"
                "<NextMarker/></EnumerationResults>"
            ).encode()
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[name])}</Size>"
            '<LastModified>2026-11-26T10:00:00.000Z</LastModified><ETag>"0"</ETag></Contents>'
            for name in names
        )
        found += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders
        )
        return f"<ListBucketResult>{found}</ListBucketResult>".encode()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = self._name()
        if "/bucket" not in parts.path:
            self._answer(404)
        elif name:
            content = self.objects.get(name)
            self._answer(404) if content is None else self._answer(200, content)
        else:
            asked = parse_qs(parts.query)
            prefix, delimiter = (asked.get(key, [""])[0] for key in ("prefix", "delimiter"))
            self._answer(200, self._list(prefix, delimiter))

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        new = self.headers.get("If-None-Match" if self.azure else "x-goog-if-generation-match")
        if new is not None and self._name() in self.objects:
            # Each cloud has its own way to say that the object exists.
            self._answer(409 if self.azure else 412)
            return
        self.objects[self._name()] = content
        if new is not None and self.lost:
            type(self).lost -= 1
            self._answer(503, b"Slow down")
            return
        self._answer(201 if self.azure else 200)

    def do_DELETE(self) -> None:
        gone = self.objects.pop(self._name(), None)
        self._answer(404 if gone is None else 202 if self.azure else 204)

    def do_POST(self) -> None:
        """Azure's batch of deletions: a request within the request for each object."""
        lines = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
        paths = [line.split()[1] for line in lines if line.startswith("DELETE ")]
        parts = ""
        for index, path in enumerate(paths):
            name = unquote(urlsplit(path).path).partition("/bucket")[2].strip("/")
            status = "404 Not Found" if self.objects.pop(name, None) is None else "202 Accepted"
            head = f"Content-Type: application/http\r\nContent-ID: {index}"
            parts += f"--part\r\n{head}\r\n\r\nHTTP/1.1 {status}\r\nx: y\r\n\r\n\r\n"
        content = f"{parts}--part--\r\n".encode()
        self.send_response(202)
        self.send_header("Content-Type", "multipart/mixed; boundary=part")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def serve(scheme: str, folder: Path) -> Iterator[tuple[dict[str, str], type[Cloud]]]:
    """A cloud with a bucket named `bucket`: the environment that leads there, and its handler."""
    kind = type("Cloud", (Cloud,), {"objects": {}, "azure": scheme == "az"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    account = folder / "account.json"
    account.write_text(
        json.dumps(
            {
                "gcs_base_url": address,
                "disable_oauth": True,
                "client_email": "",
                "private_key": "",
                "private_key_id": "",
            }
        )
    )
    try:
        environment = (
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "account",
                "AZURE_STORAGE_ENDPOINT": address,
                "AZURE_SKIP_SIGNATURE": "true",
                "AZURE_ALLOW_HTTP": "true",
            }
            if scheme == "az"
            else {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}
        )
        yield environment, kind
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serve_s3() -> Iterator[str]:
    """The address of an S3 of moto's on loopback.

    It answers one request at a time: moto looks whether an object exists and then writes it, so
    two at once might both be the first, which S3 rules out.
    """
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    inner, one_at_a_time = server._server.app, threading.Lock()

    def app(environment: Any, start: Any) -> list[bytes]:
        with one_at_a_time:
            return list(inner(environment, start))

    server._server.app = app
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
