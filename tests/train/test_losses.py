from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.train.losses import (
    class_loss,
    mask_iou,
    mask_loss,
    mean_over_images,
    name_loss,
    prompt_loss,
    sample,
    sampled_mask_losses,
    uncertain_points,
    verified_rows,
)

CPU = torch.device("cpu")


def quarter(*filled: int) -> Tensor:
    """Masks of 2 x 2 pixels of which the first few are filled."""
    masks = torch.zeros(len(filled), 4)
    for mask, count in zip(masks, filled, strict=True):
        mask[:count] = 1
    return masks.reshape(-1, 2, 2)


def test_mask_loss_by_hand() -> None:
    logits = torch.zeros(1, 1, 2, 2)  # a half everywhere
    loss = mask_loss(logits, quarter(1))
    # Cross-entropy is ln 2; dice: overlap 0.5, total 2 + 1.
    expected = 5 * math.log(2) + 5 * (1 - (2 * 0.5 + 1) / (3 + 1))
    assert loss.shape == (1, 1)
    assert loss.item() == pytest.approx(expected)


def test_mask_loss_of_right_and_wrong_masks() -> None:
    target = quarter(2)
    right, wrong = 40 * target - 20, 20 - 40 * target
    loss = mask_loss(torch.stack([right, wrong], 1), target)[0]
    assert loss[0].item() == pytest.approx(0, abs=1e-5)
    assert loss[1].item() == pytest.approx(5 * 20 + 5 * (1 - 1 / 5), abs=1e-4)
    empty = mask_loss(torch.full((1, 1, 2, 2), -20.0), quarter(0))
    assert empty.item() == pytest.approx(0, abs=1e-5)


def test_mask_iou_by_hand() -> None:
    logits = torch.stack([quarter(2), quarter(3), quarter(0)], 1) - 0.5
    masks, no = quarter(1), torch.zeros(1)
    assert mask_iou(logits, masks, no).tolist() == [[1 / 2, pytest.approx(1 / 3), 0]]
    # Two more pixels of the object lie outside the square: 1 of 4 is found at best.
    hidden = mask_iou(logits, masks, torch.tensor([2.0]))
    assert hidden.tolist() == [[1 / 4, pytest.approx(1 / 5), 0]]
    assert mask_iou(logits[:, 2:], quarter(0), no).tolist() == [[0]]


def test_coverage_up_to_a_half_is_background_to_the_iou() -> None:
    logits = torch.full((1, 1, 2, 2), 1.0)
    assert mask_iou(logits, torch.full((1, 2, 2), 0.5), torch.zeros(1)).item() == 0
    assert mask_iou(logits, torch.full((1, 2, 2), 0.6), torch.zeros(1)).item() == 1


def gradients(*, is_box: bool, whole: bool, best: int = 2) -> list[bool]:
    """Which of the four masks learn from a prompt for which alternative `best` fits best."""
    target = quarter(2)
    logits = torch.zeros(1, 4, 2, 2)
    logits[:, best] = target - 0.5
    logits.requires_grad_()
    iou = mask_iou(logits.detach(), target, torch.zeros(1))
    loss = prompt_loss(
        logits,
        iou,
        target,
        hidden=torch.zeros(1),
        is_box=torch.tensor([is_box]),
        whole=torch.tensor([whole]),
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return [bool(gradient.any()) for gradient in logits.grad[0]]


def test_a_box_teaches_the_first_mask_alone() -> None:
    assert gradients(is_box=True, whole=True) == [True, False, False, False]
    assert gradients(is_box=True, whole=False) == [True, False, False, False]


def test_a_point_on_an_object_teaches_the_first_and_the_best() -> None:
    assert gradients(is_box=False, whole=True) == [True, False, True, False]
    assert gradients(is_box=False, whole=True, best=3) == [True, False, False, True]


def test_a_point_on_a_part_teaches_the_first_mask_nothing() -> None:
    assert gradients(is_box=False, whole=False) == [False, False, True, False]


def test_prompt_loss_is_the_mean_over_prompts_and_holds_the_predicted_iou_to_the_iou() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 2, 2, generator=generator)
    predicted_iou = torch.rand(2, 4, generator=generator)
    masks, hidden = quarter(2, 3), torch.tensor([0.0, 5.0])
    loss = prompt_loss(
        logits,
        predicted_iou,
        masks,
        hidden=hidden,
        is_box=torch.tensor([True, False]),
        whole=torch.tensor([True, False]),
    )
    each = mask_loss(logits, masks)
    expected = (each[0, 0] + each[1, 1:].min()) / 2
    expected = expected + F.mse_loss(predicted_iou, mask_iou(logits, masks, hidden))
    torch.testing.assert_close(loss, expected)


def test_names_are_told_among_the_classes_that_count() -> None:
    """As if there were no others; the right class counts even where nothing is known of it."""
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0], [0.0, 1.0, 2.0, 3.0]], requires_grad=True)
    target = torch.tensor([0, 3])
    verified = verified_rows([(0, 2), None], 4, CPU)
    assert verified is not None
    found = name_loss(logits, target, verified)
    among = logits[:1, [0, 2]]
    first = F.cross_entropy(among, torch.tensor([0]), label_smoothing=0.05)
    second = F.cross_entropy(logits[1:], target[1:], label_smoothing=0.05)
    assert torch.allclose(found, torch.stack([first, second]))
    [gradient] = torch.autograd.grad(found.sum(), [logits])
    assert (gradient[0] == 0).tolist() == [False, True, False, True]
    assert torch.equal(name_loss(logits, target, verified_rows([(2,), None], 4, CPU)), found)
    assert verified_rows([None, None], 4, CPU) is None
    plain = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.05)
    assert torch.equal(name_loss(logits, target, None), plain)


# Of stage 2


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
    verified = torch.tensor([[True, True, False, False], [False, False, False, False]])
    loss = class_loss(logits, torch.tensor([0, 3]), only_image(2), 1, verified)
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
