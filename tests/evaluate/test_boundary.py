"""Boundaries and their IoU, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam.evaluate.boundary import boundary, boundary_iou
from ovsam.geometry import mask_iou
from photo_folder import rectangle

SIZE = (60, 80)  # a diagonal of 100 pixels, so boundaries are 2 wide


def test_a_square_moved_by_a_pixel() -> None:
    """Rings of 10² - 6² = 64 pixels; of the shared 9 x 10, 7 x 6 are inside of one or the other."""
    a = rectangle(20, 20, 30, 30, size_hw=SIZE)
    b = rectangle(21, 20, 31, 30, size_hw=SIZE)
    assert boundary(a).sum() == 64
    assert not boundary(a)[22:28, 22:28].any()
    assert boundary_iou(a, b) == (90 - 42) / (64 + 64 - 48) == 0.6
    assert mask_iou(a, b) == 90 / 110


def test_the_photos_border_counts() -> None:
    whole = np.ones(SIZE, np.bool_)
    assert boundary(whole).sum() == 60 * 80 - 56 * 76
    left = rectangle(0, 20, 10, 30, size_hw=SIZE)
    assert boundary(left).sum() == 10 * 10 - 6 * 6


def test_neighbours_across_a_corner_count() -> None:
    mask = rectangle(10, 10, 30, 30, size_hw=(30, 40))  # 1 wide; the photo ends below it
    mask[20, 20] = False
    expected = mask.copy()
    expected[11:29, 11:29] = False
    expected[19:22, 19:22] = True
    expected[20, 20] = False
    assert (boundary(mask) == expected).all()


@pytest.mark.parametrize(
    ("size_hw", "width"), [((4, 5), 1), ((30, 40), 1), ((60, 80), 2), ((480, 640), 16)]
)
def test_the_width_goes_by_the_photos_diagonal(size_hw: tuple[int, int], width: int) -> None:
    found = boundary(np.ones(size_hw, np.bool_))
    middle = size_hw[0] // 2
    assert found[:width].all() and found[middle, :width].all()
    assert not found[width : size_hw[0] - width, width : size_hw[1] - width].any()


def test_same_thin_and_empty() -> None:
    thin = rectangle(20, 20, 24, 50, size_hw=SIZE)
    assert (boundary(thin) == thin).all()
    assert boundary_iou(thin, thin) == 1
    empty = np.zeros(SIZE, np.bool_)
    assert boundary_iou(thin, empty) == boundary_iou(empty, empty) == 0
