"""Who may talk to the server, how much they may send, and what browsers are told to forbid."""

from __future__ import annotations

import hashlib
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATH = "/api/photos"
MAX_JSON_BYTES = 4 * 2**20

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
    - A body larger than the limit is refused before it is read, or as soon as it has grown past.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, max_upload_bytes: int) -> None:
        self._app = app
        self._token = token
        self._max_upload_bytes = max_upload_bytes
        # Cookies are shared by all ports of a host: the name keeps two servers apart.
        self._cookie = f"ovsam_{hashlib.sha256((token or '').encode()).hexdigest()[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application where a request must not reach it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        request = Request(scope)
        answer = self._refuse_stranger(request) or self._check_token(request)
        if answer is None:
            limit = self._max_upload_bytes if request.url.path == UPLOAD_PATH else MAX_JSON_BYTES
            answer = _refuse_announced_size(request, limit)
            receive = _limited(receive, limit)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refuse_stranger(self, request: Request) -> Response | None:
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


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _too_large(limit: int) -> str:
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit} bytes"
    return f"The upload is larger than {size}, the most this server takes."


def _refuse_announced_size(request: Request, limit: int) -> Response | None:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) <= limit:
        return None
    return _error(413, _too_large(limit))


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive`, which gives up on a body that turns out to be larger than it was said to be."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_limited
