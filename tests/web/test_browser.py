"""The page in a real Chromium: what a person does with the mouse and the keyboard, and sees."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from ovsam.geometry import decode_rle
from ovsam.segmenter import Segmenter
from ovsam.web import guard
from ovsam.web.app import create_app
from ovsam.web.server import listen
from web.pages import PagePredictor, png_bytes

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
data = pytest.importorskip("skimage.data", reason="scikit-image, which carries the photo, is not")
expect = playwright.expect
HANG_MS = 120_000  # only a page that hangs takes as long
expect.set_options(timeout=HANG_MS)

CHROMIUM = os.environ.get("OVSAM_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install it)"),
]
Page = Any
NAMED = "#tag:not(.preview)"  # the name of what was asked for, not of what is hovered over
WIDTH, HEIGHT = 451, 300  # of chelsea


@contextmanager
def running(predictor: Segmenter, photo: Path | None, **options: Any) -> Iterator[str]:
    """The page's address while a server answers there."""
    listener = listen("127.0.0.1", 0)
    app = create_app(predictor, photo=photo, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(HANG_MS / 1000)
        listener.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    """A page on which an error in the console, or a request to elsewhere, fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 760})
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: (
            troubles.append(message.text)
            if message.type == "error" and not re.search("status of (4|503)", message.text)
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            troubles.append(request.url)
            if not request.url.startswith(("http://127.0.0.1:", "blob:"))
            else None
        ),
    )
    page.set_default_timeout(HANG_MS)
    yield page
    context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def chelsea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "chelsea.png"
    Image.fromarray(data.chelsea()).save(path)
    return path


@pytest.fixture
def url(predictor: PagePredictor, chelsea: Path) -> Iterator[str]:
    predictor.radius = 40.0
    with running(predictor, chelsea) as url:
        yield url


def ready(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#overlay")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("Point at something")


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a photo pixel is on the screen."""
    box = page.locator("#overlay").bounding_box()
    return box["x"] + x / WIDTH * box["width"], box["y"] + y / HEIGHT * box["height"]


def alpha(page: Page, x: float, y: float) -> int:
    """How opaque the overlay is at a photo pixel: 0 where no mask covers it."""
    value: int = page.evaluate(
        """([x, y]) => {
            const canvas = document.getElementById("overlay");
            const [left, top] = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
            return canvas.getContext("2d").getImageData(left, top, 1, 1).data[3];
        }""",
        [x / WIDTH, y / HEIGHT],
    )
    return value


def expect_mask(page: Page, *, on: tuple[float, float], off: tuple[float, float]) -> None:
    """Wait until the mask covers one photo pixel and not the other."""
    deadline = time.monotonic() + HANG_MS / 1000
    while not (alpha(page, *on) and not alpha(page, *off)):
        assert time.monotonic() < deadline, f"mask at {on}: {alpha(page, *on)}, {off}: not 0"
        page.wait_for_timeout(20)


def names(page: Page) -> list[str]:
    texts: list[str] = page.locator("#names .name").all_text_contents()
    return texts


def test_click_shows_mask_and_name(page: Page, url: str) -> None:
    ready(page, url)
    assert alpha(page, 200, 130) == 0
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator("#status")).to_have_text("cat, 50%.")
    expect(page.locator(NAMED)).to_have_text("cat")
    assert names(page) == ["cat", "dog", "coffee mug"]
    assert page.locator("#names .score").all_text_contents() == ["50%", "25%", "13%"]
    assert alpha(page, 215, 130) > 0
    assert alpha(page, 300, 130) == 0


def test_hover_previews_and_leaving_ends_it(page: Page, url: str) -> None:
    ready(page, url)
    page.mouse.move(*at(page, 150, 100))
    page.mouse.move(*at(page, 210, 130))
    expect(page.locator("#tag.preview")).to_have_text("cat")
    expect_mask(page, on=(225, 130), off=(150, 100))
    expect(page.locator("#save-mask")).to_be_disabled()
    page.mouse.move(5, 5)
    expect(page.locator("#tag")).to_be_hidden()
    assert alpha(page, 225, 130) == 0


def test_right_click_takes_away_and_undo_gives_back(page: Page, url: str) -> None:
    ready(page, url)
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator(NAMED)).to_have_text("cat")
    page.mouse.click(*at(page, 260, 130), button="right")
    expect_mask(page, on=(190, 130), off=(228, 130))
    page.keyboard.press("Control+z")
    expect_mask(page, on=(228, 130), off=(260, 130))
    page.locator("#undo").click()
    expect(page.locator("#tag")).to_be_hidden()
    expect(page.locator("#undo")).to_be_disabled()


def test_only_negative_points_ask_for_a_positive_one(page: Page, url: str) -> None:
    ready(page, url)
    page.get_by_text("− Not object").click()
    page.mouse.click(*at(page, 100, 100))
    expect(page.locator("#status")).to_have_text("Now click on the object itself.")
    expect(page.locator("#tag")).to_be_hidden()


def test_drag_draws_a_box_and_clear_ends_it(page: Page, url: str) -> None:
    ready(page, url)
    page.mouse.move(*at(page, 300, 200))
    page.mouse.down()
    page.mouse.move(*at(page, 200, 150), steps=4)
    page.mouse.move(*at(page, 100, 50), steps=4)
    page.mouse.up()
    expect_mask(page, on=(120, 70), off=(320, 125))
    page.keyboard.press("Escape")
    expect(page.locator("#clear")).to_be_disabled()
    page.mouse.move(5, 5)
    expect(page.locator("#tag")).to_be_hidden()
    page.keyboard.press("Control+z")  # clearing can be undone too
    expect(page.locator(NAMED)).to_have_text("cat")


def test_vocabulary_changes_in_place(page: Page, url: str, predictor: PagePredictor) -> None:
    ready(page, url)
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator(NAMED)).to_have_text("cat")
    field = page.get_by_label("Vocabulary", exact=True)
    field.fill("<b>lynx</b>, <img src=x onerror=alert(1)>")
    field.press("Enter")
    expect(page.locator("#vocabulary-note")).to_have_text("In use: custom, 2 names.")
    expect(page.locator("#tag")).to_have_text("<b>lynx</b>")
    assert names(page)[1] == "<img src=x onerror=alert(1)>"
    assert page.locator("#names img, #names b").count() == 0
    field.fill("lynx, !lynx")
    page.get_by_role("button", name="Apply").click()
    refused = page.locator("#vocabulary-note.error")
    expect(refused).to_contain_text("lynx")
    expect(refused).to_contain_text("Still in use: custom, 2 names.")
    expect(page.locator("#tag")).to_have_text("<b>lynx</b>")  # the last good one stays in use
    field.fill("")
    field.press("Enter")
    expect(page.locator(NAMED)).to_have_text("cat")
    assert predictor.encode_calls == 1


def test_downloads_agree_with_each_other(page: Page, url: str, tmp_path: Path) -> None:
    ready(page, url)
    expect(page.locator("#save-mask")).to_be_disabled()
    page.mouse.click(*at(page, 20, 130))
    expect(page.locator(NAMED)).to_have_text("cat")
    files = {}
    for button in ("save-mask", "save-json"):
        with page.expect_download() as waiting:
            page.locator(f"#{button}").click()
        files[button] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[button])
    assert [path.name for path in files.values()] == ["chelsea-mask.png", "chelsea.json"]
    record = json.loads(files["save-json"].read_text())
    assert list(record) == ["model", "vocabulary", "photo", "size", "objects"]
    assert record["photo"] == "chelsea.png"
    assert record["size"] == {"width": WIDTH, "height": HEIGHT}
    assert record["vocabulary"] == {"name": "custom", "classes": 3, "notes": []}
    [found] = record["objects"]
    [[x, y, label]] = found["prompt"]["points"]
    assert (x, y, label) == (pytest.approx(20, abs=1), pytest.approx(130, abs=1), 1)
    picture = Image.open(files["save-mask"])
    assert picture.mode == "L"
    mask = np.asarray(picture)
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(mask > 0, decode_rle(found["segmentation"]))


def test_open_another_photo(page: Page, url: str, tmp_path: Path) -> None:
    ready(page, url)
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator(NAMED)).to_have_text("cat")
    path = tmp_path / "tall.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side in the file
    Image.fromarray(data.coffee()).save(path, exif=exif)
    page.locator("#file").set_input_files(path)
    expect(page.locator("#photo-name")).to_have_text("tall.jpg · 400 × 600")
    expect(page.locator("#tag")).to_be_hidden()
    expect(page.locator("#undo")).to_be_disabled()
    box = page.locator("#overlay").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(400 / 600, rel=0.01)


def test_a_file_that_is_no_photo_leaves_the_page_as_it_was(
    page: Page, url: str, tmp_path: Path
) -> None:
    ready(page, url)
    path = tmp_path / "notes.png"
    path.write_text("these are notes")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#status.error")).to_contain_text("is not an image")
    expect(page.locator("#photo-name")).to_contain_text("chelsea.png")
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator(NAMED)).to_have_text("cat")


def test_start_without_a_photo_and_drop_one(
    page: Page, predictor: PagePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD_BYTES", 2**20)
    with running(predictor, None) as url:
        page.goto(url)
        expect(page.get_by_text("Drop a photo here")).to_be_visible()
        drop = """async ([name, size]) => {
            const canvas = new OffscreenCanvas(80, 60);
            canvas.getContext("2d").fillRect(0, 0, 80, 60);
            const photo = await canvas.convertToBlob();
            const transfer = new DataTransfer();
            transfer.items.add(new File([photo, new Uint8Array(size)], name));
            document.body.dispatchEvent(
                new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
        }"""
        page.evaluate(drop, ["large.png", 2**20])
        expect(page.locator("#status.error")).to_have_text(
            "large.png is larger than 1 MiB, the most this server takes."
        )
        page.evaluate(drop, ["dropped.png", 0])
        expect(page.locator("#photo-name")).to_have_text("dropped.png · 80 × 60")
        expect(page.get_by_text("Drop a photo here")).to_be_hidden()


def test_a_forgotten_photo_says_so(page: Page, url: str) -> None:
    ready(page, url)
    for _ in range(8):
        page.evaluate(
            """async () => {
                const canvas = new OffscreenCanvas(8, 8);
                canvas.getContext("2d").fillRect(0, 0, 8, 8);
                const body = await canvas.convertToBlob();
                await fetch("/api/photos", { method: "POST", body });
            }"""
        )
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator("#status.error")).to_have_text(
        "This photo is no longer held: open it again."
    )


def test_keyboard_alone(page: Page, url: str) -> None:
    ready(page, url)
    page.locator("#overlay").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tag.preview")).to_have_text("cat")
    page.keyboard.press("Enter")
    expect(page.locator(NAMED)).to_have_text("cat")
    assert alpha(page, WIDTH / 2 - 20, HEIGHT / 2) > 0
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "b"):
        page.keyboard.press(key)
    expect(page.locator(NAMED)).to_have_text("cat")
    expect(page.locator("#facts")).to_contain_text("pixels")


@pytest.mark.parametrize(("width", "height", "ratio"), [(1500, 700, 1), (390, 800, 3)])
def test_any_window_and_pixel_ratio(
    browser: Any, url: str, width: int, height: int, ratio: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=ratio
    )
    page = context.new_page()
    ready(page, url)
    box = page.locator("#overlay").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.02)
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.getElementById('overlay').width") == round(box["width"] * ratio)
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator(NAMED)).to_have_text("cat")
    expect_mask(page, on=(215, 130), off=(300, 130))
    page.set_viewport_size({"width": width - 60, "height": height})
    page.wait_for_function(
        "overlay.width == Math.round(overlay.getBoundingClientRect().width * devicePixelRatio)"
    )
    expect_mask(page, on=(215, 130), off=(300, 130))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_slow_answers_never_overtake(
    page: Page, url: str, predictor: PagePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = PagePredictor.predict

    moved = threading.Event()

    def slow(self: PagePredictor, *args: Any, **options: Any) -> Any:
        moved.wait(HANG_MS / 1000)
        return predict(self, *args, **options)

    monkeypatch.setattr(PagePredictor, "predict", slow)
    ready(page, url)
    for x in range(50, 400, 10):
        page.mouse.move(*at(page, x, 150))
    page.mouse.click(*at(page, 400, 150))
    moved.set()
    expect(page.locator(NAMED)).to_have_text("cat")
    expect_mask(page, on=(410, 150), off=(60, 150))
    assert len(predictor.prompts) <= 4  # of 35 hovers: the first, the last, and the click


def test_what_became_of_names_is_shown(page: Page, url: str) -> None:
    ready(page, url)
    field, notes = page.get_by_label("Vocabulary", exact=True), page.locator("#vocabulary-notes li")
    field.fill("bus, double-decker bus, <b>x</b>, <B>x</B>")
    page.keyboard.press("Enter")
    expect(page.locator("#vocabulary-note")).to_have_text("In use: custom, 2 names.")
    expect(notes).to_have_count(2)
    expect(notes.nth(0)).to_contain_text("'double-decker bus' is taken as 'bus'")
    expect(notes.nth(1)).to_have_text("'<B>x</B>' is there twice and is one class.")
    field.fill("bus, 'double-decker bus'")
    page.keyboard.press("Enter")
    expect(page.locator("#vocabulary-note")).to_have_text("In use: custom, 2 names.")
    expect(notes).to_have_count(0)
    field.fill(",".join(f"thing {i}, thing {i}" for i in range(9)))
    page.keyboard.press("Enter")
    expect(notes).to_have_count(6)
    expect(notes.last).to_have_text("And 4 more.")
    field.fill("cocoo")
    page.keyboard.press("Enter")
    expect(page.locator("#vocabulary-note.error")).to_contain_text("did you mean coco?")
    expect(notes).to_have_count(0)
    field.fill("teapot")
    page.keyboard.press("Enter")
    expect(page.locator("#vocabulary-note")).to_have_text("In use: custom, 1 name.")


def test_names_of_files_are_no_markup(page: Page, url: str) -> None:
    ready(page, url)
    name = "<img src=x onerror=alert(1)><b>.png"
    file = {"name": name, "mimeType": "image/png", "buffer": png_bytes(60, 40)}
    page.locator("#file").set_input_files(file)
    expect(page.locator("#photo-name")).to_have_text(f"{name} · 60 × 40")
    assert page.locator("#photo-name img, #status img, .bar b").count() == 0
    page.locator("#file").set_input_files({**file, "buffer": b"no photo"})
    expect(page.locator("#status.error")).to_be_visible()
    assert page.locator("#status *").count() == 0


def test_a_preview_that_is_refused_is_not_complained_of(page: Page, url: str) -> None:
    ready(page, url)
    refusal = {"status": 503, "json": {"error": "The server is busy: try again in a moment."}}
    page.route("**/predict", lambda route: route.fulfill(**refusal))
    with page.expect_response("**/predict"):
        page.mouse.move(*at(page, 200, 130))
    page.wait_for_timeout(50)
    expect(page.locator("#status.error")).to_have_count(0)
    page.mouse.click(*at(page, 200, 130))
    expect(page.locator("#status.error")).to_contain_text("The server is busy")


def test_token_in_the_address(page: Page, predictor: PagePredictor, chelsea: Path) -> None:
    with running(predictor, chelsea, token="a b&c") as url:
        ready(page, f"{url}?token=a%20b%26c")
        assert page.url == url
        page.mouse.click(*at(page, 200, 130))
        expect(page.locator(NAMED)).to_have_text("cat")


def test_with_the_real_model(page: Page, chelsea: Path) -> None:
    import ovsam

    if not hasattr(ovsam, "load"):
        pytest.skip("the model has not landed")
    with running(ovsam.load("lite"), chelsea) as url:
        page.set_default_timeout(HANG_MS)
        ready(page, url)
        with page.expect_response("**/predict") as hovered:
            page.mouse.move(*at(page, 120, 90))
        expect(page.locator("#tag.preview")).not_to_be_empty()
        with page.expect_response("**/predict") as clicked:
            page.mouse.click(*at(page, 120, 90))
        expect(page.locator(NAMED)).not_to_be_empty()
        assert clicked.value.json() == hovered.value.json()
        assert len(names(page)) == 5
        page.keyboard.press("Escape")
        page.mouse.move(*at(page, 10, 5))
        page.mouse.down()
        page.mouse.move(*at(page, 330, 295), steps=5)
        page.mouse.up()
        expect(page.locator(NAMED)).to_have_text("cat")
        page.get_by_label("Vocabulary", exact=True).fill("kitten, coffee mug")
        page.keyboard.press("Enter")
        expect(page.locator(NAMED)).to_have_text("kitten")


def test_a_model_of_masks_alone_shows_them_and_speaks_of_no_names(
    page: Page, chelsea: Path
) -> None:
    with running(PagePredictor(names_objects=False, radius=40.0), chelsea) as url:
        ready(page, url)
        page.mouse.click(*at(page, 220, 130))
        expect_mask(page, on=(220, 130), off=(320, 130))
        expect(page.locator("#facts")).to_contain_text("pixels")
        expect(page.locator("#facts")).not_to_contain_text("none of these")
