"""`scripts/named-boxes`: what is believed of what a detector says."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "named-boxes"


@pytest.fixture(scope="module")
def script() -> Any:
    loader = SourceFileLoader("named_boxes", str(SCRIPT))
    spec = spec_from_loader("named_boxes", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["named_boxes"] = module  # dataclasses look there
    loader.exec_module(module)
    return module


def test_two_looks_that_agree_are_one_box(script: Any) -> None:
    def found(name: str, score: float, *box: float) -> Any:
        return script.Found(name, score, np.array(box))

    looks = [
        found("dog", 0.6, 10, 10, 40, 40),
        found("dog", 0.4, 15, 10, 40, 40),  # IoU 35 / 45 with the first
        found("cat", 0.45, 10, 12, 40, 40),  # says less than half of what these do
        found("bird", 0.9, 100, 100, 20, 20),  # alone
        found("cow", 0.5, 200, 0, 50, 50),  # two that agree, and one as sure of something else
        found("cow", 0.5, 200, 0, 50, 50),
        found("sheep", 0.5, 200, 0, 50, 50),
    ]
    [dog] = script.agreed(looks)
    assert (dog.name, dog.score) == ("dog", pytest.approx(1.0))
    assert dog.box_xywh == pytest.approx([12, 10, 40, 40])


def test_a_goldfish_is_no_cat(script: Any) -> None:
    folders = [f"n{i:08}" for i in range(1000)]  # in the order of the vocabulary's classes
    classes = script.load_vocabulary("imagenet1k").classes
    believed = script.believed(folders, "imagenet1k")
    names = {shown: believed[folders[i]] for i, shown in enumerate(classes)}
    assert names["goldfish"] == {"goldfish"}
    assert names["beagle"] == {"beagle", "dog"}
    assert "kite" not in names["kite"] and "cup" not in names["cup"]  # a bird, and punch
    assert "refrigerator" in names["refrigerator"]
    assert names["school bus"] == {"school bus", "bus", "person"}


class Net:
    """Answers with boxes `(x, y, width, height)` of what is bright in the picture it is shown."""

    def detect(self, picture: Any, least: float) -> tuple[Any, Any, Any]:
        assert least < 0.5
        rows, columns = np.nonzero(picture[..., 0] > 100)
        box = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        return np.array([1]), np.array([0.7]), np.array([box])


def test_boxes_are_the_photos_own_and_whole(script: Any) -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[20:40, 30:70] = 200
    detector = script.Detector.__new__(script.Detector)
    detector.names, detector.net = ["thing"], Net()
    for window, mirrored in (
        ((0, 0, 200, 100), False),
        ((0, 0, 200, 100), True),
        ((20, 10, 140, 70), False),
    ):
        [one] = detector.look(photo, window, mirrored)
        assert one.box_xywh.tolist() == [30, 20, 40, 20]
    assert detector.look(photo, (0, 0, 50, 100)) == []  # cuts it
