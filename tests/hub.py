"""As much of a Hugging Face Hub as its client needs, on loopback: repositories of one process."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_this_is_the_tests_own_secret"
Files = dict[str, bytes]


@dataclass
class Repository:
    private: bool
    branches: dict[str, Files] = field(default_factory=lambda: {"main": {}})

    def files(self, revision: str) -> Files | None:
        """The files of a branch, or of a commit that is a branch's."""
        for name, files in self.branches.items():
            if revision in (name, commit_of(files)):
                return files
        return None


def commit_of(files: Files) -> str:
    found = hashlib.sha1()
    for name, content in sorted(files.items()):
        found.update(name.encode() + b"\0" + hashlib.sha1(content).digest())
    return found.hexdigest()


class Hub(ThreadingHTTPServer):
    """Its repositories, what it was asked, and the status that it answers everything with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.uploads: Files = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.cards: list[str] = []
        self.status: int | None = None
        self.sizes: dict[str, int] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append(f"{self.command} {path}")
        hub.headers.append(dict(self.headers))
        if hub.status is not None:
            self.say({"error": f"told you {self.headers.get('Authorization')}"}, hub.status)
        elif self.command == "PUT":
            hub.uploads[path.rpartition("/")[2]] = body
            self.say({})
        elif self.command == "POST":
            self.post(path, body)
        else:
            self.get(path)

    def post(self, path: str, body: bytes) -> None:
        hub = self.server
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.say({"error": "no token"}, 401)
        if path == "/api/validate-yaml":
            hub.cards.append(json.loads(body)["content"])
            return self.say({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if asked.get("organization") == "nobody":
                return self.say({"error": "no rights"}, 403)
            status = 409 if name in hub.repositories else 200
            hub.repositories.setdefault(name, Repository(asked.get("visibility") == "private"))
            return self.say({"url": f"{hub.address}/{name}"}, status)
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**asked, "actions": {"upload": {"href": f"{hub.address}/put/{asked['oid']}"}}}
                for asked in json.loads(body)["objects"]
            ]
            return self.say({"transfer": "basic", "objects": objects})
        owner, name, verb, revision = path.removeprefix("/api/models/").split("/", 3)
        repository = hub.repositories[f"{owner}/{name}"]
        if verb == "branch":
            known = revision in repository.branches
            repository.branches.setdefault(revision, dict(repository.branches["main"]))
            return self.say({}, 409 if known else 200)
        if verb == "preupload":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.say({"files": files})
        assert verb == "commit", path
        files = repository.branches[revision]
        for line in body.splitlines():
            key, value = (parsed := json.loads(line))["key"], parsed["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = hub.uploads[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        commit = commit_of(files)
        address = f"{hub.address}/{owner}/{name}/commit/{commit}"
        return self.say({"commitOid": commit, "commitUrl": address})

    def get(self, path: str) -> None:
        hub = self.server
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        repository = hub.repositories.get("/".join(parts[:2]))
        token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not token):
            return self.say({"error": "?"}, 401, {"X-Error-Code": "RepoNotFound"})
        revision = parts[3] if len(parts) > 3 else "main"
        files = repository.files(revision)
        if files is None:
            return self.say({"error": "?"}, 404, {"X-Error-Code": "RevisionNotFound"})
        commit = commit_of(files)
        if path.startswith("/api/") and parts[2:3] == ["tree"]:
            tree = [
                {"type": "file", "path": file, "size": len(files[file]), "oid": commit}
                for file in files
            ]
            return self.say(tree)
        if path.startswith("/api/"):
            siblings = [
                {"rfilename": file, "size": hub.sizes.get(file, len(files[file]))} for file in files
            ]
            return self.say({"id": "/".join(parts[:2]), "sha": commit, "siblings": siblings,
                             "private": repository.private})  # fmt: skip
        content = files.get("/".join(parts[4:]))
        if content is None:
            return self.say({"error": "?"}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha1(content).hexdigest()
        return self.say(content, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def say(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def open_hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
