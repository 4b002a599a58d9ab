"""RoIAlign (He et al., ICCV 2017, aligned): torchvision's operator, and the same as products.

`import torchvision` brings torch's compiler and all of its own models along, a good part of the
command's start; the operator alone loads at once. What it lacks is registered in Python: its
gradient, and the shapes that it gives for tensors without data (`ovsam complexity`). Where none
can be loaded, as with a torchvision made for another torch, regions are pooled by products:
bilinear samples of a box's rows and columns are weights of the map's.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_LARGEST = 2  # boxes so many times as large as a map are sampled as densely as torchvision does


def pool_boxes(level: Tensor, boxes_xyxy: Tensor, batch: Tensor, size: int, stride: int) -> Tensor:
    """Pool N boxes of one level of a pyramid to float32 `(N, C, size, size)`; see `roi_align`.

    Args:
        level: `(B, C, H / stride, W / stride)`.
        boxes_xyxy: `(N, 4)` model pixels.
        batch: `(N,)` which image of the batch each box belongs to.
        size: cells along each side.
        stride: model pixels per cell of the level.
    """
    rois = torch.cat([batch[:, None].to(boxes_xyxy), boxes_xyxy], dim=1)  # (N, 5)
    return roi_align(level.float(), rois.float(), size, 1 / stride)


def mean_in_boxes(
    level: Tensor, boxes_xyxy: Tensor, batch: Tensor, size: int, stride: int
) -> Tensor:
    """The mean over the cells of `pool_boxes`: `(N, C)` float32.

    That is one sum over the level, whose cells weigh as much as samples fall on them.
    """
    rows, columns = (weights.mean(1) for weights in _weights(level, boxes_xyxy, size, 1 / stride))
    cells = (rows[:, :, None] * columns[:, None, :]).flatten(1)  # (N, h * w)
    photos = torch.arange(level.shape[0], device=batch.device)[:, None, None]
    # A product for each photo, with the boxes of others at 0: no level is copied for a box.
    theirs = cells * (batch[:, None] == photos)  # (B, N, h * w)
    means: Tensor = (theirs @ level.float().flatten(2).mT).sum(0)
    return means


def roi_align(features: Tensor, rois: Tensor, size: int, scale: float) -> Tensor:
    """Pool N regions of maps to `(N, C, size, size)`.

    Bilinear samples are averaged in each cell; the corner of the first pixel is (0, 0).

    Args:
        features: `(B, C, h, w)`.
        rois: `(N, 5)`, the index in the batch and x0, y0, x1, y1 in input pixels.
        size: cells along each side.
        scale: cells of the map per input pixel.
    """
    if not _loads_operators():
        return roi_align_by_products(features, rois, size, scale)
    if features.is_meta or (torch.is_grad_enabled() and features.requires_grad):
        from torchvision import ops

        pooled: Tensor = ops.roi_align(features, rois, size, scale, aligned=True)
        return pooled
    # As many samples as fall into a cell (-1), half-pixel aligned (True).
    pooled = torch.ops.torchvision.roi_align(features, rois, scale, size, size, -1, True)
    return pooled


def roi_align_by_products(features: Tensor, rois: Tensor, size: int, scale: float) -> Tensor:
    """`roi_align` in torch alone; a box of over twice the map's size is sampled less densely."""
    rows, columns = _weights(features, rois[:, 1:], size, scale)
    maps = features[rois[:, 0].long()]  # (N, C, h, w)
    return rows[:, None] @ maps @ columns[:, None].mT


def _weights(level: Tensor, boxes_xyxy: Tensor, size: int, scale: float) -> tuple[Tensor, Tensor]:
    """How much each of a map's rows and columns counts in each cell of a pooled box.

    Args:
        level: `(B, C, h, w)`.
        boxes_xyxy: `(N, 4)` input pixels.
        size: cells along each side.
        scale: cells of the map per input pixel.

    Returns:
        `(N, size, h)` and `(N, size, w)`; each cell's sum is 1 within the map.
    """
    boxes = boxes_xyxy.float() * scale - 0.5  # so that a pixel's centre is its number
    return (
        _axis_weights(boxes[:, 1], boxes[:, 3], size, level.shape[2]),
        _axis_weights(boxes[:, 0], boxes[:, 2], size, level.shape[3]),
    )


def _axis_weights(low: Tensor, high: Tensor, size: int, cells: int) -> Tensor:
    """The same along one axis: boxes from `low` to `high` `(N,)` -> `(N, size, cells)`."""
    most = (_LARGEST * cells + size - 1) // size
    step = (high - low) / size
    samples = step.ceil().clamp(0, most)  # (N,) in each cell of the box
    k = torch.arange(most, device=low.device)
    offset = (k + 0.5) / samples.clamp(min=1)[:, None]  # (N, most)
    start = torch.arange(size, device=low.device)[:, None]
    at = low[:, None, None] + (start + offset[:, None]) * step[:, None, None]  # (N, size, most)
    inside = (k < samples[:, None])[:, None] & (at >= -1) & (at <= cells)
    distance = at.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=low.device)
    weights = (1 - distance.abs()).clamp(min=0) * inside[..., None]  # (N, size, most, cells)
    summed: Tensor = weights.sum(2) / samples.clamp(min=1)[:, None, None]
    return summed


@cache
def _loads_operators() -> bool:
    """Whether torchvision's compiled operators are there; said once where they are not."""
    if hasattr(torch.ops.torchvision, "roi_align"):  # somebody has imported torchvision
        return True
    spec = importlib.util.find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or []
    libraries = [path for folder in folders for path in sorted(Path(folder).glob("_C*"))]
    try:
        if libraries:
            torch.ops.load_library(str(libraries[0]))  # type: ignore[no-untyped-call]
        else:  # a layout that is not known here
            import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        logging.getLogger(__name__).info("RoIAlign runs in torch alone: %s", error)
        return False
    return hasattr(torch.ops.torchvision, "roi_align")
