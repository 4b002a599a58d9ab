from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import FramedMasks
from ovsam.config import ClickRanking
from ovsam.images.frame import Frame
from ovsam.predictor.click_ranking import (
    agreement,
    distinct,
    expected_worth,
    features,
    overlaps,
    worth,
)

NARROW = Frame.square_around((24, 24, 40, 40), 1.0, 32)  # 8 x 8 cells of 2 photo pixels
WIDE = Frame.square_around((0, 0, 64, 64), 1.0, 32)  # 8 x 8 cells of 8 photo pixels


def cells(*boxes: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Masks of 8 x 8 cells, each a box of them: x0, y0, x1, y1."""
    logits = np.full((len(boxes), 8, 8), -5, np.float32)
    for mask, (x0, y0, x1, y1) in zip(logits, boxes, strict=True):
        mask[y0:y1, x0:x1] = 5
    return logits


def test_overlaps_by_hand() -> None:
    """Each square is seen at its own resolution, however much larger the other is."""
    narrow = FramedMasks(NARROW, cells((2, 2, 6, 6), (0, 0, 8, 8)))  # 64 and all 256 pixels
    wide = FramedMasks(WIDE, cells((2, 2, 6, 6), (0, 0, 4, 8)))  # 1024, and the left half, 2048
    found = overlaps([narrow, wide])
    assert found.area.tolist() == [64, 256, 1024, 2048]
    assert found.shared.tolist() == [
        [64, 64, 64, 32],  # of the last one half of the speck
        [64, 256, 256, 128],
        [64, 256, 1024, 512],
        [32, 128, 512, 2048],
    ]
    assert found.iou[0].tolist() == [1, 0.25, 64 / 1024, 32 / (64 + 2048 - 32)]
    # What fills the narrow square agrees with larger masks as far as it sees.
    assert found.iou_within[1].tolist() == [0.25, 1, 1, 0.5]
    np.testing.assert_allclose(found.iou_within[2, 3], 512 / (1024 + 2048 - 512))  # in the wide one


def test_the_mask_that_most_agree_with() -> None:
    """Two copies of an object beat one that is surer; what its square cuts off does not count."""
    inner = Frame.square_around((16, 16, 48, 48), 1.0, 32)  # cells of 4 photo pixels
    squares = [
        FramedMasks(inner, cells((2, 2, 6, 6), (0, 0, 8, 8))),  # pixels 24 to 40; all
        FramedMasks(WIDE, cells((3, 3, 5, 5), (0, 0, 2, 2))),  # pixels 24 to 40; elsewhere
    ]
    common = overlaps(squares)
    even = agreement(squares, np.array([0.5, 0.9, 0.5, 0.6], np.float32), common)
    assert int(even.argmax()) in (0, 2) and even[1] == 0
    sure = agreement(squares, np.array([0.2, 0.9, 0.2, 1.0], np.float32), common)
    assert int(sure.argmax()) == 3
    alone = [FramedMasks(inner, cells((0, 0, 8, 8)))]
    assert agreement(alone, np.array([0.4], np.float32), overlaps(alone))[0] > 0
    # Three that overlap by 0.6 from one to the next are not one object; two copies are.
    shifted = [(0, 6, 4, 8), (1, 6, 5, 8), (2, 6, 6, 8)]
    both = [FramedMasks(WIDE, cells(*shifted, (0, 0, 2, 2), (0, 0, 2, 2)))]
    assert agreement(both, np.full(5, 0.5, np.float32), overlaps(both)).argmax() in (3, 4)


def test_a_speck_and_the_whole_differ_in_their_features() -> None:
    """A speck of 16 pixels in the middle of a square of 1,024, on a photo of 64 x 64."""
    squares = [
        FramedMasks(NARROW, cells((3, 3, 5, 5), (0, 0, 8, 8))),
        FramedMasks(WIDE, cells((2, 2, 6, 6))),
    ]
    common, click = overlaps(squares), np.array([[32.0, 32.0]])
    found = features(squares, np.array([0.9, 0.4, 0.6], np.float32), common, click, (64, 64))
    speck, filled, whole = found
    assert np.isfinite(found).all()
    area, share, rim, depth = 7, 8, 9, 13
    np.testing.assert_allclose(np.exp(found[:, area]) - 1e-5, [16 / 4096, 1 / 16, 1 / 4])
    assert found[:, share].tolist() == [4 / 64, 1, 16 / 64]
    assert [speck[rim], filled[rim], whole[rim]] == [0, 1, 0]
    assert found[:, depth].tolist() == [1, 1, 1], "the click is in the middle of each"
    smaller, larger = 2, 3  # agreement with masks of narrower and wider squares, as far as seen
    assert speck[smaller] == 0 and whole[larger] == 0
    np.testing.assert_allclose(filled[larger], 0.6, rtol=1e-6)  # all it sees is in the whole
    np.testing.assert_allclose(speck[larger], 0.6 * (4 / 64) ** 2, rtol=1e-6)
    contains, contained = 4, 5  # surely in how many larger ones, and how many smaller ones in it
    np.testing.assert_allclose(found[:, contains], [0.4 + 0.6, 0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(found[:, contained], [0, 0.9, 0.9 + 0.4], rtol=1e-6)
    # A click beside the speck is not in it.
    beside = features(squares, np.full(3, 0.5, np.float32), common, click + 12, (64, 64))
    assert beside[0, depth] == 0 < beside[2, depth] < 1


def test_the_expected_worth_by_hand() -> None:
    """Two halves and the whole: it has half of either, they have nothing in common."""
    common = overlaps([FramedMasks(WIDE, cells((0, 0, 4, 8), (4, 0, 8, 8), (0, 0, 8, 8)))])
    ranking = ClickRanking(weights=((1.0, 0.0), (0.0, 2.0)), biases=(0.0, 1.0), output=(3.0, -1.0))
    seen = np.array([[0.5, 0.0], [0.0, -0.5], [0.0, 0.0]])
    scores = np.array([3 * np.tanh(0.5) - np.tanh(1), 0, -np.tanh(1)])
    left, right, whole = np.exp(scores) / np.exp(scores).sum()
    none, half, all_ = worth(np.array([0, 0.5, 1]))
    np.testing.assert_allclose(
        expected_worth(ranking, seen, common),
        [
            all_ * left + none * right + half * whole,
            none * left + all_ * right + half * whole,
            half * left + half * right + all_ * whole,
        ],
    )


def test_a_mask_that_misses_the_object_is_worth_little() -> None:
    """Beyond an IoU of about 0.2 there is 1 more; so a compromise beats the likelier of two."""
    np.testing.assert_allclose(worth(np.array([0, 0.22, 0.5, 1])), [0, 0.72, 1.5, 2], atol=0.005)
    # Cells: a part of 9, a thing of 25 and the whole, 64. It is the part or, likelier, the whole,
    # and the thing has 9/25 of the one and 25/64 of the other, which have 9/64 in common.
    common = overlaps([FramedMasks(WIDE, cells((2, 2, 5, 5), (2, 2, 7, 7), (0, 0, 8, 8)))])
    ranking = ClickRanking(weights=((1.0,),), biases=(0.0,), output=(1.0,))
    expected = expected_worth(ranking, np.arctanh([[0.0], [-0.99], [0.1]]), common)
    part, _, whole = np.exp([0, -0.99, 0.1]) / np.exp([0, -0.99, 0.1]).sum()
    assert whole > part and expected.argmax() == 1


def test_unlike_masks_in_the_order_of_their_ranks() -> None:
    """A copy of one that is taken is left out, and so is an empty one."""
    squares = [FramedMasks(WIDE, cells((0, 0, 4, 4), (0, 0, 4, 5), (0, 0, 0, 0), (0, 0, 8, 8)))]
    common = overlaps(squares)
    ranks = np.array([0.2, 0.9, 0.8, 0.1])
    assert distinct(ranks, common, 3) == [1, 3]
    assert distinct(ranks, common, 1) == [1]
    assert distinct(np.array([0.2, 0.1, 0.8, 0.0]), common, 3) == [2, 0, 3]
