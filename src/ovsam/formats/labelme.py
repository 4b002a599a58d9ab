"""LabelMe: a JSON file for each photo, with shapes that are drawn around its objects.

Polygons, circles, masks and rectangles are objects, drawn as LabelMe's own converters draw them;
shapes of one label and one `group_id` are one object. Lines and points enclose nothing.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, OvsamError, PhotoError, quoted
from ovsam.formats.annotations import Instance, named_category, unnumbered_instance
from ovsam.formats.json_rows import as_float, read_json
from ovsam.geometry import (
    check_segmentation,
    clip_box_xyxy,
    encode_rle,
    mask_to_box_xyxy,
    segmentation_to_mask,
)
from ovsam.images.read import DEFAULT_MAX_PIXELS, read_photo
from ovsam.vocabulary.class_lists import LABELME_NO_CLASS, is_labelme

_LINES = ("line", "linestrip", "point", "points")
NO_OBJECT = "shapes that"
"""Begins what is said of shapes that are left out."""
_CORNERS = 90  # of a circle

Shape = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class LabelMeFile:
    """What a file says of its photo.

    Attributes:
        source: the file, for messages.
        image_path: the photo, as the file names it; "" where it does not.
        embedded: whether the file holds the photo itself.
        size_hw: of the photo; None where the file does not say.
        shapes: what is drawn, not yet checked.
    """

    source: str
    image_path: str
    embedded: bool
    size_hw: tuple[int, int] | None
    shapes: tuple[object, ...]


def read_labelme(path: Path) -> LabelMeFile:
    """A file, but for its shapes.

    Raises:
        AnnotationError: no such file, or none of LabelMe.
    """
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not is_labelme(content) or not isinstance(shapes, list):
        raise AnnotationError(f"{str(path)!r} has no list of 'shapes', as LabelMe's files have.")
    size_hw = None
    sides = [content.get(key) for key in ("imageHeight", "imageWidth")]
    if sides != [None, None]:
        height, width = sides
        if type(height) is not int or type(width) is not int or min(height, width) < 1:
            raise AnnotationError(
                f"{str(path)!r} must have whole numbers above 0 as imageHeight and imageWidth, got "
                f"{quoted(sides)}."
            )
        if height * width > DEFAULT_MAX_PIXELS:
            raise AnnotationError(
                f"{str(path)!r} must have an imageHeight and imageWidth of {DEFAULT_MAX_PIXELS:,} "
                f"pixels at most in all, got {quoted(sides)}."
            )
        size_hw = height, width
    image_path = content.get("imagePath")
    return LabelMeFile(
        source=str(path),
        image_path=image_path if isinstance(image_path, str) else "",
        embedded=bool(content.get("imageData")) and isinstance(content["imageData"], str),
        size_hw=size_hw,
        shapes=tuple(shapes),
    )


def photo_source(path: Path) -> Path | bytes:
    """What `read_photo` wants of a photo's file; of LabelMe's JSON, the photo within.

    Raises:
        PhotoError: there is none in it.
    """
    if path.suffix.lower() != ".json":
        return path
    try:
        content = read_json(path)
        data = content.get("imageData") if isinstance(content, dict) else None
        return _decoded(data)
    except (AnnotationError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise PhotoError(f"'{path}' holds no photo as its imageData ({reason}).") from error


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("it is no text")
    try:
        return base64.b64decode(text.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(str(error)) from error


@dataclass
class _Group:
    """Shapes that are one object."""

    label: str
    polygons: list[list[float]] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)


def labelme_objects(
    file: LabelMeFile,
    size_hw: tuple[int, int],
    report: Callable[[OvsamError], None],
    ignored: Counter[str],
) -> list[Instance]:
    """The objects on a photo of `size_hw` pixels.

    Args:
        file: what is said of the photo.
        size_hw: its size.
        report: called with each shape that is wrong, which is left out.
        ignored: gets the shapes that are no objects.
    """
    groups: dict[object, _Group] = {}
    for index, shape in enumerate(file.shapes):
        where = f"shapes[{index}] of {file.source!r}"
        try:
            if not isinstance(shape, Mapping):
                raise AnnotationError(f"{where} must be an object, got {quoted(shape)}.")
            label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
            if not isinstance(label, str) or not label.strip():
                raise AnnotationError(f"{where} must have a text as 'label', got {quoted(label)}.")
            if kind in _LINES:
                ignored[f"{NO_OBJECT} enclose nothing ({kind})"] += 1
                continue
            if label in LABELME_NO_CLASS:
                ignored[f"{NO_OBJECT} are called {label}"] += 1
                continue
            named_category(label, [label], where)
            group_id = shape.get("group_id")
            key = index if group_id is None else (label.strip(), repr(group_id))
            group = groups.get(key) or _Group(label.strip())
            if kind == "mask":
                group.masks.append(_mask(shape, size_hw, where))
            else:
                group.polygons.append(_polygon(shape, kind, size_hw, where))
            groups[key] = group
        except AnnotationError as error:
            report(error)
    found = []
    for group in groups.values():
        try:
            found.append(_object(group, size_hw, file.source))
        except AnnotationError as error:
            report(error)
    return found


def _object(group: _Group, size_hw: tuple[int, int], source: str) -> Instance:
    if group.masks:
        mask = np.logical_or.reduce(group.masks)
        if group.polygons:
            mask |= segmentation_to_mask(group.polygons, size_hw)
        x0, y0, x1, y1 = mask_to_box_xyxy(mask).tolist()
        if x0 == x1:
            raise AnnotationError(f"A mask of {quoted(group.label)} in {source!r} has no pixel.")
        return unnumbered_instance(group.label, encode_rle(mask), (x0, y0, x1, y1))
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in group.polygons])
    box = clip_box_xyxy([*points.min(axis=0), *points.max(axis=0)], size_hw)
    if not (box[2:] > box[:2]).all():
        raise AnnotationError(
            f"A shape of {quoted(group.label)} in {source!r} encloses nothing of its photo of "
            f"{size_hw[1]} x {size_hw[0]} pixels."
        )
    x0, y0, x1, y1 = box.tolist()
    return unnumbered_instance(group.label, group.polygons, (x0, y0, x1, y1))


def _points(shape: Shape, where: str) -> list[tuple[float, float]]:
    rows = shape.get("points")
    points = [
        (as_float(row[0]), as_float(row[1]))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, list) and len(row) == 2
    ]
    sound = isinstance(rows, list) and len(points) == len(rows)
    if not sound or not all(math.isfinite(value) for point in points for value in point):
        raise AnnotationError(f"{where} must have points [x, y], got {quoted(rows)}.")
    return points


def _polygon(shape: Shape, kind: object, size_hw: tuple[int, int], where: str) -> list[float]:
    points = _points(shape, where)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    elif kind == "circle":
        if len(points) != 2:
            raise AnnotationError(f"{where} must have two points as a circle, got {len(points)}.")
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        turns = (2 * math.pi * corner / _CORNERS for corner in range(_CORNERS))
        points = [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
    elif kind not in ("polygon", "rectangle", "rotation"):
        raise AnnotationError(
            f"{where} is of the unknown type {quoted(kind)}: polygon, rectangle, circle and mask "
            "are read."
        )
    polygon = [value for point in points for value in point]
    try:
        check_segmentation([polygon], size_hw)
    except AnnotationError as error:
        raise AnnotationError(f"{where}: {error}") from error
    return polygon


def _mask(shape: Shape, size_hw: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """A mask that stands in its box, laid into the photo."""
    points = _points(shape, where)
    if len(points) != 2:
        raise AnnotationError(f"{where} must have two points as a mask, got {len(points)}.")
    height, width = size_hw
    try:
        # As LabelMe writes them, 0 and 1 or 0 and 255.
        pixels = read_photo(_decoded(shape.get("mask")), max_pixels=height * width)[..., 0] > 0
    except (PhotoError, ValueError) as error:
        reason = str(error).partition(". ")[0].rstrip(".").replace("The photo", "it")
        raise AnnotationError(f"{where} has a mask that cannot be read ({reason}).") from error
    (left, top), _ = ((round(x), round(y)) for x, y in points)
    rows, columns = pixels.shape
    if left < 0 or top < 0 or left + columns > width or top + rows > height:
        raise AnnotationError(
            f"{where} has a mask of {columns} x {rows} pixels at {left}, {top}, which leaves its "
            f"photo of {width} x {height} pixels."
        )
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[top : top + rows, left : left + columns] = pixels
    return mask
