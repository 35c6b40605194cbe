"""A small Hub on a loopback port: model info, file trees, files with ranges; and what can go wrong, switched on."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class FakeHub:
    """Models by name, then branch, as folders. `requests` holds each path that was asked for."""

    models: dict[str, dict[str, Path]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    status: int = 0
    truncate: str = ""
    redirect: str = ""
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def add(self, name: str, folder: Path, branch: str = "main") -> str:
        """Publish a folder; returns its commit."""
        self.models.setdefault(name, {})[branch] = folder
        return commit_of(folder)

    def served(self) -> list[str]:
        """Names of the files whose content was asked for."""
        return [path.rsplit("/", 1)[1] for path in self.requests if path.startswith("GET") and "/resolve/" in path]


def commit_of(folder: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Serve until the block ends."""
    hub = FakeHub()

    class Handler(_Handler):
        served_hub = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served_hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.served_hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        hub.tokens.add(self.headers.get("Authorization", ""))
        if hub.status:
            return self._send(hub.status, b"{}")
        if match := re.fullmatch(r"/api/models/(.+?)/(revision|tree)/([^/]+)", path):
            return self._api(*match.groups())
        if match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            return self._file(*match.groups())
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _folder(self, name: str, revision: str) -> Path | None:
        branches = self.served_hub.models.get(name)
        if branches is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        for branch, folder in branches.items():
            if revision in (branch, commit_of(folder)):
                return folder
        self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return None

    def _api(self, name: str, what: str, revision: str) -> None:
        folder = self._folder(name, revision)
        if folder is None:
            return None
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [str(path.relative_to(folder)) for path in paths]
        if what == "revision":
            answer: object = {"id": name, "sha": commit_of(folder), "siblings": [{"rfilename": n} for n in names]}
        else:
            answer = [
                {
                    "type": "file",
                    "path": n,
                    "size": p.stat().st_size,
                    "oid": hashlib.sha1(p.read_bytes(), usedforsecurity=False).hexdigest(),
                }
                for n, p in zip(names, paths, strict=True)
            ]
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str) -> None:
        hub = self.served_hub
        if name in hub.gated:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask for access"})
        folder = self._folder(name, revision)
        if folder is None:
            return None
        if not (folder / path).is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = (folder / path).read_bytes()
        if hub.redirect and path.endswith(".safetensors"):
            return self._elsewhere(content, commit_of(folder))
        headers = {
            "ETag": f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"',
            "X-Repo-Commit": commit_of(folder),
            "Accept-Ranges": "bytes",
        }
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[start:], headers, cut=path == hub.truncate)
        return self._send(200, content, headers, cut=path == hub.truncate)

    def _elsewhere(self, content: bytes, commit: str) -> None:
        """As the Hub answers for large files: where they lie, and what they are."""
        digest = hashlib.sha256(content).hexdigest()
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": commit}
        self._send(302, b"", {"Location": self.served_hub.redirect + self.path, **linked})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
