"""Small layers that several steps share; those of SAM ported from segment-anything (Apache-2.0)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # added to variances (SAM's)


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each pixel of a map.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)`, same shape out."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPSILON)
        return x.permute(0, 3, 1, 2)


def sam_neck(dim: int, embed_dim: int) -> nn.Sequential:
    """The layers that turn a ViT's map `(B, dim, h, w)` into SAM's `(B, embed_dim, h, w)`."""
    return nn.Sequential(
        nn.Conv2d(dim, embed_dim, 1, bias=False),
        LayerNorm2d(embed_dim),
        nn.Conv2d(embed_dim, embed_dim, 3, padding=1, bias=False),
        LayerNorm2d(embed_dim),
    )


class MLP(nn.Module):
    """Linear layers with ReLU between them: SAM's hypernetworks and IoU head, and ours.

    Args:
        in_dim: channels in.
        hidden_dim: channels between the layers.
        out_dim: channels out.
        depth: how many layers.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, depth: int = 3) -> None:
        super().__init__()
        dims = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_dim)` -> `(..., out_dim)`."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        x = self.layers[-1](x)
        return x


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel with its own kernel, whose gradient is quick on a CPU, too.

    PyTorch's gradient of such a kernel takes ten times as long there as all else of the layer.

    Args:
        channels: in and out.
        kernel_size: odd; the border is padded so that the size stays.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)`, same shape out."""
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        weight, bias = self.weight, self.bias
        assert bias is not None
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            x, weight, bias = x.to(kind), weight.to(kind), bias.to(kind)
        convolved: Tensor = _Depthwise.apply(x, weight, bias)
        return convolved


class _Depthwise(torch.autograd.Function):
    """`F.conv2d(x, weight, bias, padding=k // 2, groups=C)` with `(C, 1, k, k)` kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        [gradient] = gradients
        count, channels, height, width = x.shape
        padding = weight.shape[-1] // 2
        x_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = F.conv2d(gradient, weight.flip(2, 3), padding=padding, groups=channels)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3))
        if not ctx.needs_input_grad[1]:
            return x_gradient, weight_gradient, bias_gradient
        # Each channel of each image is correlated with its own gradient: a depthwise convolution
        # once more, whose kernels are the gradients.
        correlated = F.conv2d(
            x.reshape(1, count * channels, height, width),
            gradient.reshape(count * channels, 1, height, width),
            padding=padding,
            groups=count * channels,
        )  # (1, B * C, k, k)
        weight_gradient = correlated.reshape(count, channels, 1, *weight.shape[2:]).sum(0)
        return x_gradient, weight_gradient, bias_gradient
