"""Means worked out by hand."""

from __future__ import annotations

import pytest

from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    summarise,
    summarise_by_class,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.vocabulary.builtin import COCO_NOVEL

OUTCOMES = [
    Outcome("person", area=1023.9, iou=0.2, boundary_iou=0.1, rank=0, score=0.9),
    Outcome("cat", area=1024.0, iou=0.4, boundary_iou=0.2, rank=4, score=0.5),
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
    assert by_size["small"] == Summary(0.2, 0.1, 1.0, 1.0, 1)
    assert by_size["medium"].iou == pytest.approx(0.5)
    assert by_size["medium"].accuracy_top5 == 0.5
    assert by_size["large"].accuracy_top5 == 0.0


def test_classes_in_alphabetical_order() -> None:
    by_class = summarise_by_class(OUTCOMES)
    assert list(by_class) == ["cat", "person"]
    assert by_class["cat"].as_dict() == pytest.approx(Summary(0.5, 0.3, 0.0, 0.5, 2).as_dict())
    assert by_class["person"].as_dict() == pytest.approx(Summary(0.6, 0.4, 0.5, 0.5, 2).as_dict())
    assert summarise_by_class([]) == {}


def test_base_and_novel() -> None:
    by_novelty = summarise_by_novelty(OUTCOMES, COCO_NOVEL)
    assert by_novelty["base"].iou == pytest.approx(0.6)  # person
    assert by_novelty["novel"].iou == pytest.approx(0.5)  # cat


def test_nothing() -> None:
    assert summarise([]) == Summary(None, None, None, None, 0)
    assert summarise_by_size([])["large"] == Summary(None, None, None, None, 0)
    assert summarise_by_novelty([], COCO_NOVEL)["novel"].instances == 0
