"""A server in a process of its own, and what a browser would never send it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fuzzing import examples
from web.pages import png_bytes

TESTS = Path(__file__).parents[1]
MEBIBYTE = 2**20
SERVER = """
from ovsam.web import guard
from ovsam.web.server import serve
from web.pages import PagePredictor
guard.WAIT_S, guard.SLOWEST = {wait_s}, 2**20
serve(PagePredictor(), port=0, open_browser=False, max_upload_bytes=8 * 2**20)
"""


class Server:
    """Where it is, and how much memory it has."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        self.process, self.port = process, int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        # A connection for each request, and none is hurried: how fast a machine is says nothing.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, timeout=None, limits=limits)

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """What the process has in memory now, or with VmHWM at its highest."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def answer_to(self, request: bytes) -> bytes:
        """What comes back for raw bytes, until the server is done or closes."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has answered already, and closed
            return _all_of(connection)

    def is_well(self) -> bool:
        opened = self.client.post("/api/photos", content=png_bytes()).json()
        if "id" not in opened:
            return False
        path = f"/api/photos/{opened['id']}/predict"
        return self.client.post(path, json={"points": [[5, 5, 1]]}).status_code == 200


def _all_of(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(2**16):
            received += piece
    except ConnectionResetError:
        pass
    return received


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[float], Server]]:
    """Servers, by how many seconds a request may wait."""
    started: dict[float, Server] = {}

    def server(wait_s: float) -> Server:
        if wait_s not in started:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER.format(wait_s=wait_s)],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1"},
            )
            started[wait_s] = Server(process)
        return started[wait_s]

    yield server
    for each in started.values():
        each.client.close()
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def server(start: Callable[[float], Server]) -> Iterator[Server]:
    server = start(20.0)
    yield server
    assert server.process.poll() is None
    assert server.is_well()


@pytest.fixture
def hasty(start: Callable[[float], Server]) -> Iterator[Server]:
    """One that gives up on what is slow after half a second."""
    server = start(0.5)
    yield server
    assert any(server.is_well() for _ in range(50))  # where the machine is busy, not at once


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, answer[:200]
    return int(found[1])


def test_two_hundred_requests_at_once(server: Server) -> None:
    client = server.client
    photo = client.post("/api/photos", content=png_bytes(600, 400)).json()["id"]
    before = server.memory_bytes()

    def ask(number: int) -> int:
        if number % 4 == 0:
            return client.post("/api/photos", content=png_bytes(600, 400)).status_code
        if number % 4 == 1:
            return client.get("/").status_code
        question = {"points": [[5, 5, 1]], "vocabulary": f"cat, dog, thing {number}"}
        return client.post(f"/api/photos/{photo}/predict", json=question).status_code

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    # The photo may be dropped to make room for the fifty that are opened meanwhile: 410.
    assert set(answers) <= {200, 201, 410, 503}
    assert answers.count(200) >= 50
    assert server.memory_bytes() - before < 300 * MEBIBYTE


def test_an_endless_upload_is_cut_off(server: Server) -> None:
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    head = request("POST", "/api/photos", b"", "Transfer-Encoding: chunked")
    before = server.memory_bytes()
    with server.connect() as connection:
        connection.sendall(head)
        sent = 0
        try:
            while sent < 512 * MEBIBYTE:
                connection.sendall(chunk)
                sent += 2**16
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = _all_of(connection)
    assert sent < 64 * MEBIBYTE  # eight, and what the sockets hold
    assert not answer or status_of(answer) == 413
    assert server.memory_bytes() - before < 100 * MEBIBYTE


def test_an_announced_size_is_refused_before_it_comes(server: Server) -> None:
    answer = server.answer_to(request("POST", "/api/photos", b"", f"Content-Length: {10**15}"))
    assert status_of(answer) == 413
    answer = server.answer_to(request("POST", "/api/vocabulary", b"", f"Content-Length: {10**8}"))
    assert status_of(answer) == 413


@pytest.mark.parametrize("path", ["/api/photos", "/api/vocabulary"])
def test_a_body_that_never_comes_is_given_up(hasty: Server, path: str) -> None:
    answer = hasty.answer_to(request("POST", path, b"{", "Content-Length: 1000"))
    assert status_of(answer) == 408
    assert b"too slowly" in answer


def test_a_body_that_drips_is_given_up(hasty: Server) -> None:
    with hasty.connect() as connection:
        connection.sendall(request("POST", "/api/photos", b"", "Content-Length: 1000"))
        connection.settimeout(0.05)
        answer = b""
        for _ in range(999):  # a byte each 50 ms: all of them would take the whole minute
            try:
                connection.sendall(b"x")
                if answer := connection.recv(2**16):
                    break
            except TimeoutError:
                continue
    assert status_of(answer) == 408


def test_slow_uploads_do_not_keep_others_out_for_long(hasty: Server) -> None:
    """All that is at work at once is slow uploads: the next waits, and is told so or answered."""
    slow = [hasty.connect() for _ in range(6)]
    try:
        for connection in slow:
            connection.sendall(request("POST", "/api/photos", b"x", "Content-Length: 1000"))
        time.sleep(0.1)
        assert hasty.client.get("/api/state").status_code == 200  # which has turns of its own
        reply = hasty.client.post("/api/photos", content=png_bytes())
        assert reply.status_code in (201, 408, 503)
        assert {status_of(_all_of(connection)) for connection in slow} <= {408, 503}
    finally:
        for connection in slow:
            connection.close()


def test_idle_connections_are_no_hindrance(server: Server) -> None:
    idle = [server.connect() for _ in range(100)]
    try:
        for connection in idle[::2]:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127")  # and never more
        assert server.is_well()
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"points":' * 200_000,
        b'{"points": [[' + b"9" * 100_000 + b", 5, 1]]}",
        b'{"points": [[1e400, 5, 1]]}',
        b'{"points": [[-1e308, 5, 1]]}',
        b'{"points": [[5, 5, 1e308]]}',
        b'{"box_xyxy": [-1e308, -1e308, 1e308, 1e308]}',
        b'{"vocabulary": "\\ud800, cat", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "\xff", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "' + b"a, " * 150_000 + b'", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "' + b"/" * 300_000 + b'", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "' + b"a/" * 100_000 + b'", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "!' + b"'a" * 150_000 + b'", "points": [[5, 5, 1]]}',
        b'{"vocabulary": "' + "“ab cd ef gh,".encode() * 9_999 + b'", "points": [[5, 5, 1e3]]}',
        b"{" + b",".join(b'"k%d": 1' % i for i in range(200_000)) + b"}",
        b"null",
        b"",
        b"\x00" * 1000,
    ],
    ids=range(18),
)
def test_questions_that_are_none(server: Server, body: bytes) -> None:
    photo = server.client.post("/api/photos", content=png_bytes()).json()["id"]
    reply = server.client.post(
        f"/api/photos/{photo}/predict",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert 400 <= reply.status_code < 500 or b"-1e308, -1e308" in body
    assert len(reply.content) < 10_000
    assert reply.status_code == 200 or list(reply.json()) == ["error"]


@pytest.mark.parametrize("method", ["FOO", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/photos", "/static/app.js", "*"])
def test_other_methods(server: Server, method: str, path: str) -> None:
    answer = server.answer_to(request(method, path))
    assert status_of(answer) in (400, 403, 404, 405)
    assert b"access-control-allow" not in answer.lower()


def test_heads_and_ranges(server: Server) -> None:
    head = server.client.head("/static/app.js")
    assert (head.status_code, head.content) == (200, b"")
    whole = server.client.get("/static/app.js")
    many = ",".join(f"{i}-{i}" for i in range(0, 10_000, 2))
    for wanted in ("bytes=0-1", "bytes=-5", "bytes=9-1", "nonsense", f"bytes={many}"):
        part = server.client.get("/static/app.js", headers={"Range": wanted})
        assert (part.status_code, part.content) == (200, whole.content)


def test_web_sockets_are_none(server: Server) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 24)
    for path in ("/", "/api/state", "/static/app.js", "/ws"):
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade, close", *upgrade]
        answer = server.answer_to("\r\n".join([*lines, "", ""]).encode())
        assert status_of(answer) in (200, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: evil.example"], 403),
        (["Host: 127.0.0.1.evil.example"], 403),
        (["Host: 127.0.0.1", "Origin: http://evil.example"], 403),
        (["Host: 127.0.0.1", "Origin: null"], 403),
        (["Host: 127.0.0.1", "Host: evil.example"], None),
        ([], None),
        (["Host: 127.0.0.1", "X: " + "x" * 200_000], None),
        (["Host: 127.0.0.1", *(f"X{i}: 1" for i in range(20_000))], None),
    ],
    ids=range(8),
)
def test_foreign_hosts_and_odd_heads(
    server: Server, headers: list[str], status: int | None
) -> None:
    lines = ["GET /api/state HTTP/1.1", *headers, "Connection: close"]
    answer = server.answer_to("\r\n".join([*lines, "", ""]).encode())
    if status is not None:
        assert status_of(answer) == status
    assert b'"model"' not in answer or headers[:1] == ["Host: 127.0.0.1"]


def test_photos_of_others_cannot_be_named(server: Server) -> None:
    for name in ("a" * 22, "first", "%00", "..%2f..", "x" * 8000, "%F0%9F%90%B1"):
        assert server.client.get(f"/api/photos/{name}/pixels").status_code in (404, 410)


@pytest.mark.long
def test_large_photos_from_many_at_once_keep_memory_bounded(server: Server) -> None:
    """Each is 46 MiB of pixels. Eight are held, and two at work."""
    photo = png_bytes(4000, 4000)

    def send(_: int) -> int:
        return server.client.post("/api/photos", content=photo).status_code

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(send, range(24)))
    assert set(answers) <= {201, 503}
    assert answers.count(201) >= 8
    assert server.memory_bytes("VmHWM") < 1200 * MEBIBYTE


@pytest.mark.fuzz
def test_bytes_that_are_no_request(server: Server) -> None:
    import random

    chance = random.Random(7)
    good = request("POST", "/api/vocabulary", b"", "Content-Type: application/json")
    body = json.dumps({"vocabulary": "cat, dog"}).encode()
    good = good.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    for _ in range(examples(50)):
        spoilt = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        with server.connect() as connection:
            connection.sendall(bytes(spoilt))
            connection.shutdown(socket.SHUT_WR)
            answer = _all_of(connection)
        assert b"HTTP/1.1 5" not in answer
