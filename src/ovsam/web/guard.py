"""Who may talk to the server, how much and how many at once, and what browsers must not do."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATH = "/api/photos"
MAX_UPLOAD_BYTES = 100 * 2**20  # of a photo's file; a larger one is refused
MAX_JSON_BYTES = 4 * 2**20
UPLOADS_AT_ONCE = 2  # each holds its file and its pixels in memory
REQUESTS_AT_ONCE = 32  # each holds a thread
WAIT_S = 20.0  # until a request is let through; also for the first bytes of a body,
MIN_BYTES_PER_S = 2**16  # which is given up if it comes more slowly

BUSY = "The server is busy: try again in a moment."

_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """ASGI middleware in front of every route.

    - With a token, a request must carry it: `?token=` once (it becomes a cookie), the cookie, or
      `Authorization: Bearer`. Without one, the `Host` header must name this machine, so that a
      web site cannot reach the page by pointing its own name at 127.0.0.1 (DNS rebinding).
    - A request that another site's page makes is refused by its `Origin`.
    - A body larger than the limit is refused before it is read, or as soon as it has grown past;
      one that comes too slowly is given up.
    - Few requests are at work at once, so that memory is bounded. The others wait, and get 503
      ("try again") where that takes too long.
    - There are no web sockets, and no parts of files.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token
        # Cookies are shared by all ports of a host: the name keeps two servers apart.
        self._cookie = f"ovsam_{hashlib.sha256((token or '').encode()).hexdigest()[:12]}"
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._requests = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application where a request must not reach it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        scope = {**scope, "headers": headers}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        request = Request(scope)
        answer = self._check_origin(request) or self._check_token(request)
        if answer is None:
            limit = MAX_UPLOAD_BYTES if request.url.path == UPLOAD_PATH else MAX_JSON_BYTES
            answer = _refuse_announced_size(request, limit)
            receive = _limited(receive, limit)
        if answer is not None or not request.url.path.startswith("/api/"):
            await (answer or self._app)(scope, receive, send_with_headers)
            return
        slots = self._uploads if request.url.path == UPLOAD_PATH else self._requests
        try:
            async with asyncio.timeout(WAIT_S):
                await slots.acquire()
        except TimeoutError:
            answer = _error(503, BUSY, {"Retry-After": "5"})
            await answer(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            slots.release()

    def _check_origin(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._token is None and _host_name(host) not in _LOOPBACK_NAMES:
            return _error(
                403,
                f"This server answers to localhost only, not to {host!r}: "
                "start it with a token to use another name.",
            )
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _error(403, f"Requests from other sites ({origin}) are not answered.")
        return None

    def _check_token(self, request: Request) -> Response | None:
        if self._token is None:
            return None
        if request.url.path == "/" and self._is_token(request.query_params.get("token")):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(self._cookie)) or self._is_token(bearer):
            return None
        return _error(
            401,
            "This page needs its token: open the whole address that was printed when the server "
            "started.",
        )

    def _is_token(self, offered: str | None) -> bool:
        expected = (self._token or "").encode()
        return offered is not None and secrets.compare_digest(offered.encode(), expected)


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None where it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)


def _too_large(limit: int) -> str:
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit} bytes"
    return f"The upload is larger than {size}, the most this server takes."


def _refuse_announced_size(request: Request, limit: int) -> Response | None:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) <= limit:
        return None
    return _error(413, _too_large(limit))


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive`, which gives up on a body that is larger than announced, or too slow."""
    received, began, is_whole = 0, 0.0, False

    async def receive_limited() -> Message:
        nonlocal received, began, is_whole
        if is_whole:  # what follows is the end of the connection
            return await receive()
        now = asyncio.get_running_loop().time()
        began = began or now
        try:
            left = began + WAIT_S + received / MIN_BYTES_PER_S - now
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "The upload comes too slowly and was given up.") from error
        received += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_limited
