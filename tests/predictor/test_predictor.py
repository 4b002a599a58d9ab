from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzzing import examples
from ovsam.errors import PromptError, VocabularyError
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage
from ovsam.structures import Prediction, Prompt
from ovsam.text import prototypes
from ovsam.vocabulary.load import load_vocabulary
from predictor.scenes import BOX, HEIGHT, PROMPTS, WIDTH, assert_same, blobs, differ
from tiny_model import ONE_TOKEN, TINY, HashedText, TinyEncoder, tiny_model, tiny_predictor

# The answer


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_answer(predictor: Predictor, photo: EncodedImage, prompt: Prompt, zoom: bool) -> None:
    [found] = predictor.predict(photo, prompt, zoom=zoom)
    assert found.masks.shape == (1, HEIGHT, WIDTH)
    assert found.low_res_logits.shape == (1, 32, 32)
    assert 0 <= found.predicted_iou[0] <= 1
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
    """The mask so far and a click beside it: both matter, and the mask is given as it was."""
    click = {"points_xy": np.array([[60.0, 70], [100, 100]]), "point_labels": np.array([1, 0])}
    [first] = predictor.predict(photo, PROMPTS["point"], zoom=False)
    low_res = first.low_res_logits[0]
    [alone] = predictor.predict(photo, Prompt(**click), zoom=False)
    [second] = predictor.predict(photo, Prompt(**click, mask_logits=low_res), zoom=False)
    [mirrored] = predictor.predict(photo, Prompt(**click, mask_logits=low_res[:, ::-1]), zoom=False)
    assert differ(second, first) and differ(second, alone) and differ(second, mirrored)
    [candidates] = predictor.segment(photo, PROMPTS["point"], zoom=False)
    again = Prompt(**click, mask_logits=candidates.low_res_logits[0])
    assert_same(predictor.predict(photo, again, zoom=False)[0], second)


def test_top(predictor: Predictor, photo: EncodedImage) -> None:
    [all_five] = predictor.predict(photo, PROMPTS["box"], top=99)
    [two] = predictor.predict(photo, PROMPTS["box"], top=2)
    assert len(all_five.labels[0]) == 5
    assert two.labels[0] == all_five.labels[0][:2]


def test_nothing_is_computed_that_nobody_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks need no features for names, and names none for masks."""
    predictor = tiny_predictor()
    asked: list[tuple[int, bool, bool]] = []
    encode = predictor._backend.encode

    def spy(contents: Any, input_hw: Any, *, masked: bool = True, named: bool = True) -> Any:
        asked.append((len(contents), masked, named))
        return encode(contents, input_hw, masked=masked, named=named)

    monkeypatch.setattr(predictor._backend, "encode", spy)

    def calls() -> list[tuple[int, bool, bool]]:
        made = asked.copy()
        asked.clear()
        return made

    photo = predictor.encode(blobs(0))
    assert calls() == [(1, True, True)]
    box, click = PROMPTS["box"], PROMPTS["point"]
    found = predictor.segment(photo, [box, click])
    assert calls() == [(3, True, False), (3, True, False)]  # three squares to search, three to see
    predictor.name(photo, found)
    assert calls() == [(3, False, True)]
    predictor.name(photo, found[0], zoom=False)
    assert calls() == [(2, False, True)], "candidates are looked at as they were found"
    predictor.name(photo, BOX, zoom=False)
    assert calls() == []
    predictor.predict(photo, [box, click])
    assert calls() == [(3, True, False), (3, True, True)]
    alone = Predictor(TINY, predictor._backend, None, predictor.vocabulary)
    alone.encode(blobs(0))
    assert calls() == [(1, True, False)]


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


def test_a_photo_that_others_have_resized(predictor: Predictor) -> None:
    """What they made of it is encoded, and not what would be made here."""
    pixels = blobs(0)
    plain = predictor.encode(pixels)
    own = plain.frame.cut(pixels).astype(np.float32)
    [expected], [same], [other] = (
        predictor.segment(encoded, PROMPTS["box"], zoom=False)
        for encoded in (
            plain,
            predictor.encode(pixels, own),
            predictor.encode(pixels, 255 - own),
        )
    )
    assert (same.mask_logits == expected.mask_logits).all()
    assert not np.allclose(other.mask_logits, expected.mask_logits, atol=0.1)


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
    steps: list[tuple[int, int]] = []
    prepared = predictor.prepare("pen, ink", lambda *step: steps.append(step))
    assert prepared.classes == ("pen", "ink")
    assert steps and steps[-1] == (2, 2)
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
        assert list(found.predicted_iou) == sorted(found.predicted_iou, reverse=True)
        assert (found.masks[0] != found.masks[1]).mean() > 0.005


def test_a_model_of_one_token(predictor: Predictor) -> None:
    assert (predictor.mask_tokens, predictor.has_mask_scores) == (4, True)
    predictor = tiny_predictor(ONE_TOKEN)
    assert (predictor.mask_tokens, predictor.has_mask_scores) == (1, False)
    photo = predictor.encode(blobs(0))
    [found] = predictor.predict(photo, PROMPTS["box"])
    assert found.masks.shape == (1, HEIGHT, WIDTH)
    assert np.isnan(found.predicted_iou).all()
    with pytest.raises(PromptError, match=r"tiny-released has no multimask output: .* one mask"):
        predictor.predict(photo, PROMPTS["box"], multimask=True)


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
    """To the digit."""
    x0, y0, x1, y1 = within
    ask = functools.partial(predictor.predict, photo, zoom=zoom, multimask=multimask)
    [expected] = ask(Prompt(box_xyxy=np.array(within)))
    for out in (0.5, 10, 300, 2000, 1e7, 1e9 - 1e3):
        box = [x0 - out if x0 == 0 else x0, y0 - 2 * min(out, 1e8), x1 + out / 3, y1]
        box[3] += out if y1 == HEIGHT else 0
        [found] = ask(Prompt(box_xyxy=np.array(box)))
        assert np.array_equal(found.masks, expected.masks)
        assert np.array_equal(found.low_res_logits, expected.low_res_logits)
        assert found.labels == expected.labels


def assert_finite(found: Prediction) -> None:
    assert np.isfinite(found.low_res_logits).all()
    assert np.isfinite(found.predicted_iou).all()
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


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_prompts_on_the_very_edge(photo: EncodedImage, zoom: bool) -> None:
    """They are answered as those a hundredth of a pixel further in."""
    # Without a search: of random masks that rank nearly alike another may come first.
    assert TINY.zoom is not None
    predictor = tiny_predictor(replace(TINY, zoom=replace(TINY.zoom, click_scales=())))
    corners = np.array([[0.0, 0], [WIDTH, HEIGHT], [WIDTH, 0], [0, HEIGHT]])
    within = np.clip(corners, 1.01, [WIDTH - 0.01, HEIGHT - 0.01])
    edge = [Prompt(points_xy=[corner]) for corner in corners[1:]]
    near = [Prompt(points_xy=[corner]) for corner in np.where(corners, within, 0)[1:]]
    edge.append(Prompt(box_xyxy=[WIDTH - 40, HEIGHT - 30, WIDTH + 50, HEIGHT + 50]))
    near.append(Prompt(box_xyxy=[WIDTH - 40, HEIGHT - 30, WIDTH - 0.01, HEIGHT - 0.01]))
    found, expected = (predictor.predict(photo, prompts, zoom=zoom) for prompts in (edge, near))
    for one, other in zip(found, expected, strict=True):
        assert (one.mask != other.mask).mean() < 0.01
        assert one.name == other.name


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (400, 3)], ids=str)
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_odd_photos(predictor: Predictor, size_hw: tuple[int, int], zoom: bool) -> None:
    """Along the longer side the mask is that of the low resolution's first row or column."""
    photo = predictor.encode(blobs(0, size_hw))
    height, width = size_hw
    longest = max(size_hw)
    places = (np.arange(longest) + 0.5) * 32 / longest - 0.5  # in cells
    prompts = [
        Prompt(box_xyxy=np.array([0.0, 0, width, height])),
        Prompt(points_xy=np.array([[width / 2, height / 2]])),
    ]
    for found in predictor.predict(photo, prompts, zoom=zoom):
        assert found.masks.shape == (1, height, width)
        along = found.low_res_logits[0][0] if width >= height else found.low_res_logits[0][:, 0]
        expected = np.interp(places, np.arange(32), along) > 0
        mask = found.mask.mean(0 if width >= height else 1) > 0.5
        if size_hw != (1, 1) or not zoom:  # a cell of the whole photo tells nothing of its square
            assert (mask != expected).mean() < 0.2


# Immutable


def test_results_are_frozen(predictor: Predictor, photo: EncodedImage) -> None:
    [found] = predictor.predict(photo, PROMPTS["box"])
    for array in (found.masks, found.predicted_iou, found.boxes_xyxy, found.low_res_logits):
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
