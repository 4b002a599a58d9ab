"""What a detector sees in crops, and what of it is taken."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.named_boxes.detector import Detection, Detector, agreed_detections


def detection(name: str, score: float, *box_xywh: float) -> Detection:
    return Detection(name, score, np.array(box_xywh))


def test_two_detections_that_agree_are_one_box() -> None:
    found = [
        detection("dog", 0.6, 10, 10, 40, 40),
        detection("dog", 0.4, 15, 10, 40, 40),  # IoU 35 / 45 with the first
        detection("cat", 0.45, 10, 12, 40, 40),  # scores less than half of what these do
        detection("bird", 0.9, 100, 100, 20, 20),  # alone
        detection("cow", 0.5, 200, 0, 50, 50),  # two that agree, and one as sure of another name
        detection("cow", 0.5, 200, 0, 50, 50),
        detection("sheep", 0.5, 200, 0, 50, 50),
        detection("cup", 0.45, 300, 0, 50, 50),  # two that agree, but are too unsure
        detection("cup", 0.44, 300, 0, 50, 50),
    ]
    [dog] = agreed_detections(found)
    assert dog.name == "dog" and dog.score == pytest.approx(1.0)
    assert dog.box_xywh == pytest.approx([12, 10, 40, 40])


class BrightNetwork:
    """One detection, of what is bright."""

    def detect(
        self, frame: NDArray[np.uint8], least: float = 0, /
    ) -> tuple[list[int], list[float], list[list[int]]]:
        assert least < 0.5
        rows, columns = np.nonzero(frame[..., 0] > 100)
        box_xywh = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        return [2], [0.7], [list(map(int, box_xywh))]


def test_boxes_are_in_photo_pixels_and_whole() -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[20:40, 30:70] = 200
    detector = Detector(BrightNetwork(), ["other", "thing "])
    for crop_xyxy, mirrored in (
        ((0, 0, 200, 100), False),
        ((0, 0, 200, 100), True),
        ((20, 10, 140, 70), False),
        ((20, 10, 140, 70), True),
    ):
        [found] = detector.detect(photo, crop_xyxy, mirrored)
        assert (found.name, found.score) == ("thing", 0.7)
        assert found.box_xywh.tolist() == [30, 20, 40, 20]


@pytest.mark.parametrize(
    ("crop_xyxy", "shown"),
    [
        ((0, 0, 50, 100), False),  # through the middle
        ((0, 0, 72, 100), False),  # two pixels right of it
        ((0, 0, 73, 100), True),  # three
        ((28, 0, 200, 100), False),
        ((27, 0, 200, 100), True),
        ((0, 18, 200, 100), False),
        ((0, 17, 200, 100), True),
        ((0, 0, 200, 42), False),
        ((0, 0, 200, 43), True),
    ],
)
def test_what_a_crop_cuts_off_is_left_out(
    crop_xyxy: tuple[int, int, int, int], shown: bool
) -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[20:40, 30:70] = 200
    assert len(Detector(BrightNetwork(), ["", "thing"]).detect(photo, crop_xyxy)) == shown


def test_an_object_may_end_where_the_photo_does() -> None:
    photo = np.full((100, 200, 3), 200, np.uint8)
    [found] = Detector(BrightNetwork(), ["", "thing"]).detect(photo, (0, 0, 200, 100))
    assert found.box_xywh.tolist() == [0, 0, 200, 100]
