"""Which boxes are voted on, and how the votes are divided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.named_boxes.__main__ import held_possible
from tools.named_boxes.detector import Detection, Detector
from tools.named_boxes.votes import name_scores, proposals, votes


class BrightDetector(Detector):
    """Finds what is bright: a bowl, and with half its score a cup."""

    def __init__(self, score: float = 0.6) -> None:
        self.score = score
        self.views: list[tuple[list[int], bool]] = []

    def detect(
        self,
        photo: NDArray[np.uint8],
        crop_xyxy: Sequence[int],
        mirrored: bool = False,
        least: float = 0.35,
    ) -> list[Detection]:
        self.views.append((list(crop_xyxy), mirrored))
        x0, y0, x1, y1 = crop_xyxy
        rows, columns = np.nonzero(photo[y0:y1, x0:x1, 0] > 180)
        if not len(rows):
            return []
        box = [columns.min() + x0, rows.min() + y0, np.ptp(columns) + 1, np.ptp(rows) + 1]
        named = (("bowl", self.score), ("cup", self.score / 2))
        box_xywh = np.array(box, float)
        return [Detection(name, score, box_xywh) for name, score in named if score >= least]


def photo_of_a_bowl() -> NDArray[np.uint8]:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[20:60, 30:80] = 250
    return photo


def test_a_photo_is_seen_whole_and_in_crops_and_each_box_is_proposed_once() -> None:
    detector = BrightDetector()
    [box] = proposals(detector, photo_of_a_bowl(), (0.6,))
    assert box.tolist() == [30, 20, 50, 40]
    assert detector.views == [
        ([0, 0, 200, 100], False),
        ([0, 0, 120, 60], False),
        ([0, 40, 120, 100], False),
        ([80, 0, 200, 60], False),
        ([80, 40, 200, 100], False),
    ]
    detector.views.clear()
    proposals(detector, photo_of_a_bowl(), (0.6, 0.4))
    assert len(detector.views) == 1 + 4 + 9


def test_a_name_has_the_mean_of_its_scores_in_three_squares() -> None:
    box = np.array([30.0, 20, 50, 40])
    scores = name_scores(BrightDetector(), photo_of_a_bowl(), box)
    assert scores == {
        "bowl": pytest.approx(0.6, abs=0.05),  # by as much less as its box is found less well
        "cup": pytest.approx(0.3, abs=0.03),
    }
    assert name_scores(BrightDetector(0.18), photo_of_a_bowl(), box) == {}
    elsewhere = np.array([120.0, 20, 50, 40])
    assert name_scores(BrightDetector(), photo_of_a_bowl(), elsewhere) == {}


def test_votes_are_as_the_scores_to_the_power_and_add_up() -> None:
    assert votes({"bowl": 0.8, "cup": 0.4}) == {"bowl": 6, "cup": 2}  # 5.91, 2.09
    assert votes({"dog": 0.9}) == {"dog": 8}
    for scores in ({"a": 0.3, "b": 0.3, "c": 0.3}, {"a": 0.9, "b": 0.01}):
        assert sum(votes(scores).values()) == 8


def test_each_box_is_written_once_for_each_vote() -> None:
    found = held_possible(BrightDetector(), photo_of_a_bowl(), (0.6,))
    assert [name for name, _ in found] == ["bowl"] * 6 + ["cup"] * 2
    assert {tuple(box.tolist()) for _, box in found} == {(30, 20, 50, 40)}
