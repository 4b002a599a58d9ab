"""Losses of stage 2 (paper §3.3): classes, and masks at points where they are uncertain.

Each is a mean over the prompts of each image, and then over images. An image counts the same
whatever it is batched with, so one process with a doubled batch and two processes with half of it
each, whose gradients are averaged, take the same step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 12544  # of a mask, as many as 112 x 112 pixels
OVERSAMPLED = 3
UNCERTAIN = 0.75  # share of the points where the mask is most uncertain
BACKGROUND_WEIGHT = 0.1
CLASS_WEIGHT, BCE_WEIGHT, DICE_WEIGHT = 2.0, 5.0, 5.0


def class_loss(
    class_logits: Tensor,
    labels: Tensor,
    image: Tensor,
    images: int,
    counted: Tensor | None = None,
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
        counted: `(N, C)` bool, the classes that count; None = all.
    """
    background = class_logits.shape[1] - 1
    known = labels >= 0
    target = torch.where(known, labels, background)
    logits = class_logits.float()
    if counted is not None:
        kept = F.pad(counted, (0, 1), value=True).scatter(1, target[:, None], True)
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
