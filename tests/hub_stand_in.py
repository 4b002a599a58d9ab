"""A server on this machine that answers as the Hugging Face hub does for files of weights.

The hub itself tells a file's commit, size and SHA-256, and redirects to another server, which sends
it, from any byte on. Here the second one has a port of its own.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "1234567890" * 4


@dataclass
class StandIn:
    """What the hub holds, how it behaves, and what it was asked.

    Attributes:
        files: by OWNER/NAME/FILE.
        endpoint: for `HF_ENDPOINT`.
        refusals: for a repository the status, and the hub's code for it, that is answered.
        cut_after: of a request for a file so many bytes are sent, then the connection is closed;
            as often as the list is long.
        spoilt: what is sent in place of a file, whose size and SHA-256 are told rightly.
        requests: method, path and range (empty = from the start) of each request for a file.
    """

    files: dict[str, Path]
    endpoint: str = ""
    mirror: str = ""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    spoilt: bytes | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the hub's client in this process ask here."""
        template = self.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextmanager
def standing_in(files: dict[str, Path]) -> Iterator[StandIn]:
    """Serve files by OWNER/NAME/FILE until the end of the context."""
    hub = StandIn(files)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            _answer(hub, self)

        def do_GET(self) -> None:
            _answer(hub, self)

        def log_message(self, *_: Any) -> None:
            pass

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    hub.endpoint, hub.mirror = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _answer(hub: StandIn, request: BaseHTTPRequestHandler) -> None:
    if "/resolve/" not in request.path and not request.path.startswith("/sent/"):
        _send(request, 200)  # what the client asks besides, on its own account
        return
    bytes_asked = request.headers.get("Range", "")
    hub.requests.append((request.command, request.path, bytes_asked))
    name = request.path.removeprefix("/").replace("/resolve/main/", "/")
    if (repository := "/".join(name.split("/")[:2])) in hub.refusals:
        status, code = hub.refusals[repository]
        _send(request, status, {"X-Error-Code": code} if code else {})
    elif (path := hub.files.get(name.removeprefix("sent/"))) is None:
        _send(request, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
    elif not name.startswith("sent/"):
        content = path.read_bytes()
        told = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Location": f"{hub.mirror}/sent/{name}",
        }
        _send(request, 302, told)
    else:
        _send_file(hub, request, hub.spoilt or path.read_bytes(), bytes_asked)


def _send_file(
    hub: StandIn, request: BaseHTTPRequestHandler, content: bytes, bytes_asked: str
) -> None:
    start = int(match[1]) if (match := re.fullmatch(r"bytes=(\d+)-", bytes_asked)) else 0
    part = content[start:]
    headers = {"Content-Length": str(len(part))}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    _send(request, 206 if start else 200, headers)
    if request.command == "GET":
        request.wfile.write(part[: hub.cut_after.pop(0)] if hub.cut_after else part)


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": "0", **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
