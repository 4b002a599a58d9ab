from __future__ import annotations

import socket

import pytest

from ovsam.web.server import ServerError, TokenError, is_loopback, listen, page_url, serve
from web.pages import PagePredictor


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("office.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_page_url() -> None:
    assert page_url("127.0.0.1", 7860, None) == "http://127.0.0.1:7860/"
    assert page_url("::1", 80, None) == "http://[::1]:80/"
    assert page_url("10.0.0.1", 80, "a&b") == "http://10.0.0.1:80/?token=a%26b"
    assert page_url("0.0.0.0", 80, "t") == f"http://{socket.gethostname()}:80/?token=t"


def test_a_taken_port_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        sentence = rf"^Cannot listen on 127.0.0.1 port {port} \(Address already in use\): choose"
        with pytest.raises(ServerError, match=sentence):
            listen("127.0.0.1", port)
    for host in ("no such host", "192.0.2.1"):  # the second one is nobody's
        with pytest.raises(ServerError, match=f"Cannot listen on {host} .* an address of this"):
            listen(host, 0)
    with pytest.raises(ServerError, match=r"between 0 .any free one. and 65535, got 70000"):
        listen("127.0.0.1", 70_000)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_args, **_options: None)
    return []


def test_loopback_needs_no_token(predictor: PagePredictor, announced: list[str]) -> None:
    serve(predictor, port=0, open_browser=False, announce=announced.append)
    assert announced[0].startswith("ovsam is at http://127.0.0.1:")
    assert "token" not in announced[0]


def test_other_hosts_get_a_token(predictor: PagePredictor, announced: list[str]) -> None:
    for _ in range(2):
        serve(predictor, host="0.0.0.0", port=0, open_browser=False, announce=announced.append)
    tokens = {line.split("token=")[1].split()[0] for line in announced}
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


@pytest.mark.parametrize("token", ["", "  ", "clé", "a\nb"])
def test_a_token_that_is_none(predictor: PagePredictor, token: str) -> None:
    with pytest.raises(TokenError, match="token must be printable"):
        serve(predictor, token=token, port=0, open_browser=False)


def test_the_browser_is_opened(
    predictor: PagePredictor, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    serve(predictor, port=0, announce=announced.append)
    assert opened[0] in announced[0]
