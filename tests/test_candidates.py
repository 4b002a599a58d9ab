"""Masks before they are painted, on a photo of 32 x 24 pixels: cells of 2 x 2, or of a square."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.candidates import Candidates, FramedMasks
from ovsam.images.frame import Frame

WHOLE = Frame.whole_photo((24, 32), 64)  # twice as large; 16 x 16 cells, the lower 4 rows padding
SQUARE = Frame((10.0, -2.0), (16.0, 16.0), (32, 32), (32, 32))  # 8 x 8 cells of 2 photo pixels


def cells(count: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.float32]:
    """Logits `(1, count, count)` of a rectangle of cells."""
    logits = np.full((1, count, count), -6, np.float32)
    logits[:, y0:y1, x0:x1] = 6
    return logits


def candidates(frame: Frame, logits: NDArray[np.float32]) -> Candidates:
    return Candidates(FramedMasks(frame, logits), np.full(len(logits), 0.5, np.float32), WHOLE)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((24, 32), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (candidates(WHOLE, cells(16, 2, 3, 9, 7)), (4, 6, 18, 14)),
        (candidates(SQUARE, cells(8, 1, 2, 4, 6)), (12, 2, 18, 10)),
        (candidates(SQUARE, cells(8, 5, 0, 8, 3)), (20, 0, 26, 4)),  # above the photo it ends
    ],
    ids=["whole photo", "square", "beyond the edge"],
)
def test_a_rectangle_of_cells_is_painted_where_it_lies(
    found: Candidates, expected: tuple[int, int, int, int]
) -> None:
    mask = rectangle(*expected)
    assert (len(found), found.size_hw) == (1, (24, 32))
    assert np.array_equal(found.masks, mask[None])
    assert np.array_equal(found.mask, mask)
    assert found.boxes_xyxy.tolist() == [list(expected)]
    assert found.logits.dtype == np.float32
    assert np.array_equal(found.logits > 0, mask[None])


def test_what_a_square_does_not_show_is_outside() -> None:
    found = candidates(SQUARE, np.full((2, 8, 8), 3, np.float32))
    assert np.array_equal(found.masks, np.stack([rectangle(10, 0, 26, 14)] * 2))
    assert set(found.logits[0][~found.mask]) == {-10}


def test_logits_that_are_given_back_are_the_whole_photos() -> None:
    whole = candidates(WHOLE, cells(16, 2, 3, 9, 7))
    assert whole.low_res_logits is whole.mask_logits
    square = candidates(SQUARE, cells(8, 1, 2, 4, 6))  # photo pixels 12 to 18 and 2 to 10
    again = square.low_res_logits
    assert again.shape == (1, 16, 16)
    assert np.array_equal(again > 0, cells(16, 6, 1, 9, 5) > 0)
    assert again[0, 0, 15] == again[0, 15, 0] == -10, "the square does not show it"


def test_an_empty_mask_has_a_box_of_zeros() -> None:
    found = candidates(SQUARE, np.full((1, 8, 8), -1, np.float32))
    assert found.boxes_xyxy.tolist() == [[0, 0, 0, 0]]
    assert not found.mask.any()


def test_names_are_read_from_the_mask_itself_unless_said_otherwise() -> None:
    found = candidates(SQUARE, cells(8, 1, 2, 4, 6))
    assert found.views == (found.found,)
    assert (found.frame, found.box_xyxy) == (SQUARE, None)


def test_arrays_are_read_only() -> None:
    found = candidates(SQUARE, cells(8, 1, 2, 4, 6))
    for array in (found.mask_logits, found.predicted_iou):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
