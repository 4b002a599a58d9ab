"""Losses of masks, their quality and their names; each for N prompts, without reduction."""

from __future__ import annotations

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
