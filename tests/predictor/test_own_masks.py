"""Masks and boxes of the user's own, as the model sees them and as it names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ovsam.errors import PromptError
from ovsam.images.frame import Frame
from ovsam.predictor.own_masks import candidates_to_name, grouped
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage
from predictor.scenes import BOX, HEIGHT, PROMPTS, WIDTH, blobs

MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
MASK[40:110, 30:120] = True  # fills BOX


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_a_mask_that_fills_its_box_is_named_as_the_box(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    by_mask, by_box = predictor.name(photo, [MASK, BOX], zoom=zoom, top=9)
    assert [name for name, _ in by_mask.labels[0]] == [name for name, _ in by_box.labels[0]]
    for (_, one), (_, other) in zip(by_mask.labels[0], by_box.labels[0], strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    elsewhere = [110, 5, 180, 60]
    assert predictor.name(photo, elsewhere, zoom=zoom)[0].labels != by_box.labels
    whole, squares = (predictor.name(photo, BOX, zoom=z)[0] for z in (False, True))
    assert whole.labels != squares.labels


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_it_is_looked_at_as_a_box_prompt_is(
    predictor: Predictor, photo: EncodedImage, zoom: bool
) -> None:
    """In the same squares, and from the same box: only the mask within differs."""
    [prompted] = predictor.segment(photo, PROMPTS["box"], zoom=zoom)
    squares = predictor._zoom if zoom else None
    for given in (MASK, BOX):
        [own] = candidates_to_name(photo, given, squares)
        assert [view.frame for view in own.views] == [view.frame for view in prompted.views]
        assert own.box_xyxy is not None and own.box_xyxy.tolist() == BOX.tolist()
        assert np.isnan(own.predicted_iou).all()
    # The tiny model's heads look at boxes alone, so the names are those of the prompt.
    [mine] = predictor.name(photo, MASK, zoom=zoom)
    [theirs] = predictor.name(photo, prompted)
    for (name, one), (other, score) in zip(mine.labels[0], theirs.labels[0], strict=True):
        assert name == other
        assert one == pytest.approx(score, abs=1e-3)


def test_cells_tell_how_much_is_covered() -> None:
    """A photo of 32 x 32 pixels seen at 128 x 128: a cell is a pixel of it."""
    photo = EncodedImage(np.zeros((32, 32, 3), np.uint8), Frame.whole_photo((32, 32), 128), None)
    mask = np.zeros((32, 32), np.bool_)
    mask[4:9, 6:20] = True
    [own] = candidates_to_name(photo, mask, None)
    inside = np.zeros((32, 32), np.bool_)
    inside[5:8, 7:19] = True  # of the cells on the edge enlarging blurs some
    assert (own.mask_logits[0][inside] == 4).all()
    assert np.array_equal(own.mask_logits[0] > 0, mask)
    [half] = candidates_to_name(photo, [6.5, 4, 20, 9], None)
    assert half.mask_logits[0, 5, 6] == 0 and half.mask_logits[0, 5, 7] == 4
    assert np.array_equal(half.mask_logits[0][:, 7:] > 0, mask[:, 7:])
    wide = EncodedImage(np.zeros((16, 32, 3), np.uint8), Frame.whole_photo((16, 32), 128), None)
    [everything] = candidates_to_name(wide, np.ones((16, 32), np.bool_), None)
    assert (everything.mask_logits[0, :16] == 4).all()
    assert (everything.mask_logits[0, 16:] == -4).all(), "padding is not the photo"


def test_one_or_several(predictor: Predictor, photo: EncodedImage) -> None:
    [found] = predictor.segment(photo, PROMPTS["box"])
    for one in (MASK, BOX, list(BOX), tuple(BOX.astype(int)), found):
        assert len(predictor.name(photo, one)) == 1
    for several in ([MASK, BOX, found], [BOX, BOX, BOX], np.stack([BOX] * 3), np.stack([MASK] * 3)):
        assert len(predictor.name(photo, several)) == 3  # type: ignore[arg-type]
    assert predictor.name(photo, []) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, r"What to name must be what segment gave, a mask of shape \(150, 200\) .* got 5"),
        ([None], "What to name must be .* got None"),
        (["cat"], "What to name must be .* got 'cat'"),
        (np.ones((150, 201), np.bool_), "What to name must be"),
        (np.ones((150, 200), np.uint8), "What to name must be"),
        ([np.ones((150, 200), np.uint8)], "What to name must be"),
        ([[[1, 2], [3]]], "What to name must be"),
        ([[1, 2, 3]], "What to name must be"),
        (np.zeros((150, 200), np.bool_), "must have a pixel, got an empty one"),
        ([300, 2, 310, 9], "outside the photo"),
        ([9, 2, 3, 9], "A box to name must be x0, y0, x1, y1 with x0 < x1"),
        ([1, 2, np.nan, 9], "A box to name must be finite"),
    ],
    ids=repr,
)
def test_what_cannot_be_named(
    predictor: Predictor, photo: EncodedImage, given: Any, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        predictor.name(photo, given)


def test_candidates_of_another_photo(predictor: Predictor, photo: EncodedImage) -> None:
    other = predictor.encode(blobs(0, (90, 120)))
    [found] = predictor.segment(other, PROMPTS["point"])
    with pytest.raises(PromptError, match="on the photo that they were found on"):
        predictor.name(photo, found)


def test_groups_have_no_more_squares_than_are_encoded_together(
    predictor: Predictor, photo: EncodedImage
) -> None:
    two = candidates_to_name(photo, BOX, predictor._zoom)[0]
    whole = candidates_to_name(photo, BOX, None)[0]
    one = replace(two, views=two.views[:1])
    sizes = [len(group) for group in grouped([two] * 5 + [whole] * 3 + [one])]
    assert sizes == [4, 5]  # 8 squares; then 2 and 1
    assert [len(group) for group in grouped([two] * 9)] == [4, 4, 1]
    assert [len(group) for group in grouped([whole] * 130)] == [64, 64, 2]
    assert list(grouped([])) == []
    boxes = np.stack([BOX + i for i in range(9)])
    for box, names in zip(boxes, predictor.name(photo, boxes), strict=True):
        [alone] = predictor.name(photo, box)
        assert names.name == alone.name
        assert names.labels[0][0].score == pytest.approx(alone.labels[0][0].score, abs=1e-4)
