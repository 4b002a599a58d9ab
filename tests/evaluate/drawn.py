"""Annotations of drawn photos, for tests of what is measured on them."""

from __future__ import annotations

from typing import Any

from coco_rows import polygon, row
from ovsam.formats.annotations import Annotations
from ovsam.formats.coco import parse_annotations

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
