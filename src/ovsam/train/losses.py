"""Losses of masks, their predicted IoU and their names.

Those of `joint` are given for each of N prompts, or as their mean. Those of stage 2 (paper §3.3)
are taken at points where a mask is uncertain, and averaged over the prompts of each image and then
over images: an image counts the same whatever it is batched with, so one process with a doubled
batch and two processes with half of it each, whose gradients are averaged, take the same step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LABEL_SMOOTHING = 0.05
POINTS = 12544  # of a mask, as many as 112 x 112 pixels
OVERSAMPLED = 3
UNCERTAIN = 0.75  # share of the points where the mask is most uncertain
BACKGROUND_WEIGHT = 0.1
CLASS_WEIGHT, BCE_WEIGHT, DICE_WEIGHT = 2.0, 5.0, 5.0  # the authors' release; the paper names none


def mask_loss(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus dice (paper §3.3), weighted and smoothed as in the release.

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
    return BCE_WEIGHT * bce + DICE_WEIGHT * (1 - (2 * overlap + 1) / (total + 1))


def mask_iou(mask_logits: Tensor, masks: Tensor, hidden: Tensor) -> Tensor:
    """IoU of masks (logit > 0) `(N, M, h, w)` with the annotated ones (coverage > 0.5) `(N, h, w)`.

    `hidden` `(N,)` pixels of each object lie outside the crop and count as missed, so that a
    crop too small for its object is known to be one.
    """
    predicted, target = mask_logits > 0, (masks > 0.5)[:, None]
    overlap = (predicted & target).sum((2, 3))
    union = (predicted | target).sum((2, 3)) + hidden[:, None]
    return overlap / union.clamp(min=1)


def prompt_loss(
    mask_logits: Tensor,
    predicted_iou: Tensor,
    masks: Tensor,
    *,
    hidden: Tensor,
    is_box: Tensor,
    whole: Tensor,
) -> Tensor:
    """SAM's rule for its four masks, averaged over the prompts (SAM, appendix A).

    The first mask answers every clear prompt: a box, or a point on a whole object. The best of the
    other three learns from every point, so that they spread over what a point may mean. The
    predicted IoU of all four is held to their IoU.

    Args:
        mask_logits: `(N, 4, h, w)`.
        predicted_iou: `(N, 4)`.
        masks: `(N, h, w)` coverage in [0, 1].
        hidden: `(N,)` pixels of the object outside the crop.
        is_box: `(N,)` bool.
        whole: `(N,)` bool, whether a point on the object means this object.
    """
    losses = mask_loss(mask_logits, masks)
    clear = (is_box | whole).float()
    first = losses[:, 0] * clear
    best = losses[:, 1:].amin(1) * (~is_box).float()
    with torch.no_grad():
        iou = mask_iou(mask_logits, masks, hidden)
    return (first + best).mean() + F.mse_loss(predicted_iou, iou)


def name_loss(
    class_logits: Tensor,
    target: Tensor,
    verified: Tensor | None,
    smoothing: float = LABEL_SMOOTHING,
) -> Tensor:
    """Cross-entropy with smoothed labels, among the verified classes.

    Args:
        class_logits: `(N, C)`.
        target: `(N,)` the class that the object has.
        verified: `(N, C)` bool, as `verified_rows` gives it; None = all. The target is always one.
        smoothing: the part of a label that is spread evenly over the classes.

    Returns:
        `(N,)`.
    """
    if verified is None:
        return F.cross_entropy(class_logits, target, reduction="none", label_smoothing=smoothing)
    kept = verified.scatter(1, target[:, None], True)
    logs = class_logits.masked_fill(~kept, -torch.inf).log_softmax(1)
    of_target = logs.gather(1, target[:, None])[:, 0]
    of_all = logs.masked_fill(~kept, 0).sum(1) / kept.sum(1)
    return -(1 - smoothing) * of_target - smoothing * of_all


def verified_rows(
    verified: Sequence[Sequence[int] | None], classes: int, device: torch.device
) -> Tensor | None:
    """The verified classes `(N, C)` bool, from their numbers; None where all are everywhere."""
    if all(numbers is None for numbers in verified):
        return None
    rows = torch.zeros(len(verified), classes, dtype=torch.bool)
    for row, numbers in zip(rows, verified, strict=True):
        row[slice(None) if numbers is None else list(numbers)] = True
    return rows.to(device)


def class_loss(
    class_logits: Tensor,
    labels: Tensor,
    image: Tensor,
    images: int,
    verified: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over classes and background, weighted by class within an image: a scalar.

    With federated labels (LVIS; Zhou et al. 2021, "Probabilistic two-stage detection", federated
    loss) most classes were never looked for in a photo, so that nothing is known of them there.
    They are left out of the softmax: what counts is the object's own class, the photo's other
    classes and those known to be absent from it. The object's own class and the background always
    count.

    Args:
        class_logits: `(N, C + 1)`, background last.
        labels: `(N,)` class, C for the background, -1 for no loss.
        image: `(N,)` which image each prompt belongs to.
        images: how many there are.
        verified: `(N, C)` bool, the verified classes; None = all.
    """
    background = class_logits.shape[1] - 1
    known = labels >= 0
    target = torch.where(known, labels, background)
    logits = class_logits.float()
    if verified is not None:
        kept = F.pad(verified, (0, 1), value=True).scatter(1, target[:, None], True)
        logits = logits.masked_fill(~kept, -torch.inf)
    loss = F.cross_entropy(logits, target, reduction="none")
    weights = torch.where(target == background, BACKGROUND_WEIGHT, 1.0) * known
    return mean_over_images(loss, weights, image, images)


def sampled_mask_losses(
    mask_logits: Tensor, masks: Tensor, generator: torch.Generator, points: int = POINTS
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice (smoothed by 1) at points drawn by `uncertain_points`.

    Args:
        mask_logits: `(N, h, w)`.
        masks: `(N, H, W)` bool or coverage in [0, 1].
        generator: on the device of the logits.
        points: of each mask.

    Returns:
        Both `(N,)`.
    """
    logits = mask_logits.float()
    with torch.no_grad():
        where = uncertain_points(logits, generator, points)
        target = sample(masks.float(), where)  # (N, points)
    drawn = sample(logits, where)
    bce = F.binary_cross_entropy_with_logits(drawn, target, reduction="none").mean(1)
    probability = drawn.sigmoid()
    overlap = (probability * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return bce, 1 - (2 * overlap + 1) / (total + 1)


def uncertain_points(mask_logits: Tensor, generator: torch.Generator, count: int) -> Tensor:
    """Points for a loss, as PointRend and Mask2Former draw them: `(N, count, 2)` xy in [0, 1].

    Three quarters are those of `3 * count` random points whose logit is closest to 0, the others
    random: mask `(N, h, w)` by mask.
    """
    masks, device = len(mask_logits), mask_logits.device
    candidates = torch.rand(
        masks, OVERSAMPLED * count, 2, generator=generator, device=device
    )  # (N, 3 count, 2)
    uncertain = round(UNCERTAIN * count)
    order = sample(mask_logits, candidates).abs().topk(uncertain, 1, largest=False).indices
    chosen = candidates.gather(1, order[..., None].expand(-1, -1, 2))
    others = torch.rand(masks, count - uncertain, 2, generator=generator, device=device)
    return torch.cat([chosen, others], 1)


def sample(maps: Tensor, points_xy: Tensor) -> Tensor:
    """Maps `(N, h, w)` at points `(N, P, 2)`, xy in [0, 1] of the whole map: `(N, P)`, linear."""
    grid = 2 * points_xy[:, None] - 1
    drawn = F.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)
    return drawn[:, 0, 0]


def mean_over_images(values: Tensor, weights: Tensor, image: Tensor, images: int) -> Tensor:
    """The weighted mean of `values` `(N,)` within each image, then the mean over images: a scalar.

    An image without weight gives 0, but counts as an image: how many count must not depend on what
    is in them.
    """
    belongs = image[None] == torch.arange(images, device=image.device)[:, None]  # (B, N)
    weights = belongs * weights
    total = weights.sum(1)
    sums = (weights * values).sum(1)
    return (sums / torch.where(total > 0, total, 1.0)).mean()
