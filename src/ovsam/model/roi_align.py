"""torchvision's RoIAlign; without torchvision's import where the compiled operator is enough.

`import torchvision` brings torch's compiler and all of its own models along, a good part of the
command's start; the operator alone loads at once. What it lacks is registered in Python: its
gradient, and the shapes that it gives for tensors without data (`ovsam complexity`).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import torch
from torch import Tensor


@cache
def _load_operators() -> None:
    if hasattr(torch.ops.torchvision, "roi_align"):  # somebody has imported torchvision
        return
    spec = importlib.util.find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or []
    libraries = [path for folder in folders for path in sorted(Path(folder).glob("_C*"))]
    if libraries:
        torch.ops.load_library(str(libraries[0]))  # type: ignore[no-untyped-call]
    else:  # a layout that is not known here
        import torchvision  # noqa: F401


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


def roi_align(features: Tensor, rois: Tensor, size: int, scale: float) -> Tensor:
    """Pool N regions of maps to `(N, C, size, size)` (He et al., ICCV 2017, RoIAlign, aligned).

    Bilinear samples are averaged in each cell; the corner of the first pixel is (0, 0).

    Args:
        features: `(B, C, h, w)`.
        rois: `(N, 5)`, the index in the batch and x0, y0, x1, y1 in input pixels.
        size: cells along each side.
        scale: cells of the map per input pixel.
    """
    if features.is_meta or (torch.is_grad_enabled() and features.requires_grad):
        from torchvision import ops

        pooled: Tensor = ops.roi_align(features, rois, size, scale, aligned=True)
        return pooled
    _load_operators()
    # As many samples as fall into a cell (-1), half-pixel aligned (True).
    pooled = torch.ops.torchvision.roi_align(features, rois, scale, size, size, -1, True)
    return pooled
