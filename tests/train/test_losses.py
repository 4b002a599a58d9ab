from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.train.losses import counted_rows, mask_iou, mask_loss, name_loss, prompt_loss

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


def test_prompt_loss_is_the_mean_over_prompts_and_holds_quality_to_the_iou() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 2, 2, generator=generator)
    quality = torch.rand(2, 4, generator=generator)
    masks, hidden = quarter(2, 3), torch.tensor([0.0, 5.0])
    loss = prompt_loss(
        logits,
        quality,
        masks,
        hidden=hidden,
        is_box=torch.tensor([True, False]),
        whole=torch.tensor([True, False]),
    )
    each = mask_loss(logits, masks)
    expected = (each[0, 0] + each[1, 1:].min()) / 2
    expected = expected + F.mse_loss(quality, mask_iou(logits, masks, hidden))
    torch.testing.assert_close(loss, expected)


def test_names_are_told_among_the_classes_that_count() -> None:
    """As if there were no others; the right class counts even where nothing is known of it."""
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0], [0.0, 1.0, 2.0, 3.0]], requires_grad=True)
    target = torch.tensor([0, 3])
    counted = counted_rows([(0, 2), None], 4, CPU)
    assert counted is not None
    found = name_loss(logits, target, counted)
    among = logits[:1, [0, 2]]
    first = F.cross_entropy(among, torch.tensor([0]), label_smoothing=0.05)
    second = F.cross_entropy(logits[1:], target[1:], label_smoothing=0.05)
    assert torch.allclose(found, torch.stack([first, second]))
    [gradient] = torch.autograd.grad(found.sum(), [logits])
    assert (gradient[0] == 0).tolist() == [False, True, False, True]
    assert torch.equal(name_loss(logits, target, counted_rows([(2,), None], 4, CPU)), found)
    assert counted_rows([None, None], 4, CPU) is None
    plain = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.05)
    assert torch.equal(name_loss(logits, target, None), plain)
