"""Annotations of drawn photos, for tests of what is measured on them."""

from __future__ import annotations

from typing import Any

from ovsam.formats.annotations import Annotations
from ovsam.formats.coco import parse_annotations


def polygon(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def row(
    number: int, photo: int, category: int, bbox: list[float], segmentation: Any
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "segmentation": segmentation,
    }


CATEGORIES: list[dict[str, Any]] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "coffee_mug"}]


def annotated(*rows: dict[str, Any], categories: list[dict[str, Any]] = CATEGORIES) -> Annotations:
    names = ("empty.png", "a.png", "b.png")
    photos = [
        {"id": number, "file_name": name, "width": 60, "height": 40}
        for number, name in enumerate(names)
    ]
    return parse_annotations(
        {"images": photos, "categories": categories, "annotations": list(rows)}
    )


TWO = (
    # The box is the whole of the first object (IoU 1) and twice the second one (IoU 0.5).
    row(1, 1, 1, [10, 10, 20, 10], polygon(10, 10, 30, 20)),
    row(2, 2, 2, [10, 10, 20, 10], polygon(10, 10, 20, 20)),
)
