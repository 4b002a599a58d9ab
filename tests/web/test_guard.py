from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from ovsam.web import guard
from ovsam.web.app import create_app
from web.pages import LOCAL, PagePredictor, png_bytes

TOKEN = 'a token; "with" signs'


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST:80"], ids=str
)
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:7860", "localhost.evil.example", "", "[::1"]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/static/app.js", "/api/state"):
        reply = client.get(path, headers={"Host": host})
        assert reply.status_code == 403
        assert "answers to localhost only" in reply.json()["error"]
        assert "content-security-policy" in reply.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_requests_of_other_sites_are_refused(client: TestClient, origin: str) -> None:
    reply = client.post("/api/photos", content=png_bytes(), headers={"Origin": origin})
    assert reply.status_code == 403
    assert "other sites" in reply.json()["error"]


def test_requests_of_the_page_itself_are_answered(client: TestClient) -> None:
    reply = client.post("/api/photos", content=png_bytes(), headers={"Origin": LOCAL})
    assert reply.status_code == 201


@pytest.fixture
def guarded(predictor: PagePredictor) -> TestClient:
    return TestClient(create_app(predictor, token=TOKEN), base_url="http://office.example:7860")


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/state", "/api/photos/first"])
def test_without_the_token_nothing_is_answered(guarded: TestClient, path: str) -> None:
    for query in ({}, {"token": "wrong"}, {"token": ""}, {"token": "é"}):
        reply = guarded.get(path, params=query)
        assert reply.status_code == 401
        assert "needs its token" in reply.json()["error"]


def test_the_address_with_the_token_opens_the_page(guarded: TestClient) -> None:
    arrival = guarded.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert arrival.status_code == 303
    assert arrival.headers["location"] == "/"  # the token leaves the address bar
    cookie = arrival.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get("/api/state").status_code == 200


def test_the_token_in_a_header(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/state", headers=headers).status_code == 200
    headers = {"Authorization": "Bearer wrong"}
    assert guarded.get("/api/state", headers=headers).status_code == 401


def test_the_token_counts_in_the_address_of_the_page_only(guarded: TestClient) -> None:
    assert guarded.get("/api/state", params={"token": TOKEN}).status_code == 401


def test_upload_over_the_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD_BYTES", 2**20)
    reply = client.post("/api/photos", content=bytes(2**20 + 1))
    assert reply.status_code == 413
    assert reply.json() == {"error": "The upload is larger than 1 MiB, the most this server takes."}


def test_upload_that_does_not_announce_its_size(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD_BYTES", 1000)

    def pieces(count: int) -> Iterator[bytes]:
        yield from (bytes(100) for _ in range(count))

    reply = client.post("/api/photos", content=pieces(11))
    assert reply.status_code == 413
    assert reply.json() == {
        "error": "The upload is larger than 1000 bytes, the most this server takes."
    }
    assert client.post("/api/photos", content=pieces(10)).status_code == 415


def test_json_has_a_limit_of_its_own(client: TestClient) -> None:
    reply = client.post("/api/vocabulary", json={"vocabulary": "x" * (4 * 2**20)})
    assert reply.status_code == 413


@pytest.mark.parametrize("size", ["-1", "many", "1e3"])
def test_announced_size_that_is_no_number(client: TestClient, size: str) -> None:
    reply = client.post("/api/photos", content=b"x", headers={"Content-Length": size})
    assert reply.status_code == 413
