"""Boxes, masks, run lengths and polygons: pure functions on numpy arrays.

Boxes are xyxy with the maximum corner exclusive, so the box of a whole photo is
(0, 0, width, height). Masks are `(H, W)` bool. Run-length codes are COCO's: columns first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask
from typing_extensions import TypedDict  # which pydantic can check before Python 3.12

from ovsam.errors import AnnotationError, quoted

DEFAULT_MAX_PIXELS = 128 * 2**20  # of a photo, hence of a mask
# What one object of a file may ask for: pycocotools walks along every edge pixel by pixel, and
# merges each polygon with all before it.
MAX_POLYGONS = 10_000
MAX_OUTLINE = 10_000_000  # pixels of all its edges together, 0.4 GB while they are drawn
_GROUPS = 8  # of five bits, that a number of a compressed run-length code may have
_LONGEST = DEFAULT_MAX_PIXELS  # of a run, in pixels


class Rle(TypedDict):
    """COCO's compressed run-length code of a mask: `size` is [height, width]."""

    size: list[int]
    counts: str


def mask_to_box_xyxy(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Tight box `(4,)` around a mask `(H, W)`; zeros if the mask is empty.

    >>> mask = np.zeros((4, 6), dtype=bool)
    >>> mask[1:3, 2:5] = True
    >>> mask_to_box_xyxy(mask).tolist()
    [2.0, 1.0, 5.0, 3.0]
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def masks_to_boxes_xyxy(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Tight boxes `(M, 4)` around masks `(M, H, W)`; zeros for empty ones."""
    boxes = np.zeros((len(masks), 4))
    for box, mask in zip(boxes, masks, strict=True):
        box[:] = mask_to_box_xyxy(mask)
    return boxes


def clip_box_xyxy(box_xyxy: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The part of a box `(4,)` (or boxes `(N, 4)`) inside a photo of `size_hw` pixels."""
    height, width = size_hw
    corner = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(np.asarray(box_xyxy, dtype=np.float64), 0.0, corner)


def box_iou_xyxy(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes `(N, 4)` and `(M, 4)`: `(N, M)`; 0 for empty boxes.

    >>> box_iou_xyxy([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]]).round(3).tolist()
    [[0.333, 1.0]]
    """
    first = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4)  # (N, 1, 4)
    second = np.asarray(b, dtype=np.float64).reshape(1, -1, 4)  # (1, M, 4)
    top_left = np.maximum(first[..., :2], second[..., :2])  # (N, M, 2)
    bottom_right = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.clip(bottom_right - top_left, 0.0, None).prod(axis=-1)  # (N, M)
    union = _box_area(first) + _box_area(second) - shared
    iou: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def _box_area(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.clip(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0.0, None)
    area: NDArray[np.float64] = sides.prod(axis=-1)
    return area


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks `(H, W)` of one photo; 0 if both are empty."""
    if a.shape != b.shape:
        raise ValueError(f"Masks to compare must have one shape, got {a.shape} and {b.shape}.")
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0


def mask_centre_xy(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centre `(2,)` of the mask's innermost pixel: the one farthest from anything outside.

    Beyond the photo's border counts as outside. Of several such pixels the first in reading
    order is taken.
    """
    if not mask.any():
        raise ValueError("An empty mask has no centre.")
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(distance), mask.shape)
    return np.array([column + 0.5, row + 0.5])


def encode_rle(mask: NDArray[np.bool_]) -> Rle:
    """COCO's compressed run-length code of a mask `(H, W)`, ready for JSON.

    >>> encode_rle(np.ones((2, 3), dtype=bool))
    {'size': [2, 3], 'counts': '06'}
    """
    return _as_text(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))


def decode_rle(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Mask `(H, W)` of a COCO run-length code, compressed (text) or not (list of numbers).

    Raises:
        AnnotationError: the code is malformed or does not fill its size exactly.
    """
    (height, width), counts = _rle_runs(rle)
    values = np.arange(len(counts)) % 2 == 1  # runs of outside and inside take turns
    columns_first = np.repeat(values, counts)
    return np.ascontiguousarray(columns_first.reshape(width, height).T)


def rle_area(rle: Mapping[str, Any]) -> int:
    """The number of pixels inside a COCO run-length code.

    >>> rle_area({"size": [2, 3], "counts": [1, 4, 1]})
    4

    Raises:
        AnnotationError: the code is malformed or does not fill its size exactly.
    """
    return int(_rle_runs(rle)[1][1::2].sum())


def _rle_runs(rle: Mapping[str, Any]) -> tuple[tuple[int, int], NDArray[np.int64]]:
    """The size (height, width) of a run-length code and its runs `(N,)`, outside first; checked.

    There are no more runs than `_most_runs`, and none is longer than the largest mask, so that
    nothing overflows 64 bits, nor takes much more memory than the mask.
    """
    height, width = _rle_size_hw(rle)
    pixels = height * width
    raw = rle.get("counts")
    if isinstance(raw, bytes):
        raw = raw.decode("latin-1")
    if isinstance(raw, str):
        counts = _decompress_counts(raw, pixels)
    elif isinstance(raw, Sequence) and all(type(count) is int for count in raw):
        sound = len(raw) <= _most_runs(pixels) and all(abs(count) <= _LONGEST for count in raw)
        counts = np.array(raw, dtype=np.int64) if sound else None
    else:
        raise AnnotationError(
            f"An RLE's counts must be a string or a list of integers, got {quoted(raw)}."
        )
    if counts is None or (counts < 0).any() or counts.sum() != pixels:
        filled = "" if counts is None else f", which fill {counts.sum()}"
        raise AnnotationError(
            f"An RLE's counts must be 0 or more and fill its {height} x {width} pixels, "
            f"got {quoted(raw)}{filled}."
        )
    return (height, width), counts


def _most_runs(pixels: int) -> int:
    """Runs that a mask of so many pixels may have: some may be of no length, as merging leaves."""
    return max(2 * pixels, 1000)


def _rle_size_hw(rle: Mapping[str, Any]) -> tuple[int, int]:
    size = rle.get("size")
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(type(side) is int and side >= 0 for side in size)
    ):
        raise AnnotationError(
            f"An RLE's size must be [height, width] in pixels, got {quoted(size)}."
        )
    if size[0] * size[1] > DEFAULT_MAX_PIXELS:
        raise AnnotationError(
            f"An RLE's size must be {DEFAULT_MAX_PIXELS:,} pixels at most in all, got "
            f"{quoted(size)}."
        )
    return size[0], size[1]


def _decompress_counts(text: str, pixels: int) -> NDArray[np.int64] | None:
    """Run lengths of COCO's compressed text; None where they cannot fill so many pixels.

    Each number is written in groups of five bits, lowest first, as characters from '0' on; bit
    32 says that more follow and bit 16 of the last is the sign. From the fourth number on, the
    difference to the one before the last is written. Not left to pycocotools, which trusts its
    input.
    """
    if len(text) > _GROUPS * _most_runs(pixels):  # which below takes ten times its memory
        return None
    groups = (
        np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int64) - 48
    )
    if not groups.size:
        return np.zeros(0, dtype=np.int64)
    last = groups & 32 == 0
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    lengths = np.diff(np.append(starts, len(groups)))
    if (groups < 0).any() or (groups > 63).any() or not last[-1] or lengths.max() > _GROUPS:
        raise AnnotationError(f"An RLE's counts are not COCO's compressed text: {quoted(text)}.")
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((groups & 31) << (5 * place), starts)
    numbers -= (groups[last] & 16 != 0) * (np.int64(1) << (5 * lengths))
    # No sum of so few numbers, none of which is larger, overflows: 2**28 times 2**27 at the most.
    if len(numbers) > _most_runs(pixels) or (np.abs(numbers) > _LONGEST).any():
        return None
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return None if (np.abs(numbers) > _LONGEST).any() else numbers


def segmentation_to_mask(
    segmentation: Sequence[Any] | Mapping[str, Any], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask `(H, W)` of a COCO annotation's `segmentation`: polygons or a run-length code.

    Raises:
        AnnotationError: it is malformed or made for a photo of another size.
    """
    if isinstance(segmentation, Mapping):
        _check_size(segmentation, size_hw)
        return decode_rle(segmentation)
    return polygons_to_mask(segmentation, size_hw)


def segmentation_to_rle(
    segmentation: Sequence[Any] | Mapping[str, Any], size_hw: tuple[int, int]
) -> Rle:
    """The same mask as a compressed run-length code, without drawing it: much faster.

    Raises:
        AnnotationError: see `segmentation_to_mask`.
    """
    height, width = size_hw
    if not isinstance(segmentation, Mapping):
        codes = _polygon_codes(segmentation, size_hw)
        return _as_text(codes[0] if len(codes) == 1 else coco_mask.merge(codes))
    _check_size(segmentation, size_hw)
    _, counts = _rle_runs(segmentation)  # pycocotools trusts its input
    code = {"size": [height, width], "counts": counts.tolist()}
    return _as_text(coco_mask.frPyObjects(code, height, width))


def check_segmentation(
    segmentation: Sequence[Any] | Mapping[str, Any], size_hw: tuple[int, int]
) -> None:
    """Refuse what `segmentation_to_mask` would, without the mask.

    Raises:
        AnnotationError: see `segmentation_to_mask`.
    """
    if isinstance(segmentation, Mapping):
        _check_size(segmentation, size_hw)
        _rle_runs(segmentation)
    else:
        _checked_polygons(segmentation, size_hw)


def _as_text(code: Mapping[str, Any]) -> Rle:
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def _check_size(rle: Mapping[str, Any], size_hw: tuple[int, int]) -> None:
    if _rle_size_hw(rle) != tuple(size_hw):
        raise AnnotationError(
            f"An RLE must have its photo's size {list(size_hw)} (height, width), "
            f"got {list(rle['size'])}."
        )


def polygons_to_mask(
    polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask `(H, W)` covered by any of some polygons, each a flat list x0, y0, x1, y1 and so on.

    Raises:
        AnnotationError: there is no polygon, or one has fewer than 3 points or stray values.
    """
    return decode_rle(coco_mask.merge(_polygon_codes(polygons, size_hw)))


def _polygon_codes(
    polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]
) -> list[dict[str, Any]]:
    height, width = size_hw
    checked = _checked_polygons(polygons, size_hw)
    codes: list[dict[str, Any]] = coco_mask.frPyObjects(checked, height, width)
    return codes


def _checked_polygons(
    polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]
) -> list[NDArray[np.float64]]:
    if not isinstance(polygons, Sequence) or isinstance(polygons, (str, bytes)) or not polygons:
        raise AnnotationError(
            f"A segmentation must be a list of polygons or an RLE, got {quoted(polygons)}."
        )
    if len(polygons) > MAX_POLYGONS:
        raise AnnotationError(
            f"An object must have {MAX_POLYGONS:,} polygons at most, got {len(polygons):,}. Give "
            "its mask as run lengths."
        )
    checked = [_checked_polygon(polygon, size_hw) for polygon in polygons]
    outline = sum(map(outline_of, checked))
    if outline > MAX_OUTLINE:
        raise AnnotationError(
            f"The polygons of an object must be {MAX_OUTLINE:,} pixels long at most, got "
            f"{outline:,.0f}. Give its mask as run lengths."
        )
    return checked


def outline_of(polygon: NDArray[np.float64]) -> float:
    """The pixels along the edges of a closed polygon `(2P,)`, x0, y0, x1, y1 and so on."""
    points = polygon.reshape(-1, 2)
    steps = np.abs(np.diff(points, axis=0, append=points[:1]))
    return float(steps.max(axis=1).sum()) + len(points)


def _checked_polygon(polygon: Sequence[float], size_hw: tuple[int, int]) -> NDArray[np.float64]:
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AnnotationError(
            f"A polygon must be a flat list of numbers x, y, x, y, …, got {quoted(polygon)}."
        ) from error
    if points.ndim != 1 or points.size < 6 or points.size % 2:
        raise AnnotationError(
            "A polygon must be a flat list x, y, x, y, … of at least 3 points (6 numbers), "
            f"got {quoted(polygon)}."
        )
    # pycocotools walks along every edge pixel by pixel: far corners would take for ever.
    reach = 10 * max(*size_hw, 100)
    if not (np.abs(points) <= reach).all():
        raise AnnotationError(
            f"A polygon must lie on its photo of {size_hw[1]} x {size_hw[0]} pixels, "
            f"got {quoted(polygon)}."
        )
    return points
