"""Losses of masks, their quality and their names; each for N prompts, without reduction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_loss(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus dice (as the paper: both with weight 5, dice smoothed by 1).

    Args:
        mask_logits: `(N, M, h, w)`.
        masks: `(N, h, w)` coverage in [0, 1].

    Returns:
        `(N, M)`.
    """
    target = masks[:, None].expand_as(mask_logits)
    bce = F.binary_cross_entropy_with_logits(mask_logits, target, reduction="none").mean((2, 3))
    probability = mask_logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    total = probability.sum((2, 3)) + target.sum((2, 3))
    return 5 * bce + 5 * (1 - (2 * overlap + 1) / (total + 1))


def mask_iou(mask_logits: Tensor, masks: Tensor, hidden: Tensor) -> Tensor:
    """IoU of masks (logit > 0) `(N, M, h, w)` with the truth (coverage > 0.5) `(N, h, w)`.

    `hidden` `(N,)` pixels of each object lie outside the square and count as missed, so that a
    square too small for its object is known to be one.
    """
    predicted, truth = mask_logits > 0, (masks > 0.5)[:, None]
    overlap = (predicted & truth).sum((2, 3))
    union = (predicted | truth).sum((2, 3)) + hidden[:, None]
    return overlap / union.clamp(min=1)


def prompt_loss(
    mask_logits: Tensor,
    quality: Tensor,
    masks: Tensor,
    *,
    hidden: Tensor,
    is_box: Tensor,
    whole: Tensor,
) -> Tensor:
    """SAM's rule for its four masks, averaged over the prompts (SAM, appendix A).

    The first mask answers every clear prompt: a box, or a point on a whole object. The best of the
    other three learns from every point, so that they spread over what a point may mean. The
    predicted quality of all four is held to their IoU.

    Args:
        mask_logits: `(N, 4, h, w)`.
        quality: `(N, 4)` predicted IoU.
        masks: `(N, h, w)` coverage in [0, 1].
        hidden: `(N,)` pixels of the object outside the square.
        is_box: `(N,)` bool.
        whole: `(N,)` bool, whether a point on the object means this object.
    """
    losses = mask_loss(mask_logits, masks)
    clear = (is_box | whole).float()
    first = losses[:, 0] * clear
    best = losses[:, 1:].amin(1) * (~is_box).float()
    with torch.no_grad():
        iou = mask_iou(mask_logits, masks, hidden)
    return (first + best).mean() + F.mse_loss(quality, iou)


def name_loss(
    class_logits: Tensor, target: Tensor, counted: Tensor | None, smoothing: float = 0.05
) -> Tensor:
    """Cross-entropy with smoothed labels among the classes that count.

    Args:
        class_logits: `(N, C)`.
        target: `(N,)` the right class.
        counted: `(N, C)` bool, as `counted_rows` gives it; None = all. The right class counts.
        smoothing: share of the target that the classes have alike.

    Returns:
        `(N,)`.
    """
    if counted is None:
        return F.cross_entropy(class_logits, target, reduction="none", label_smoothing=smoothing)
    kept = counted.scatter(1, target[:, None], True)
    logs = class_logits.masked_fill(~kept, -torch.inf).log_softmax(1)
    right = logs.gather(1, target[:, None])[:, 0]
    alike = logs.masked_fill(~kept, 0).sum(1) / kept.sum(1)
    return -(1 - smoothing) * right - smoothing * alike


def counted_rows(
    counted: Sequence[Sequence[int] | None], classes: int, device: torch.device
) -> Tensor | None:
    """The classes that count `(N, C)` bool, from their numbers; None where all do everywhere."""
    if all(numbers is None for numbers in counted):
        return None
    rows = torch.zeros(len(counted), classes, dtype=torch.bool)
    for row, numbers in zip(rows, counted, strict=True):
        row[slice(None) if numbers is None else list(numbers)] = True
    return rows.to(device)
