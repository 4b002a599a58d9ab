from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ovsam.errors import PhotoError
from ovsam.geometry import decode_rle
from ovsam.web.app import create_app
from tiny_model import tiny_predictor
from web.pages import LOCAL, PagePredictor, png_bytes


def test_page_and_its_parts_are_served_with_strict_headers(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for path in ("style.css", "app.js", "api.js", "canvas.js", "icon.svg"):
        part = client.get(f"/static/{path}")
        assert part.status_code == 200
        assert part.headers["x-content-type-options"] == "nosniff"
    assert client.get("/static/app.js").headers["content-type"].startswith("text/javascript")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "access-control-allow-origin" not in page.headers


def test_page_names_nothing_outside_itself() -> None:
    static = Path(create_app.__code__.co_filename).parent / "static"
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, file.name
    page = (static / "index.html").read_text()
    assert " style=" not in page and "<style" not in page and " onclick=" not in page


def test_state(client: TestClient) -> None:
    state = client.get("/api/state").json()
    assert state["model"] == "fake"
    assert state["vocabulary"] == {"name": "custom", "classes": 3, "notes": []}
    assert "coco" in state["vocabularies"]
    assert state["first_photo"] is None
    assert state["max_upload_bytes"] == 100 * 2**20


def test_open_a_photo_and_see_its_pixels(client: TestClient) -> None:
    opened = client.post("/api/photos", content=png_bytes(60, 40, (200, 30, 90)))
    assert opened.status_code == 201
    assert (opened.json()["width"], opened.json()["height"]) == (60, 40)
    pixels = client.get(f"/api/photos/{opened.json()['id']}/pixels")
    assert pixels.headers["content-type"] == "image/jpeg"
    shown = np.asarray(Image.open(io.BytesIO(pixels.content)))
    assert shown.shape == (40, 60, 3)
    assert np.abs(shown[20, 30].astype(int) - (200, 30, 90)).max() <= 3


def test_a_turned_photo_is_shown_as_people_see_it(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40)).save(buffer, "JPEG", exif=exif)
    opened = client.post("/api/photos", content=buffer.getvalue()).json()
    assert (opened["width"], opened["height"]) == (40, 60)
    pixels = client.get(f"/api/photos/{opened['id']}/pixels").content
    shown = Image.open(io.BytesIO(pixels))
    assert shown.size == (40, 60)
    assert not shown.getexif()


def test_a_large_photo_is_reduced_for_showing_only(client: TestClient) -> None:
    opened = client.post("/api/photos", content=png_bytes(5000, 10)).json()
    assert (opened["width"], opened["height"]) == (5000, 10)
    pixels = client.get(f"/api/photos/{opened['id']}/pixels").content
    assert Image.open(io.BytesIO(pixels)).size == (4096, 8)


def test_predict_answers_in_the_layout_of_the_command(client: TestClient, photo_id: str) -> None:
    reply = client.post(
        f"/api/photos/{photo_id}/predict",
        json={"points": [[20, 15, 1], [28, 15, 0]], "box_xyxy": None, "top": 2},
    )
    assert reply.status_code == 200
    answer = reply.json()
    assert list(answer)[:5] == ["prompt", "segmentation", "box_xyxy", "mask_score", "labels"]
    assert answer["prompt"] == {"points": [[20, 15, 1], [28, 15, 0]], "box_xyxy": None}
    assert [label["name"] for label in answer["labels"]] == ["cat", "dog"]
    assert answer["mask_score"] == pytest.approx(0.9)
    mask = decode_rle(answer["segmentation"])
    assert mask.shape == (40, 60)
    assert mask[15, 15] and not mask[15, 28] and not mask[39, 59]
    x0, y0, x1, y1 = answer["box_xyxy"]
    assert mask[int(y0) : int(y1), int(x0) : int(x1)].sum() == mask.sum()


def test_predict_with_a_box(client: TestClient, photo_id: str) -> None:
    answer = client.post(
        f"/api/photos/{photo_id}/predict", json={"box_xyxy": [5, 6, 25, 30], "multimask": True}
    ).json()
    assert answer["box_xyxy"] == [5, 6, 25, 30]
    assert answer["prompt"] == {"points": [], "box_xyxy": [5, 6, 25, 30]}


@pytest.mark.parametrize("preview", [True, False])
def test_a_box_that_sticks_out_far(preview: bool) -> None:
    """The answer is that of the whole photo, soon; the prompt is echoed as it was asked."""
    with TestClient(create_app(tiny_predictor()), base_url=LOCAL) as client:
        photo_id = client.post("/api/photos", content=png_bytes()).json()["id"]
        answers = [
            client.post(
                f"/api/photos/{photo_id}/predict", json={"box_xyxy": box, "preview": preview}
            ).json()
            for box in ([-1e7, -1e7, 1e7, 1e7], [0, 0, 60, 40])
        ]
    assert answers[0].pop("prompt") == {"points": [], "box_xyxy": [-1e7, -1e7, 1e7, 1e7]}
    del answers[1]["prompt"]
    assert answers[0] == answers[1]


def test_missing_mask_score_is_null(
    client: TestClient, predictor: PagePredictor, photo_id: str
) -> None:
    predictor.iou_head = False
    answer = client.post(f"/api/photos/{photo_id}/predict", json={"points": [[5, 5, 1]]}).json()
    assert answer["mask_score"] is None


def test_a_preview_is_answered_as_the_click_that_follows(client: TestClient, photo_id: str) -> None:
    answers = [
        client.post(
            f"/api/photos/{photo_id}/predict", json={"points": [[5, 5, 1]], "preview": preview}
        ).json()
        for preview in (True, False)
    ]
    assert "segmentation" in answers[0]
    assert answers[0] == answers[1]


def test_a_preview_does_not_wait_for_long(
    client: TestClient, predictor: PagePredictor, photo_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovsam.web.sessions.PREVIEW_WAIT_S", 0.01)
    predict, begun, go_on = PagePredictor.predict, Event(), Event()

    def slow(self: PagePredictor, *args: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return predict(self, *args, **options)

    monkeypatch.setattr(PagePredictor, "predict", slow)
    path, point = f"/api/photos/{photo_id}/predict", {"points": [[5, 5, 1]]}
    with ThreadPoolExecutor(1) as pool:
        click = pool.submit(client.post, path, json=point)
        assert begun.wait(30)
        preview = client.post(path, json={**point, "preview": True})
        go_on.set()
        assert click.result().status_code == 200
    assert preview.status_code == 503
    assert preview.json() == {"error": "The server is busy: try again in a moment."}
    assert len(predictor.prompts) == 1


def test_what_became_of_names_is_said(client: TestClient) -> None:
    reply = client.post("/api/vocabulary", json={"vocabulary": "bus, double-decker bus, cat"})
    assert reply.json()["classes"] == 2
    [note] = reply.json()["notes"]
    assert note.startswith("'double-decker bus' is taken as 'bus'")
    reply = client.post("/api/vocabulary", json={"vocabulary": 'bus, "double-decker bus", cat'})
    assert reply.json() == {"name": "custom", "classes": 3, "notes": []}


def test_changing_the_vocabulary_does_not_encode_again(
    client: TestClient, predictor: PagePredictor, photo_id: str
) -> None:
    checked = client.post("/api/vocabulary", json={"vocabulary": "zebra, horse"})
    assert checked.json() == {"name": "custom", "classes": 2, "notes": []}
    question = {"points": [[5, 5, 1]], "vocabulary": "zebra, horse"}
    answer = client.post(f"/api/photos/{photo_id}/predict", json=question).json()
    assert answer["labels"][0]["name"] == "zebra"
    assert predictor.encode_calls == 1


def test_default_and_builtin_vocabularies(client: TestClient) -> None:
    for spec, classes in ((None, 3), ("coco", 80)):
        reply = client.post("/api/vocabulary", json={"vocabulary": spec})
        assert reply.json()["classes"] == classes


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({}, "A prompt needs a point, a box or a mask"),
        ({"points": [[100, 5, 1]]}, "Point (100, 5) is outside the photo"),
        ({"box_xyxy": [100, 100, 110, 110]}, "is outside the photo"),
        ({"box_xyxy": [20, 5, 10, 30]}, "Swap the corners"),
        ({"box_xyxy": [5, 5, 5, 30]}, "x0 < x1"),
        ({"points": [[5, 5, 2]]}, "The request is malformed: field 'points.0.2'"),
        ({"points": [[5, 5]]}, "The request is malformed: field 'points.0.2'"),
        ({"points": [[5, 5, True]]}, "The request is malformed: field 'points.0.2'"),
        ({"points": [[5, "5", 1]]}, "The request is malformed: field 'points.0.1'"),
        ({"points": [[5, True, 1]]}, "The request is malformed: field 'points.0.1'"),
        ({"points": [[10**400, 5, 1]]}, "The request is malformed: field 'points.0.0'"),
        ({"box_xyxy": [-1e300, 0, 1, 1]}, "must lie between -1,000,000,000 and 1,000,000,000"),
        ({"points": [[5, 5, 1]] * 1001}, "The request is malformed: field 'points'"),
        ({"points": [[5, 5, 1]], "top": 0}, "The request is malformed: field 'top'"),
        ({"points": [[5, 5, 1]], "colour": 1}, "The request is malformed: field 'colour'"),
        ({"points": [[5, 5, 1]], "vocabulary": ","}, "The vocabulary is empty"),
        ({"points": [[5, 5, 1]], "vocabulary": "/etc/passwd"}, "There is no vocabulary"),
    ],
)
def test_bad_question_is_one_sentence(
    client: TestClient, photo_id: str, question: dict[str, object], sentence: str
) -> None:
    reply = client.post(f"/api/photos/{photo_id}/predict", json=question)
    assert reply.status_code == 422
    assert list(reply.json()) == ["error"]
    assert sentence in reply.json()["error"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(client: TestClient, photo_id: str, number: str) -> None:
    reply = client.post(
        f"/api/photos/{photo_id}/predict",
        content=f'{{"points": [[{number}, 5, 1]]}}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 422
    assert "error" in reply.json()


def test_body_that_is_no_json(client: TestClient, photo_id: str) -> None:
    reply = client.post(
        f"/api/photos/{photo_id}/predict",
        content=b"{not json",
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 422
    assert "malformed" in reply.json()["error"]


@pytest.mark.parametrize("spec", ["", "a, b, !a", "cocoo", "x" * 1001, "x" * 400_001, "a\0"])
def test_bad_vocabulary(client: TestClient, spec: str) -> None:
    reply = client.post("/api/vocabulary", json={"vocabulary": spec})
    assert reply.status_code == 422
    assert reply.json()["error"].endswith(".")


@pytest.mark.parametrize("body", [b"", b"no image", png_bytes()[:60]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_photo(client: TestClient, body: bytes) -> None:
    reply = client.post("/api/photos", content=body)
    assert reply.status_code == 415
    assert len(reply.json()["error"]) > 20


def test_a_photo_of_too_many_pixels(predictor: PagePredictor) -> None:
    client = TestClient(create_app(predictor, max_pixels=1000), base_url=LOCAL)
    reply = client.post("/api/photos", content=png_bytes(60, 40))
    assert reply.status_code == 415
    assert "1,000" in reply.json()["error"]
    assert predictor.encode_calls == 0


@pytest.mark.parametrize("photo_id", ["unknown", "..%2f..%2fetc%2fpasswd", "%00", "first"], ids=str)
def test_a_photo_that_is_not_held(client: TestClient, photo_id: str) -> None:
    reply = client.get(f"/api/photos/{photo_id}/pixels")
    assert reply.status_code in (404, 410)
    assert "error" in reply.json()
    reply = client.post("/api/photos/unknown/predict", json={"points": [[1, 1, 1]]})
    assert reply.status_code == 410
    assert reply.json() == {"error": "This photo is no longer held: open it again."}


def test_the_oldest_photo_is_forgotten(client: TestClient, photo_id: str) -> None:
    for _ in range(8):
        client.post("/api/photos", content=png_bytes())
    reply = client.post(f"/api/photos/{photo_id}/predict", json={"points": [[1, 1, 1]]})
    assert reply.status_code == 410
    assert reply.json() == {"error": "This photo is no longer held: open it again."}


def test_two_photos_at_once_do_not_mix(client: TestClient) -> None:
    sizes = [(30 + 7 * index, 50 - 5 * index) for index in range(6)]

    def open_and_ask(size: tuple[int, int]) -> bool:
        opened = client.post("/api/photos", content=png_bytes(*size)).json()
        answers = [
            client.post(
                f"/api/photos/{opened['id']}/predict", json={"box_xyxy": [1, 1, *size]}
            ).json()
            for _ in range(5)
        ]
        return all(
            answer["segmentation"]["size"] == [size[1], size[0]]
            and answer["box_xyxy"] == [1, 1, *size]
            for answer in answers
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(open_and_ask, sizes))


def test_the_first_photo(predictor: PagePredictor, tmp_path: Path) -> None:
    path = tmp_path / "cat photo.png"
    path.write_bytes(png_bytes(33, 22))
    client = TestClient(create_app(predictor, photo=path), base_url=LOCAL)
    assert client.get("/api/state").json()["first_photo"] == "cat photo.png"
    first = client.get("/api/photos/first").json()
    assert (first["width"], first["height"]) == (33, 22)
    assert client.get("/api/photos/first").json() == first
    assert predictor.encode_calls == 1
    for _ in range(8):
        client.post("/api/photos", content=png_bytes())
    again = client.get("/api/photos/first").json()
    assert again["id"] != first["id"]
    assert client.get(f"/api/photos/{again['id']}/pixels").status_code == 200


def test_no_first_photo(client: TestClient) -> None:
    reply = client.get("/api/photos/first")
    assert reply.status_code == 404
    assert reply.json() == {"error": "The server was started without a photo: open one."}


def test_a_bad_first_photo_is_refused_before_serving(predictor: PagePredictor) -> None:
    with pytest.raises(PhotoError, match="does not exist"):
        create_app(predictor, photo=Path("nowhere.jpg"))


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_path_leads_out_of_the_static_files(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert list(reply.json()) == ["error"]


def test_wrong_method(client: TestClient) -> None:
    reply = client.get("/api/vocabulary")
    assert reply.status_code == 405
    assert reply.json() == {"error": "Method Not Allowed"}


def test_a_bug_is_no_traceback(predictor: PagePredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_image: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(predictor, "encode", fail)
    client = TestClient(create_app(predictor), base_url=LOCAL, raise_server_exceptions=False)
    reply = client.post("/api/photos", content=png_bytes())
    assert reply.status_code == 500
    assert reply.json() == {"error": "The server failed at this request: its log says why."}
