"""`serve`: run the page until it is interrupted."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import uvicorn

from ovsam.errors import OvsamError, UsageError
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.segmenter import Segmenter
from ovsam.web.app import create_app

MAX_CONNECTIONS = 500
"""More are answered with 503: below the number of files that systems let a process open."""


class ServerError(OvsamError):
    """The server cannot listen at the address that was given."""


class TokenError(ServerError, UsageError):
    """What was given as a token is none."""


def serve(
    predictor: Segmenter,
    photo: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    open_browser: bool = True,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve the page until Ctrl+C.

    Args:
        predictor: the model that answers.
        photo: shown when the page opens.
        host: address to listen on. Anything but loopback gets a token, made up where none is given.
        port: 0 takes any free one.
        token: what every request must carry.
        open_browser: open the page in the person's browser.
        max_pixels: a photo of more pixels is refused before it is decoded.
        announce: called with one line, which has the page's address.

    Raises:
        PhotoError: `photo` cannot be read.
        ServerError: the address cannot be listened on.
        TokenError: the token is empty, or not printable ASCII.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise TokenError("The token must be printable ASCII text: leave it out to get one.")
    listener = listen(host, port)
    with contextlib.closing(listener):
        app = create_app(predictor, token=token, photo=photo, max_pixels=max_pixels)
        url = page_url(host, listener.getsockname()[1], token)
        announce(f"ovsam is at {url} (Ctrl+C to stop)")
        if open_browser:  # the socket already listens, so the browser's request waits for us
            Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=3,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address; a name other than localhost may not be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ServerError: the port is taken or out of range, or the host is not an address of ours.
    """
    if not 0 <= port <= 65535:
        raise ServerError(f"The port must be between 0 (any free one) and 65535, got {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # without the address, said already
        remedy = "choose an address of this machine, such as 127.0.0.1"
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            remedy = "choose another port, or 0 for any free one"
        raise ServerError(f"Cannot listen on {host} port {port} ({reason}): {remedy}.") from error


def page_url(host: str, port: int, token: str | None) -> str:
    """The address to open in a browser."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={quote(token, safe='')}" if token else ""
    return f"http://{shown}:{port}/{query}"
