from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from ovsam.web.app import create_app
from web.pages import LOCAL, PagePredictor, png_bytes


@pytest.fixture
def predictor() -> PagePredictor:
    return PagePredictor()


@pytest.fixture
def client(predictor: PagePredictor) -> Iterator[TestClient]:
    with TestClient(create_app(predictor), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def photo_id(client: TestClient) -> str:
    photo_id: str = client.post("/api/photos", content=png_bytes()).json()["id"]
    return photo_id
