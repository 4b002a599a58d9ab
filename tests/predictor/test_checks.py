"""What a predictor refuses or warns of before it computes."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.errors import PhotoError, PromptError
from ovsam.images.frame import Frame
from ovsam.predictor import checks
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage
from ovsam.structures import Prompt
from predictor.scenes import BOX, HEIGHT, PROMPTS, WIDTH, blobs
from tiny_model import ONE_TOKEN, tiny_predictor


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((10, 10, 3), np.float32), "float32"),
        (np.zeros((10, 10, 3), np.uint16), "uint16"),
        (np.zeros((10, 10), np.uint8), r"\(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), r"\(10, 10, 4\)"),
        (np.zeros((0, 10, 3), np.uint8), r"\(0, 10, 3\)"),
    ],
    ids=["float", "16 bits", "grey", "alpha", "empty"],
)
def test_not_a_photo(predictor: Predictor, image: NDArray[np.uint8], got: str) -> None:
    with pytest.raises(PhotoError, match=rf"must be an RGB array .* got .*{got}.*read_photo"):
        predictor.encode(image)


def test_a_photo_that_is_read_only_is_not_copied(predictor: Predictor) -> None:
    pixels = blobs(0).copy()
    assert not np.shares_memory(predictor.encode(pixels).photo, pixels)
    pixels.setflags(write=False)
    assert predictor.encode(pixels).photo is pixels


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(points_xy=np.array([[WIDTH + 1.0, 5]])), r"Point \(201, 5\) is outside"),
        (Prompt(points_xy=np.array([[5.0, -0.5]])), r"Point \(5, -0.5\) is outside"),
        (Prompt(box_xyxy=np.array([200.0, 0, 220, 10])), r"Box .* is outside the photo"),
        (
            Prompt(mask_logits=np.zeros((16, 16), np.float32)),
            r"shape \(32, 32\) for tiny, got \(16, 16\)",
        ),
        (Prompt(box_xyxy=BOX, mask_logits=np.zeros((256, 256), np.float32)), r"got \(256, 256\)"),
    ],
    ids=["point right", "point above", "box", "mask", "box and mask"],
)
def test_a_prompt_that_does_not_fit(
    predictor: Predictor, photo: EncodedImage, prompt: Prompt, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        predictor.predict(photo, [PROMPTS["box"], prompt])


@pytest.mark.parametrize("top", [0, -1, 1.5, True, "5", None])
def test_a_number_of_names_that_is_none(
    predictor: Predictor, photo: EncodedImage, top: object
) -> None:
    with pytest.raises(PromptError, match="top must be a number of names, 1 or more, got"):
        predictor.predict(photo, PROMPTS["box"], top=top)  # type: ignore[arg-type]
    assert len(predictor.predict(photo, PROMPTS["box"], top=10**400)[0].labels[0]) == 5


def test_what_is_no_prompt_and_no_encoded_photo(predictor: Predictor, photo: EncodedImage) -> None:
    with pytest.raises(PromptError, match=r"must each be an ovsam.Prompt, got \[1, 2\]"):
        predictor.predict(photo, [[1, 2]])  # type: ignore[list-item]
    nothing: Any = None
    for ask in (predictor.segment, predictor.predict):
        with pytest.raises(PromptError, match=r"must each be an ovsam.Prompt, got None"):
            ask(photo, nothing)
    with pytest.raises(PhotoError, match=r"got ndarray\. Encode the photo first"):
        predictor.predict(blobs(0), PROMPTS["box"])  # type: ignore[arg-type]
    for verb in ("segment", "name", "predict"):
        with pytest.raises(PhotoError, match=f"^{verb} takes what encode made of a photo, got"):
            getattr(predictor, verb)(blobs(0), PROMPTS["box"])


def test_more_masks_than_fit_are_refused_before_the_work(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = HEIGHT * WIDTH + 4 * 32 * 32  # bytes
    monkeypatch.setattr(checks, "MOST_BYTES", 6 * each)
    monkeypatch.setattr(checks, "PROMPTS_AT_ONCE", 2)
    prompts = [PROMPTS["box"]] * 7
    assert len(predictor.predict(photo, prompts[:6])) == 6
    message = r"The masks of 7 prompts on a photo of 200 x 150 pixels .* Ask for 6 at a time"
    with pytest.raises(PromptError, match=message):
        predictor.predict(photo, prompts)
    with pytest.raises(PromptError, match=r"of 3 prompts .* Ask for 2 at a time"):
        predictor.predict(photo, prompts[:3], multimask=True)
    # Candidates are not painted: 6 * 34,096 bytes hold 49 of 4,096.
    assert len(predictor.segment(photo, prompts * 7)) == 49
    with pytest.raises(PromptError, match=r"of 50 prompts .* Ask for 49 at a time"):
        predictor.segment(photo, [PROMPTS["box"]] * 50)


@pytest.mark.parametrize(
    ("size_hw", "multimask", "paints", "most"),
    [
        ((3000, 4000), False, True, 357),  # of 12,004,096 bytes each
        ((3000, 4000), True, True, 119),
        ((3000, 4000), True, False, 349_525),  # of 4,096 bytes
        ((8000, 10000), False, True, 64),  # 53 fit, but 64 are always taken
    ],
)
def test_how_many_masks_fit_into_4_gib(
    size_hw: tuple[int, int], multimask: bool, paints: bool, most: int
) -> None:
    photo = np.broadcast_to(np.zeros(3, np.uint8), (*size_hw, 3))
    encoded = EncodedImage(photo, Frame.whole_photo(size_hw, 128), None)
    checks.check_memory(encoded, most, multimask=multimask, paints=paints)
    with pytest.raises(PromptError, match=f"Ask for {most:,} at a time"):
        checks.check_memory(encoded, most + 1, multimask=multimask, paints=paints)


# Shares of the photo in place of pixels


@pytest.mark.parametrize(
    ("prompt", "warned"),
    [
        ({"points_xy": [[0.5, 0.5]]}, "The coordinates 0.5, 0.5 lie between 0 and 1 on a photo of"),
        ({"points_xy": [[0.31, 1], [0, 0.7]]}, "The coordinates 0.31, 1, 0, 0.7 lie between"),
        ({"box_xyxy": [0.1, 0.2, 0.5, 0.9]}, "The coordinates 0.1, 0.2, 0.5, 0.9 lie between"),
        ({"box_xyxy": [0, 0, 1, 1]}, "The coordinates 0, 0, 1, 1 lie between 0 and 1"),
        ({"points_xy": [[0, 0]]}, None),  # the corner
        ({"points_xy": [[1, 0], [1, 1]]}, None),
        ({"points_xy": [[0.5, 1.5]]}, None),
        ({"points_xy": [[0.5, 0.5], [40, 40]]}, None),
        ({"points_xy": [[0.5, 0.5]], "box_xyxy": [0, 0, 9, 9]}, None),
        ({"box_xyxy": [-0.5, 0, 1, 1]}, None),
        ({"mask_logits": np.zeros((32, 32))}, None),
    ],
)
def test_coordinates_between_0_and_1_are_warned_of(
    predictor: Predictor,
    photo: EncodedImage,
    prompt: dict[str, Any],
    warned: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        predictor.predict(photo, [PROMPTS["box"], Prompt(**prompt)])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (warned is not None)
    if warned is not None:
        assert said[0].startswith(warned)
        assert "200 x 150 pixels: they are read as pixels" in said[0]


def test_the_middle_of_a_photo_of_one_pixel_is_no_share(
    predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    photo = predictor.encode(blobs(0, (1, 1)))
    predictor.predict(photo, [Prompt([[0.5, 0.5]]), Prompt(box_xyxy=[0, 0, 1, 1])])
    assert not caplog.records


def test_sizes_are_of_clicks(predictor: Predictor, photo: EncodedImage) -> None:
    box = Prompt(box_xyxy=[30, 40, 120, 110])
    with pytest.raises(PromptError, match="a box says itself how large"):
        predictor.segment(photo, box, size="large")
    mask = Prompt([[60, 70]], mask_logits=np.ones((32, 32)))
    with pytest.raises(PromptError, match="a mask says itself how large"):
        predictor.sizes(photo, [Prompt([[60, 70]]), mask])
    click: Any = {"encoded": photo, "prompts": Prompt([[60, 70]])}
    with pytest.raises(PromptError, match="one of small, medium, large, got 'huge'"):
        predictor.predict(**click, size="huge")  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="leave one of them out"):
        predictor.segment(**click, size="small", multimask=True)
    single = tiny_predictor(ONE_TOKEN)
    with pytest.raises(PromptError, match="no multimask output"):
        single.sizes(single.encode(blobs(0)), Prompt([[60, 70]]))
