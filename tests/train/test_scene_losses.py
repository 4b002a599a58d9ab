from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ovsam.train.scene_losses import (
    class_loss,
    mean_over_images,
    sample,
    sampled_mask_losses,
    uncertain_points,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only_image(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long)


def test_maps_are_sampled_between_the_centres_of_their_cells() -> None:
    maps = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.0, 0.0]]])
    assert sample(maps, points).tolist() == [[0, 4, 8, 6, 0]]


def test_logits_and_targets_of_two_sizes_are_sampled_at_the_same_places() -> None:
    """A map of x, in cells of 1/8 and of 1/32, gives the x of each point away from the edge."""
    coarse, fine = (((torch.arange(n) + 0.5) / n).expand(1, n, n) for n in (8, 32))
    points = torch.rand(1, 50, 2, generator=generator()) * 0.8 + 0.1
    torch.testing.assert_close(sample(coarse, points), points[..., 0])
    torch.testing.assert_close(sample(fine, points), points[..., 0])


def test_three_quarters_of_the_points_are_uncertain_and_the_others_anywhere() -> None:
    # |logit| is 10 on the left, 1 on the right fifth: a fifth of thrice as many candidates lies
    # there, fewer than the 75 that are chosen, and so all of them are.
    logits = torch.full((1, 1, 10), 10.0)
    logits[..., 8:] = -1
    points = uncertain_points(logits, generator(), 100)
    assert points.shape == (1, 100, 2)
    assert ((points >= 0) & (points <= 1)).all()
    right = points[0, :, 0] > 0.85
    assert right[75:].float().mean() < 0.4
    assert right[:75].float().mean() > 0.4
    # On half of the map there are candidates enough: none of the 75 lies elsewhere.
    logits[..., 5:] = -1
    points = uncertain_points(logits, generator(), 100)
    assert (points[0, :75, 0] > 0.45).all()
    assert 0.2 < (points[0, 75:, 0] < 0.45).float().mean() < 0.8


def test_points_are_drawn_for_each_mask_and_depend_on_the_generator_alone() -> None:
    logits = torch.randn(2, 8, 8, generator=generator(5))
    one, same, other = (uncertain_points(logits, generator(seed), 40) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_mask_losses_by_hand() -> None:
    """A half everywhere; the truth is everything, then nothing. 16 points."""
    logits = torch.zeros(2, 4, 4)
    masks = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    bce, dice = sampled_mask_losses(logits, masks, generator(), points=16)
    assert bce.tolist() == pytest.approx([math.log(2)] * 2)
    # Overlap 8 of 8 + 16; then 0 of 8 + 0.
    assert dice.tolist() == pytest.approx([1 - (2 * 8 + 1) / (24 + 1), 1 - 1 / (8 + 1)])


def test_right_and_wrong_masks() -> None:
    masks = torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None, None].expand(4, 8, 8)
    logits = torch.tensor([20.0, -20.0, -20.0, 20.0])[:, None, None].expand(4, 4, 4)
    bce, dice = sampled_mask_losses(logits, masks, generator(), points=16)
    assert bce.tolist() == pytest.approx([0, 0, 20, 20], abs=1e-5)
    assert dice.tolist() == pytest.approx([0, 0, 1 - 1 / 17, 1 - 1 / 17], abs=1e-5)


def test_the_points_carry_the_gradient_to_uncertain_cells() -> None:
    logits = torch.full((1, 8, 8), -8.0)
    logits[0, 4, 4] = 0
    logits.requires_grad_()
    bce, _ = sampled_mask_losses(logits, torch.ones(1, 8, 8), generator(), points=64)
    bce.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert int(logits.grad.abs().argmax()) == 4 * 8 + 4


def test_class_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, math.log(3)]])
    # Class 1 of even scores: ln 4, weight 1. The background at 3 of 6: ln 2, weight 0.1.
    loss = class_loss(logits, torch.tensor([1, 3]), only_image(2), 1)
    assert loss.item() == pytest.approx((math.log(4) + 0.1 * math.log(2)) / 1.1)


def test_prompts_without_a_label_have_no_class_loss() -> None:
    logits = torch.tensor([[0.0, 0.0], [9.0, -9.0]], requires_grad=True)
    loss = class_loss(logits, torch.tensor([0, -1]), only_image(2), 1)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].any() and not logits.grad[1].any()
    assert class_loss(logits, torch.tensor([-1, -1]), only_image(2), 1).item() == 0


def test_classes_that_nobody_looked_for_are_left_out() -> None:
    logits = torch.zeros(2, 5, requires_grad=True)  # four classes and the background
    counted = torch.tensor([[True, True, False, False], [False, False, False, False]])
    loss = class_loss(logits, torch.tensor([0, 3]), only_image(2), 1, counted)
    # Classes 0, 1 and background: ln 3; the object's own, 3, and background: ln 2.
    assert loss.item() == pytest.approx((math.log(3) + math.log(2)) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).tolist() == [
        [True, True, False, False, True],
        [False, False, False, True, True],
    ]


def test_each_image_counts_the_same() -> None:
    values, image = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 0, 1])
    assert mean_over_images(values, torch.ones(4), image, 2).item() == (2 + 10) / 2
    weights = torch.tensor([1.0, 0.0, 3.0, 0.5])
    assert mean_over_images(values, weights, image, 2).item() == ((1 + 9) / 4 + 10) / 2
    assert mean_over_images(values, torch.ones(4), image, 3).item() == 4  # the third has nothing
    assert mean_over_images(values[:0], values[:0], image[:0], 2).item() == 0


def losses_of(images: list[int], weight: Tensor) -> Tensor:
    """The loss of some of four images that differ in prompts, masks and labels.

    Logits are the same all over a mask, so that it does not matter which points are drawn.
    """
    owner = torch.tensor([0, 1, 1, 1, 2, 2, 3])
    chosen = torch.isin(owner, torch.tensor(images))
    values = torch.tensor([0.5, -1.0, 2.0, 0.1, -0.3, 1.5, -2.0])
    has_mask = torch.tensor([True, True, False, True, False, False, True])[chosen]
    image = torch.searchsorted(torch.tensor(images), owner[chosen])
    bce, dice = sampled_mask_losses(
        (weight[0] * values)[chosen][has_mask, None, None].expand(-1, 4, 4),
        (torch.arange(7) % 2 == 0)[chosen][has_mask, None, None].expand(-1, 8, 8),
        generator(),
        points=16,
    )
    labels = torch.tensor([0, 1, 2, -1, 1, 0, 2])[chosen]
    scores = (weight[1] * values[:, None] * torch.tensor([1.0, -2.0, 0.0]))[chosen]
    even = torch.ones_like(bce)
    return class_loss(scores, labels, image, len(images)) + mean_over_images(
        bce + dice, even, image[has_mask], len(images)
    )


def test_a_doubled_batch_and_two_processes_take_the_same_step() -> None:
    gradients = []
    for batches in ([[0, 1, 2, 3]], [[0, 1], [2, 3]], [[0], [1], [2], [3]]):
        weight = torch.tensor([1.0, 1.0], requires_grad=True)
        total = torch.stack([losses_of(images, weight) for images in batches]).mean()
        total.backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        gradients.append(weight.grad)
    assert gradients[0].abs().min() > 0.1
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])
