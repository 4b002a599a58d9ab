from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzzing import examples
from ovsam.config import CalibrationConfig, ModelConfig
from ovsam.errors import OvsamError, PhotoError, PromptError, VocabularyError
from ovsam.images.frame import Frame
from ovsam.model.device import check_device
from ovsam.predictor import predictor as predicting
from ovsam.predictor.predictor import EncodedImage, Predictor, _CoarseMask, _most_agreed, _named
from ovsam.structures import Prediction, Prompt
from ovsam.text import prototypes
from ovsam.vocabulary.load import load_vocabulary
from tiny_model import ONE_TOKEN, TINY, HashedText, TinyEncoder, tiny_model, tiny_predictor

HEIGHT, WIDTH = 150, 200


def blobs(seed: int, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (*size_hw, 3)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 6), np.float32)
    photo: NDArray[np.uint8] = np.clip((smooth - 127) * 12 + 127, 0, 255).astype(np.uint8)
    return photo


def coarse_mask(seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 8, (32, 32)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3) * 5, np.float32)


BOX = np.array([30.0, 40, 120, 110])
PROMPTS = {
    "box": Prompt(box_xyxy=BOX),
    "box elsewhere": Prompt(box_xyxy=np.array([110.0, 5, 180, 60])),
    "box beyond": Prompt(box_xyxy=np.array([-20.0, 90, 60, 170])),
    "point": Prompt(points_xy=np.array([[60.0, 70]])),
    "points": Prompt(points_xy=np.array([[60.0, 70], [150, 20]]), point_labels=np.array([1, 0])),
    "negative point": Prompt(points_xy=np.array([[60.0, 70]]), point_labels=np.array([0])),
    "box and points": Prompt(
        points_xy=np.array([[60.0, 70], [35, 45]]), point_labels=np.array([1, 0]), box_xyxy=BOX
    ),
    "mask": Prompt(mask_logits=coarse_mask(1)),
    "box and mask": Prompt(box_xyxy=BOX, mask_logits=coarse_mask(2)),
    "all": Prompt(points_xy=np.array([[60.0, 70]]), box_xyxy=BOX, mask_logits=coarse_mask(3)),
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return tiny_predictor()


@pytest.fixture(scope="module")
def photo(predictor: Predictor) -> EncodedImage:
    return predictor.encode(blobs(0))


def assert_same(one: Prediction, other: Prediction) -> None:
    """The same answer but for the rounding of floats."""
    assert one.masks.shape == other.masks.shape
    assert (one.masks != other.masks).mean() < 1e-3
    np.testing.assert_allclose(one.low_res_logits, other.low_res_logits, atol=0.02, rtol=1e-3)
    np.testing.assert_allclose(one.mask_scores, other.mask_scores, atol=1e-3)
    assert [[label.name for label in row] for row in one.labels] == [
        [label.name for label in row] for row in other.labels
    ]
    for ours, theirs in zip(one.labels, other.labels, strict=True):
        scores = [[label.score for label in row] for row in (ours, theirs)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def differ(one: Prediction, other: Prediction) -> bool:
    return not np.allclose(one.low_res_logits, other.low_res_logits, atol=0.1)


# The answer


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_answer(predictor: Predictor, photo: EncodedImage, prompt: Prompt, zoom: bool) -> None:
    [found] = predictor.predict(photo, prompt, zoom=zoom)
    assert found.masks.shape == (1, HEIGHT, WIDTH)
    assert found.low_res_logits.shape == (1, 32, 32)
    assert 0 <= found.mask_scores[0] <= 1
    names = [label.name for label in found.labels[0]]
    scores = [label.score for label in found.labels[0]]
    assert sorted(names) == sorted(predictor.vocabulary.classes)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert sum(scores) < 1  # the background has its share
    rows, columns = np.nonzero(found.mask)
    assert len(rows)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found.boxes_xyxy[0].tolist() == box
    assert found.name == names[0]


def test_prompts_and_photos_matter(predictor: Predictor, photo: EncodedImage) -> None:
    answers = [predictor.predict(photo, prompt, zoom=False)[0] for prompt in PROMPTS.values()]
    for i, one in enumerate(answers):
        assert all(differ(one, other) for other in answers[:i])
    other_photo = predictor.encode(blobs(1))
    assert differ(answers[0], predictor.predict(other_photo, PROMPTS["box"], zoom=False)[0])


def test_zoom_is_the_default_of_a_model_that_has_it(
    predictor: Predictor, photo: EncodedImage
) -> None:
    plain = tiny_predictor(zoom=False)
    assert (predictor.zoom, plain.zoom) == (True, False)
    [zoomed] = predictor.predict(photo, PROMPTS["box"], zoom=True)
    [whole] = predictor.predict(photo, PROMPTS["box"], zoom=False)
    assert differ(zoomed, whole)
    assert_same(predictor.predict(photo, PROMPTS["box"])[0], zoomed)
    assert_same(plain.predict(photo, PROMPTS["box"])[0], whole)


@pytest.mark.parametrize(("zoom", "wrong"), [(False, 0.02), (True, 0.12)], ids=["whole", "zoomed"])
def test_low_resolution_logits_are_the_mask_in_small(
    predictor: Predictor, photo: EncodedImage, zoom: bool, wrong: float
) -> None:
    [found] = predictor.predict(photo, PROMPTS["box"], zoom=zoom)
    large = cv2.resize(found.low_res_logits[0], (WIDTH, WIDTH))[:HEIGHT] > 0

    def differing(dy: int, dx: int) -> float:
        return float((np.roll(large, (dy, dx), (0, 1)) != found.mask).mean())

    assert 0.1 < found.mask.mean() < 0.9
    assert differing(0, 0) < wrong
    assert differing(0, 0) < min(
        differing(-4, 0), differing(4, 0), differing(0, -4), differing(0, 4)
    )


def test_a_prediction_can_be_refined(predictor: Predictor, photo: EncodedImage) -> None:
    [first] = predictor.predict(photo, PROMPTS["point"])
    again = Prompt(
        points_xy=np.array([[60.0, 70], [100, 100]]),
        point_labels=np.array([1, 0]),
        mask_logits=first.low_res_logits[0],
    )
    [second] = predictor.predict(photo, again)
    assert second.masks.shape == first.masks.shape


def test_top(predictor: Predictor, photo: EncodedImage) -> None:
    [all_five] = predictor.predict(photo, PROMPTS["box"], top=99)
    [two] = predictor.predict(photo, PROMPTS["box"], top=2)
    assert len(all_five.labels[0]) == 5
    assert two.labels[0] == all_five.labels[0][:2]


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_names_from_a_box_that_is_given(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    """The masks stay; the names are those of the box, whatever the prompt says."""
    prompts = [PROMPTS["point"], PROMPTS["box"]]
    plain = predictor.predict(photo, prompts, zoom=zoom)
    boxes = np.array([[110, 5, 180, 60], BOX])
    given = predictor.predict(photo, prompts, zoom=zoom, name_boxes_xyxy=boxes)
    for one, other in zip(plain, given, strict=True):
        assert (one.masks == other.masks).all()
        assert (one.low_res_logits == other.low_res_logits).all()
    assert given[0].labels != plain[0].labels
    assert given[1].labels == plain[1].labels, "the prompt's own box"


def test_boxes_to_name_that_do_not_fit(predictor: Predictor, photo: EncodedImage) -> None:
    ask = functools.partial(predictor.predict, photo, PROMPTS["point"])
    with pytest.raises(PromptError, match="each of the 1 prompts, got 2"):
        ask(name_boxes_xyxy=[BOX, BOX])
    with pytest.raises(PromptError, match=r"shape \(4,\)"):
        ask(name_boxes_xyxy=[[1, 2, 3]])
    with pytest.raises(PromptError, match="outside the photo"):
        ask(name_boxes_xyxy=[[300, 2, 310, 9]])


# Several prompts, threads, photos


@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_several_prompts_at_once_equal_one_by_one(
    predictor: Predictor, photo: EncodedImage, zoom: bool, multimask: bool
) -> None:
    prompts = list(PROMPTS.values()) * 2  # more than are zoomed on together
    together = predictor.predict(photo, prompts, zoom=zoom, multimask=multimask)
    assert len(together) == len(prompts)
    for prompt, found in zip(PROMPTS.values(), together, strict=False):
        [alone] = predictor.predict(photo, prompt, zoom=zoom, multimask=multimask)
        assert_same(found, alone)


def test_no_prompts_no_answers(predictor: Predictor, photo: EncodedImage) -> None:
    assert predictor.predict(photo, []) == []


def test_encoding_leaves_no_hidden_state(predictor: Predictor) -> None:
    """Two photos in turn get the answers that each gets from a predictor of its own."""
    photos = [blobs(0), blobs(1, (90, 260))]
    apart = []
    for pixels in photos:
        alone = tiny_predictor()
        apart.append(alone.predict(alone.encode(pixels), PROMPTS["point"], multimask=True)[0])
    encoded = [predictor.encode(pixels) for pixels in photos]
    for _ in range(2):
        for one, expected in zip(encoded, apart, strict=True):
            assert_same(predictor.predict(one, PROMPTS["point"], multimask=True)[0], expected)


def test_threads_get_the_answers_of_one_thread(predictor: Predictor) -> None:
    encoded = [predictor.encode(blobs(seed)) for seed in range(2)]
    names = ["cat, dog", "lamp, mug, tree, sky"]
    jobs = [
        (encoded[i % 2], prompt, names[i // 2 % 2])
        for i, prompt in enumerate(list(PROMPTS.values()) * 2)
    ]

    def answer(job: tuple[EncodedImage, Prompt, str]) -> Prediction:
        one, prompt, vocabulary = job
        return shared.predict(one, prompt, vocabulary=vocabulary)[0]

    shared = tiny_predictor()
    serial = [answer(job) for job in jobs]
    shared = tiny_predictor()  # knows no vocabulary yet
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(answer, jobs), serial, strict=True):
            assert_same(found, expected)


def test_encoding_in_threads(predictor: Predictor) -> None:
    photos = [blobs(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(
            lambda pixels: predictor.predict(predictor.encode(pixels), PROMPTS["box"])[0], photos
        )
        for pixels, prediction in zip(photos, found, strict=True):
            [expected] = predictor.predict(predictor.encode(pixels), PROMPTS["box"])
            assert_same(prediction, expected)


def test_changing_the_vocabulary_neither_encodes_nor_loads() -> None:
    model, text = tiny_model(), HashedText()
    assert isinstance(model.encoder, TinyEncoder)
    predictor = tiny_predictor(model=model, text=text)
    photo = predictor.encode(blobs(0))
    assert not text.asked  # nothing is embedded before it is needed
    [first] = predictor.predict(photo, PROMPTS["box"], zoom=False)
    assert sorted(text.asked) == sorted(predictor.vocabulary.classes)
    text.asked.clear()
    [other] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, spoon", zoom=False)
    assert text.asked == ["spoon"]
    assert {label.name for label in other.labels[0]} == {"cat", "spoon"}
    assert model.encoder.calls == 1
    np.testing.assert_array_equal(first.masks, other.masks)
    predictor.predict(photo, PROMPTS["box"], vocabulary=["spoon", "cat"], zoom=False)
    [back] = predictor.predict(photo, PROMPTS["box"], zoom=False)
    assert text.asked == ["spoon"]
    assert_same(first, back)


def test_prepare_embeds_ahead() -> None:
    text = HashedText()
    predictor = tiny_predictor(text=text)
    predictor.prepare("pen, ink")
    assert sorted(text.asked) == ["ink", "pen"]
    predictor.predict(predictor.encode(blobs(0)), PROMPTS["box"], vocabulary="pen, ink")
    assert sorted(text.asked) == ["ink", "pen"]
    with pytest.raises(VocabularyError):
        predictor.prepare("pen, !pen")


def test_an_edit_of_a_long_vocabulary_embeds_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prototypes, "LARGE", 8)
    text = HashedText()
    predictor = tiny_predictor(text=text)
    photo = predictor.encode(blobs(0))
    names = load_vocabulary([f"thing {i}/object {i}" for i in range(40)])
    [before] = predictor.predict(photo, PROMPTS["box"], vocabulary=names, top=40, zoom=False)
    text.asked.clear()
    edited = names.with_class("gadget").without("gadget").renamed("thing 7", "mug")
    [after] = predictor.predict(photo, PROMPTS["box"], vocabulary=edited, top=40, zoom=False)
    assert text.asked == ["mug"]
    logs = [
        {label.name: np.log(label.score) for label in found.labels[0] if label.name not in left}
        for found, left in ((before, {"thing 7"}), (after, {"mug"}))
    ]
    shifts = [logs[1][name] - logs[0][name] for name in logs[0]]
    assert logs[0].keys() == logs[1].keys() and np.ptp(shifts) < 1e-3  # but for one class the same


def test_more_vocabularies_than_are_kept() -> None:
    predictor = tiny_predictor()
    photo = predictor.encode(blobs(0))
    [first] = predictor.predict(photo, PROMPTS["box"], vocabulary="a, b", zoom=False)
    for i in range(40):
        predictor.prepare(f"a, name {i}")
    [again] = predictor.predict(photo, PROMPTS["box"], vocabulary="a, b", zoom=False)
    assert_same(first, again)


# Multimask


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_three_masks_best_first(predictor: Predictor, photo: EncodedImage, zoom: bool) -> None:
    prompts = [PROMPTS["point"], PROMPTS["box"], PROMPTS["points"]]
    for found in predictor.predict(photo, prompts, multimask=True, zoom=zoom):
        assert found.masks.shape == (3, HEIGHT, WIDTH)
        assert found.low_res_logits.shape == (3, 32, 32)
        assert len(found.labels) == 3
        assert list(found.mask_scores) == sorted(found.mask_scores, reverse=True)
        assert (found.masks[0] != found.masks[1]).mean() > 0.01


def test_a_model_of_one_token() -> None:
    predictor = tiny_predictor(ONE_TOKEN)
    assert (predictor.mask_tokens, predictor.has_mask_scores) == (1, False)
    photo = predictor.encode(blobs(0))
    [found] = predictor.predict(photo, PROMPTS["box"])
    assert found.masks.shape == (1, HEIGHT, WIDTH)
    assert np.isnan(found.mask_scores).all()
    with pytest.raises(PromptError, match=r"tiny-released has no multimask output: .* one mask"):
        predictor.predict(photo, PROMPTS["box"], multimask=True)


# Bad input


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
    with pytest.raises(PhotoError, match=r"got ndarray\. Encode the photo first"):
        predictor.predict(blobs(0), PROMPTS["box"])  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="name_boxes_xyxy must be boxes, got 5"):
        predictor.predict(photo, PROMPTS["box"], name_boxes_xyxy=5)  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="Each of name_boxes_xyxy must be an array of numbers"):
        predictor.predict(photo, PROMPTS["box"], name_boxes_xyxy=[None])  # type: ignore[list-item]


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_many_prompts_are_answered_in_groups(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch, zoom: bool
) -> None:
    """However many there are, no more squares are held than of one group."""
    prompts = [PROMPTS["box"], PROMPTS["point"], PROMPTS["box beyond"]] * 3
    together = predictor.predict(photo, prompts, zoom=zoom)
    sizes, answers = [], Predictor._answers

    def spy(self: Predictor, encoded: EncodedImage, some: Sequence[Prompt], *rest: bool) -> Any:
        sizes.append(len(some))
        return answers(self, encoded, some, *rest)

    monkeypatch.setattr(predicting, "SQUARES_AT_ONCE" if zoom else "PROMPTS_AT_ONCE", 4)
    monkeypatch.setattr(Predictor, "_answers", spy)
    grouped = predictor.predict(photo, prompts, zoom=zoom)
    assert sizes == [4, 4, 1]
    for one, other in zip(grouped, together, strict=True):
        assert_same(one, other)


def test_more_masks_than_fit_are_refused_before_the_work(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = HEIGHT * WIDTH + 4 * 32 * 32  # bytes
    monkeypatch.setattr(predicting, "MOST_BYTES", 6 * each)
    monkeypatch.setattr(predicting, "PROMPTS_AT_ONCE", 2)
    prompts = [PROMPTS["box"]] * 7
    assert len(predictor.predict(photo, prompts[:6])) == 6
    message = r"The masks of 7 prompts on a photo of 200 x 150 pixels .* Ask for 6 at a time"
    with pytest.raises(PromptError, match=message):
        predictor.predict(photo, prompts)
    with pytest.raises(PromptError, match=r"of 3 prompts .* Ask for 2 at a time"):
        predictor.predict(photo, prompts[:3], multimask=True)


@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
@pytest.mark.parametrize("prompt", ["box", "point"])
def test_logits_of_the_masks(
    predictor: Predictor, photo: EncodedImage, prompt: str, zoom: bool, multimask: bool
) -> None:
    [found] = predictor.predict(
        photo, PROMPTS[prompt], zoom=zoom, multimask=multimask, return_logits=True
    )
    [plain] = predictor.predict(photo, PROMPTS[prompt], zoom=zoom, multimask=multimask)
    assert plain.logits is None
    assert found.logits is not None and found.logits.dtype == np.float32
    assert np.array_equal(found.logits > 0, plain.masks)
    assert np.array_equal(found.masks, plain.masks)


# Boxes that stick out


@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
@pytest.mark.parametrize(
    "within", [(0, 0, WIDTH, HEIGHT), (150, 0, WIDTH, 60)], ids=["all", "part"]
)
def test_a_box_is_its_part_within_the_photo(
    predictor: Predictor,
    photo: EncodedImage,
    within: tuple[int, int, int, int],
    zoom: bool,
    multimask: bool,
) -> None:
    """To the digit, and so are the names of a box that is given for them."""
    x0, y0, x1, y1 = within
    ask = functools.partial(predictor.predict, photo, zoom=zoom, multimask=multimask)
    point = Prompt(points_xy=np.array([[160.0, 30]]))
    [expected] = ask(Prompt(box_xyxy=np.array(within)))
    [named] = ask(point, name_boxes_xyxy=[within])
    for out in (0.5, 10, 300, 2000, 1e7, 1e9 - 1e3):
        box = [x0 - out if x0 == 0 else x0, y0 - 2 * min(out, 1e8), x1 + out / 3, y1]
        box[3] += out if y1 == HEIGHT else 0
        [found] = ask(Prompt(box_xyxy=np.array(box)))
        assert np.array_equal(found.masks, expected.masks)
        assert np.array_equal(found.low_res_logits, expected.low_res_logits)
        assert found.labels == expected.labels
        assert ask(point, name_boxes_xyxy=[box])[0].labels == named.labels


def assert_finite(found: Prediction) -> None:
    assert np.isfinite(found.low_res_logits).all()
    assert np.isfinite(found.mask_scores).all()
    assert np.isfinite(found.none_scores).all()
    assert all(0 <= label.score <= 1 for row in found.labels for label in row)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_a_box_of_which_the_photo_has_next_to_nothing(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    for box in (
        [WIDTH - 1e-9, 10, WIDTH + 50, 90],
        [-5, -5, 1e-300, 5],
        [10, HEIGHT - 1e-12, 90, HEIGHT + 1e9 - HEIGHT],
        [50, 50, np.nextafter(50, 51), np.nextafter(50, 51)],
    ):
        for found in predictor.predict(photo, Prompt(box_xyxy=box), zoom=zoom, multimask=True):
            assert_finite(found)


ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)
NEAR = st.floats(-10, 210) | st.sampled_from([0.0, -0.0, 5e-324, 1.0, 149.99999999, 150.0, 200.0])
COORDINATE = NEAR | ANY_NUMBER | st.floats(-1e9, 1e9)


@pytest.mark.fuzz
@settings(max_examples=examples(60), deadline=None)
@given(
    points=st.lists(st.tuples(NEAR | COORDINATE, NEAR | COORDINATE, st.integers(0, 1)), max_size=3),
    box=st.none() | st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE),
    level=st.none() | ANY_NUMBER | st.floats(-1e9, 1e9),
    zoom=st.booleans(),
    multimask=st.booleans(),
)
@example(points=[], box=(-1e9, -1e9, 1e9, 1e9), level=None, zoom=True, multimask=False)
@example(points=[(0.0, 0.0, 0)], box=None, level=1e9, zoom=True, multimask=True)
@example(points=[], box=None, level=-1e9, zoom=False, multimask=False)
def test_any_numbers_are_answered_or_refused(
    predictor: Predictor,
    photo: EncodedImage,
    points: list[tuple[float, float, int]],
    box: tuple[float, float, float, float] | None,
    level: float | None,
    zoom: bool,
    multimask: bool,
) -> None:
    try:
        prompt = Prompt(
            points_xy=[point[:2] for point in points],
            point_labels=[point[2] for point in points],
            box_xyxy=box,
            mask_logits=None if level is None else np.full((32, 32), level),
        )
        [found] = predictor.predict(photo, prompt, zoom=zoom, multimask=multimask)
    except PromptError as error:
        assert "\n" not in str(error)
        return
    assert found.masks.shape == (3 if multimask else 1, HEIGHT, WIDTH)
    assert_finite(found)


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


def test_prompts_on_the_very_edge(predictor: Predictor, photo: EncodedImage) -> None:
    corners = [[0.0, 0], [WIDTH, HEIGHT], [WIDTH, 0], [0, HEIGHT]]
    prompts = [Prompt(points_xy=np.array([corner])) for corner in corners]
    prompts.append(Prompt(box_xyxy=np.array([WIDTH - 0.1, HEIGHT - 0.1, WIDTH + 50, HEIGHT + 50])))
    prompts.append(Prompt(box_xyxy=np.array([0.0, 0, WIDTH, HEIGHT])))
    for found in predictor.predict(photo, prompts):
        assert found.masks.shape == (1, HEIGHT, WIDTH)


def test_odd_photos(predictor: Predictor) -> None:
    for size_hw in ((1, 1), (1, 300), (400, 3)):
        photo = predictor.encode(blobs(0, size_hw))
        height, width = size_hw
        prompts = [
            Prompt(box_xyxy=np.array([0.0, 0, width, height])),
            Prompt(points_xy=np.array([[width / 2, height / 2]])),
        ]
        for found in predictor.predict(photo, prompts):
            assert found.masks.shape == (1, height, width)


# Immutable


def test_results_are_frozen(predictor: Predictor, photo: EncodedImage) -> None:
    [found] = predictor.predict(photo, PROMPTS["box"])
    for array in (found.masks, found.mask_scores, found.boxes_xyxy, found.low_res_logits):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    changes: list[Callable[[], None]] = [
        lambda: setattr(found, "masks", found.masks),
        lambda: setattr(photo, "photo", photo.photo),
    ]
    for change in changes:
        with pytest.raises(FrozenInstanceError):
            change()
    with pytest.raises(ValueError, match="read-only"):
        photo.photo[...] = 0


def test_an_encoded_photo_is_the_callers_no_more(predictor: Predictor) -> None:
    pixels = blobs(0)
    photo = predictor.encode(pixels)
    [before] = predictor.predict(photo, PROMPTS["box"])
    pixels[...] = 0
    [after] = predictor.predict(photo, PROMPTS["box"])
    assert_same(before, after)


# Coordinates


@pytest.mark.parametrize("pad", [16, 37])
def test_a_zoomed_mask_moves_with_the_photo(
    predictor: Predictor, photo: EncodedImage, pad: int
) -> None:
    """More photo on the left and above shifts what a prompt finds, and changes nothing else."""
    wider = predictor.encode(np.pad(blobs(0), ((pad, 0), (pad, 0), (0, 0)), mode="edge"))
    box = np.array([70.0, 55, 120, 95])  # its square lies in the photo
    points = np.array([[90.0, 70], [75, 60]])
    labels = np.array([1, 0])
    for here, there in (
        (Prompt(box_xyxy=box), Prompt(box_xyxy=box + pad)),
        (Prompt(points, labels, box), Prompt(points + pad, labels, box + pad)),
    ):
        [found] = predictor.predict(photo, here, zoom=True)
        [moved] = predictor.predict(wider, there, zoom=True)
        assert found.mask.sum() > 100
        assert not moved.mask[:pad].any()
        different = moved.mask[pad:, pad:] != found.mask
        assert different.sum() < 0.02 * found.mask.sum()
        np.testing.assert_allclose(moved.boxes_xyxy, found.boxes_xyxy + pad, atol=1)
        assert moved.name == found.name


def test_a_box_is_answered_by_the_mean_of_its_squares(
    predictor: Predictor, photo: EncodedImage
) -> None:
    """Each square alone gives what the mean is made of."""
    config, default = predictor.config, predictor.config.zoom
    assert default is not None
    prompt = Prompt(box_xyxy=np.array([60.0, 40, 130, 110]))

    def logits(*contexts: float) -> NDArray[np.float32]:
        zoom = replace(default, crop_scales=contexts)
        looking = tiny_predictor(replace(config, zoom=zoom))
        [found] = looking.predict(photo, prompt, zoom=True)
        return np.asarray(found.low_res_logits[0])

    wide, narrow = logits(1.6), logits(1.3)
    inside = (slice(8, 14), slice(11, 19))  # cells that every view shows
    both = logits(1.6, 1.3)[inside]
    np.testing.assert_allclose(both, (wide + narrow)[inside] / 2, atol=0.3)
    assert (
        np.abs(both - wide[inside]).mean() > 2 * np.abs(both - (wide + narrow)[inside] / 2).mean()
    )


def test_a_mirrored_model_would_be_noticed(predictor: Predictor, photo: EncodedImage) -> None:
    """The zoomed mask stays in the square around the box: rows are rows, columns columns."""
    box = np.array([20.0, 100, 60, 110])
    [found] = predictor.predict(photo, Prompt(box_xyxy=box), zoom=True)
    rows, columns = np.nonzero(found.mask)
    side = 40 * 1.6
    assert columns.min() >= 40 - side / 2 - 1 and columns.max() <= 40 + side / 2 + 1
    assert rows.min() >= 105 - side / 2 - 1 and rows.max() <= 105 + side / 2 + 1


def test_the_mask_that_most_views_agree_on() -> None:
    """Masks of two frames; a frame's logits are (input / 4)² cells."""
    whole = Frame.whole_photo((128, 128), 128)  # 32 x 32 cells of 4 pixels
    square = Frame.square_around((32, 32, 64, 64), 2.0, 128)  # 32 x 32 cells of 2 pixels

    def cells(frame: Frame, x0: int, y0: int, x1: int, y1: int) -> _CoarseMask:
        logits = np.full((frame.input_hw[0] // 4,) * 2, -5, np.float32)
        logits[y0:y1, x0:x1] = 5
        return _CoarseMask(frame, logits)

    object_in_whole = cells(whole, 8, 8, 16, 16)  # photo pixels 32 to 64
    object_in_square = cells(square, 8, 8, 24, 24)  # the same
    elsewhere = cells(whole, 20, 20, 28, 28)
    cut_off = cells(square, 0, 0, 32, 32)  # fills its square: goes on beyond it
    masks = [elsewhere, object_in_whole, cut_off, object_in_square]
    even = np.array([0.6, 0.5, 0.9, 0.5], np.float32)
    assert _most_agreed(masks, even, whole) in (1, 3)  # 0.5 + 0.5 of the object against 0.6
    sure = np.array([1.0, 0.2, 0.9, 0.2], np.float32)
    assert _most_agreed(masks, sure, whole) == 0
    assert _most_agreed([cut_off], np.array([0.4], np.float32), whole) == 0  # nothing else to take
    # Three that overlap by 0.6 from one to the next are not one object; two copies are.
    shifted = [cells(whole, x, 20, x + 8, 28) for x in (16, 18, 20)]
    both = [*shifted, object_in_whole, object_in_square]
    assert _most_agreed(both, np.full(5, 0.5, np.float32), whole) in (3, 4)


# Probabilities


def calibrated(temperature: float, threshold: float = 0.0, classes: int = 5) -> ModelConfig:
    calibration = CalibrationConfig(temperature=temperature, threshold=threshold, classes=classes)
    return replace(TINY, calibration=calibration)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_a_temperature_divides_the_log_scores(zoom: bool) -> None:
    pixels = blobs(0)
    plain, hot = tiny_predictor(), tiny_predictor(calibrated(2.0))
    [one] = plain.predict(plain.encode(pixels), PROMPTS["box"], zoom=zoom)
    [other] = hot.predict(hot.encode(pixels), PROMPTS["box"], zoom=zoom)
    assert [name for name, _ in one.labels[0]] == [name for name, _ in other.labels[0]]
    before = np.array([*(score for _, score in one.labels[0]), one.none_scores[0]])
    after = np.array([*(score for _, score in other.labels[0]), other.none_scores[0]])
    assert before.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(after, before**0.5 / (before**0.5).sum(), rtol=1e-3)


def test_none_of_these_is_a_first_name_below_the_threshold(
    predictor: Predictor, photo: EncodedImage
) -> None:
    [found] = predictor.predict(photo, PROMPTS["box"])
    first = found.labels[0][0].score
    assert found.none_of_these == (False,), "a model that is not calibrated refuses nothing"
    for threshold, refused in ((first * 0.999, False), (first * 1.001, True)):
        [again] = predictor.predict(photo, PROMPTS["box"], threshold=threshold)
        assert again.none_of_these == (refused,)
        assert again.labels == found.labels
        assert (again.masks == found.masks).all()
    three = predictor.predict(photo, PROMPTS["point"], multimask=True, threshold=1.0)[0]
    assert three.none_of_these == (True, True, True)
    assert three.none_scores.shape == (3,)


def test_the_models_own_threshold_is_for_vocabularies_no_larger_than_its_own() -> None:
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=5))
    photo = predictor.encode(blobs(0))
    [five] = predictor.predict(photo, PROMPTS["box"])
    [six] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug, tree, lamp, sky")
    [told] = predictor.predict(photo, PROMPTS["box"], threshold=0.0)
    assert (five.none_of_these, six.none_of_these) == ((True,), (False,))
    assert told.none_of_these == (False,)
    assert (five.calibrated, six.calibrated, told.calibrated) == (True, False, True)


def test_scores_of_a_much_shorter_list_are_no_probabilities() -> None:
    """Two names take the share of all that neither is of; the threshold is for them, too."""
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=5))
    photo = predictor.encode(blobs(0))
    [two] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog")
    [three] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug")
    assert (two.calibrated, three.calibrated) == (False, True)
    assert (two.none_of_these, three.none_of_these) == ((True,), (True,))


def test_a_model_that_was_never_calibrated_says_so(
    predictor: Predictor, photo: EncodedImage
) -> None:
    assert not predictor.predict(photo, PROMPTS["box"])[0].calibrated


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability(
    predictor: Predictor, photo: EncodedImage, threshold: float
) -> None:
    with pytest.raises(PromptError, match="threshold must be a probability"):
        predictor.predict(photo, PROMPTS["box"], threshold=threshold)


def test_an_uncertain_name_comes_with_its_kind(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dogs = "dalmatian, beagle, poodle, corgi, boxer, teapot"
    [unsure] = predictor.predict(photo, PROMPTS["box"], vocabulary=dogs, top=6)
    [kind] = unsure.kinds
    assert unsure.labels[0][0].score < 0.8
    assert kind is not None
    assert kind.name == "dog"
    said = [score for name, score in unsure.labels[0] if name != "teapot"]
    assert kind.score == pytest.approx(sum(said), abs=1e-5)
    alone = predictor.predict(photo, PROMPTS["box"], vocabulary=dogs.removesuffix(", teapot"))
    assert alone[0].kinds == (None,), "which the list itself says of everything"
    [mixed] = predictor.predict(photo, PROMPTS["box"], vocabulary="dalmatian, teapot, sky, idea")
    assert mixed.kinds == (None,)
    monkeypatch.setattr("ovsam.predictor.predictor.CERTAIN", unsure.labels[0][0].score)
    assert predictor.predict(photo, PROMPTS["box"], vocabulary=dogs)[0].kinds == (None,)


@pytest.mark.parametrize("words", ["Couch, daybed", "sofas, daybed", "old seat/couch, daybed"])
def test_a_kind_that_repeats_the_name_is_not_said(words: str) -> None:
    vocabulary = load_vocabulary(f"{words}, cup")
    named = _named(torch.tensor([[0.6, 0.3, 0.0, 0.1]]), vocabulary, 1, 0.0)
    assert named.kinds == (None,)
    [other] = _named(torch.tensor([[0.3, 0.6, 0.0, 0.1]]), vocabulary, 1, 0.0).kinds
    assert other is not None


def test_a_vocabulary_with_templates_of_its_own() -> None:
    text = HashedText()
    predictor = tiny_predictor(text=text)
    photo = predictor.encode(blobs(0))
    names = load_vocabulary("cat, dog")
    [plain] = predictor.predict(photo, PROMPTS["box"], vocabulary=names)
    text.asked.clear()
    sketches = replace(names, templates=("a sketch of a {}.",))
    [drawn] = predictor.predict(photo, PROMPTS["box"], vocabulary=sketches)
    assert text.asked == ["a sketch of a cat.", "a sketch of a dog."]
    assert dict(drawn.labels[0]) != dict(plain.labels[0])


def test_a_threshold_is_of_the_classes_that_may_be_the_answer() -> None:
    """As calibration counts them: a class with a `!` only competes."""
    predictor = tiny_predictor(calibrated(1.0, threshold=1.0, classes=2))
    photo = predictor.encode(blobs(0))
    names = load_vocabulary("cat, dog, !mug")
    [found] = predictor.predict(photo, PROMPTS["box"], vocabulary=names)
    assert found.none_of_these == (True,)
    [found] = predictor.predict(photo, PROMPTS["box"], vocabulary="cat, dog, mug")
    assert found.none_of_these == (False,)


@pytest.mark.parametrize(
    "device", ["", " ", "CPU", "meta", "cpu:5", "cpu:", "abacus", "cuda:99", "cuda:-1", "cuda:x\n"]
)
def test_a_device_that_is_not_there_is_one_sentence(device: str) -> None:
    with pytest.raises(OvsamError, match=r"^(The device|device must be) .*\.$") as caught:
        check_device(device)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_there() -> None:
    check_device("cpu")
    check_device("cpu:0")
