"""Layers and attention whose gradients are our own, held to PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.model.attention import ViTBlock
from ovsam.model.layers import DepthwiseConv2d
from ovsam.model.two_way import DownsampledAttention


def gradients(loss: Tensor, of: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of)


@pytest.mark.parametrize(("kernel", "size_hw"), [(3, (5, 7)), (7, (6, 4))])
def test_a_depthwise_convolution_is_pytorch_s_with_its_gradients(
    kernel: int, size_hw: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv2d(3, kernel)
    theirs = nn.Conv2d(3, 3, kernel, padding=kernel // 2, groups=3)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, *size_hw, requires_grad=True)
    towards = torch.randn(2, 3, *size_hw)
    found, expected = (
        (convolve(x), gradients((convolve(x) * towards).sum(), [x, *convolve.parameters()]))
        for convolve in (ours, theirs)
    )
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_the_gradient_of_a_depthwise_convolution_by_small_steps() -> None:
    torch.manual_seed(0)
    convolve = DepthwiseConv2d(2, 3).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    inputs = (x, *convolve.parameters())
    assert torch.autograd.gradcheck(
        lambda x, *w: torch.func.functional_call(
            convolve, dict(zip(("weight", "bias"), w, strict=True)), (x,)
        ),
        inputs,
    )


def test_a_depthwise_convolution_needs_no_gradient_of_its_input() -> None:
    convolve = DepthwiseConv2d(2, 3)
    convolve(torch.ones(1, 2, 3, 3)).sum().backward()
    assert convolve.bias is not None and convolve.bias.grad is not None
    assert convolve.bias.grad.tolist() == [9.0, 9.0]
    assert convolve.weight.grad is not None
    assert convolve.weight.grad[0, 0].tolist() == [[4.0, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_bfloat16_changes_a_depthwise_gradient_by_its_rounding_alone() -> None:
    torch.manual_seed(0)
    convolve, x = DepthwiseConv2d(3, 7), torch.randn(4, 3, 16, 16, requires_grad=True)
    exact = gradients(convolve(x).square().mean(), [x, *convolve.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        made = convolve(x)
    assert made.dtype == torch.bfloat16
    rounded = gradients(made.float().square().mean(), [x, *convolve.parameters()])
    for one, other in zip(rounded, exact, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() < 0.02 * other.norm()


def test_windowed_attention_in_bfloat16_has_the_fused_kernel_s_gradients() -> None:
    """Of its relative positions, too."""
    torch.manual_seed(0)
    block = ViTBlock(8, heads=2, window=2, grid=4)
    for table in (block.attn.rel_pos_h, block.attn.rel_pos_w):
        nn.init.normal_(table)
    x = torch.randn(1, 4, 4, 8)
    learnt = list(block.parameters())
    expected = gradients(block(x).square().sum(), learnt)
    with torch.autocast("cpu", torch.bfloat16):
        made = block(x)
    found = gradients(made.float().square().sum(), learnt)
    for one, other in zip(found, expected, strict=True):
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.995


def test_attention_in_bfloat16_has_the_fused_kernel_s_values_and_gradients() -> None:
    torch.manual_seed(0)
    attend = DownsampledAttention(16, heads=2).bfloat16()
    q, k = (torch.randn(2, n, 16).bfloat16().requires_grad_() for n in (5, 9))
    written_out = attend(q, k, k)
    with torch.no_grad():
        torch.testing.assert_close(written_out, attend(q, k, k), atol=2e-2, rtol=2e-2)
    exact = attend.float()
    wide = [x.detach().float().requires_grad_() for x in (q, k)]
    expected = gradients(exact(*wide, wide[1]).square().sum(), wide)
    attend.bfloat16()
    found = gradients(attend(q, k, k).float().square().sum(), [q, k])
    for one, other in zip(found, expected, strict=True):
        assert F.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > 0.999
