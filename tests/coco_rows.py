"""Rows of annotations in COCO's format."""

from __future__ import annotations

from typing import Any


def polygon(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    """A rectangle as COCO's polygons."""
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def row(
    number: int, photo: int, category: int, bbox: list[float], segmentation: Any, **more: Any
) -> dict[str, Any]:
    """An object, whose area is that of its `bbox`, (x, y, width, height)."""
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "segmentation": segmentation,
        **more,
    }
