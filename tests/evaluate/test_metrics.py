"""Means, and boundaries and their IoU, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    boundary,
    boundary_iou,
    summarise,
    summarise_by_class,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.geometry import mask_iou
from ovsam.vocabulary.builtin import COCO_NOVEL
from photo_folder import rectangle

SIZE = (60, 80)  # a diagonal of 100 pixels, so boundaries are 2 wide

OUTCOMES = [
    Outcome("person", 1023.9, 0.2, 0.1, rank=0, score=0.9, rank_by_meaning=0, levels_below=0),
    Outcome("cat", 1024.0, 0.4, 0.2, rank=4, score=0.5, rank_by_meaning=0, levels_below=3),
    Outcome("cat", area=9215.9, iou=0.6, boundary_iou=0.4, rank=5, score=0.5),
    Outcome("person", area=9216.0, iou=1.0, boundary_iou=0.7, rank=-1, score=0.5),
]


def test_all() -> None:
    summary = summarise(OUTCOMES)
    assert summary.iou == pytest.approx((0.2 + 0.4 + 0.6 + 1.0) / 4)
    assert summary.boundary_iou == pytest.approx((0.1 + 0.2 + 0.4 + 0.7) / 4)
    assert summary.accuracy == 0.25
    assert summary.accuracy_top5 == 0.5
    assert summary.instances == 4


def test_sizes_follow_coco_thresholds() -> None:
    by_size = summarise_by_size(OUTCOMES)
    assert {name: summary.instances for name, summary in by_size.items()} == {
        "small": 1,
        "medium": 2,
        "large": 1,
    }
    assert by_size["small"] == Summary(0.2, 0.1, 1.0, 1.0, 1, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)
    assert by_size["large"] == Summary(1.0, 0.7, 0.0, 0.0, 1, 0.0, 0.0, 0.0, 0.0)
    assert by_size["medium"].iou == pytest.approx(0.5)
    assert by_size["medium"].accuracy_top5 == 0.5
    assert by_size["large"].accuracy_top5 == 0.0


def test_classes_in_alphabetical_order() -> None:
    by_class = summarise_by_class(OUTCOMES)
    assert list(by_class) == ["cat", "person"]
    cats = Summary(0.5, 0.3, 0.0, 0.5, 2, 0.0, 0.5, 0.5, 0.5, 0.0, 3.0)
    people = Summary(0.6, 0.4, 0.5, 0.5, 2, 0.0, 0.5, 0.5, 0.5, 1.0, 0.0)
    assert by_class["cat"].as_dict() == pytest.approx(cats.as_dict())
    assert by_class["person"].as_dict() == pytest.approx(people.as_dict())
    assert summarise_by_class([]) == {}


def test_by_meaning() -> None:
    """Two of four are right at first, the class itself and a kind three levels below it."""
    third = Outcome("cat", 1.0, 0.6, 0.4, rank=-1, score=0.5, rank_by_meaning=2)
    summary = summarise([*OUTCOMES[:2], third, OUTCOMES[3]])
    assert (summary.accuracy, summary.accuracy_top5) == (0.25, 0.5)
    assert (summary.accuracy_by_meaning, summary.accuracy_by_meaning_top5) == (0.5, 0.75)
    assert (summary.right_itself, summary.right_levels_below) == (0.5, 1.5)
    wrong = summarise([OUTCOMES[3]])
    assert (wrong.right_itself, wrong.right_levels_below) == (None, None)


def test_shares_of_low_iou() -> None:
    """An IoU of 0.2 or 0.5 itself is not below."""
    outcomes = [Outcome("cat", 1.0, iou, 0.0, 0, 0.5) for iou in (0.0, 0.19, 0.2, 0.49, 0.5)]
    summary = summarise(outcomes)
    assert (summary.share_below20, summary.share_below50) == (0.4, 0.8)


def test_base_and_novel() -> None:
    by_novelty = summarise_by_novelty(OUTCOMES, COCO_NOVEL)
    assert by_novelty["base"].iou == pytest.approx(0.6)  # person
    assert by_novelty["novel"].iou == pytest.approx(0.5)  # cat


def test_nothing() -> None:
    assert summarise([]) == Summary(None, None, None, None, 0)
    assert summarise_by_size([])["large"] == Summary(None, None, None, None, 0)
    assert summarise_by_novelty([], COCO_NOVEL)["novel"].instances == 0


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
