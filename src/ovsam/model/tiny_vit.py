"""MobileSAM's image encoder (Zhang et al. 2023): TinyViT (Wu et al., ECCV 2022) at stride 16.

Ported from MobileSAM and TinyViT (Apache-2.0, MIT); parameters have MobileSAM's names.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import TinyViTConfig
from ovsam.model.attention import in_windows
from ovsam.model.features import freeze
from ovsam.model.layers import sam_neck

EXPANSION = 4  # of channels inside a block


class TinyViTEncoder(nn.Module):
    """Convolutions to stride 8, windowed attention to stride 16, frozen: it gives no gradients.

    Nothing of it depends on the input's size: positions are relative, within windows.

    Args:
        config: its sizes.
        embed_dim: channels of the embedding (SAM: 256).
    """

    def __init__(self, config: TinyViTConfig, embed_dim: int) -> None:
        super().__init__()
        first, *later = config.dims
        stem = (_ConvNorm(3, first // 2, 3, stride=2), _ConvNorm(first // 2, first, 3, stride=2))
        self.patch_embed = nn.ModuleDict({"seq": nn.Sequential(stem[0], nn.GELU(), stem[1])})
        convolved = [_MBConv(first) for _ in range(config.depths[0])]
        self.layers = nn.ModuleList([_Stage(convolved, _Merging(first, later[0], 2))])
        for i, (dim, depth, heads, window) in enumerate(
            zip(later, config.depths[1:], config.heads, config.windows, strict=True)
        ):
            blocks = [_Block(dim, heads, window) for _ in range(depth)]
            # The last merging, to stride 32, does not shrink: SAM's decoder wants stride 16.
            stride = 2 if i + 2 < len(later) else 1
            merging = _Merging(dim, later[i + 1], stride) if i + 1 < len(later) else None
            self.layers.append(_Stage(blocks, merging))
        self.neck = sam_neck(later[-1], embed_dim)
        freeze(self)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels `(B, 3, H, W)` -> `(B, embed_dim, H / 16, W / 16)`."""
        x = self.patch_embed["seq"](pixels)
        for layer in self.layers:
            x = layer(x)
        embedding: Tensor = self.neck(x)
        return embedding


class _ConvNorm(nn.Module):
    """A convolution and batch norm with frozen statistics, as one convolution."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.c, self.bn
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - mean * scale
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, groups=conv.groups)


class _MBConv(nn.Module):
    """1x1 to more channels, depthwise 3x3, 1x1 back, beside the identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = EXPANSION * dim
        self.conv1 = _ConvNorm(dim, inner, 1)
        self.conv2 = _ConvNorm(inner, inner, 3, groups=inner)
        self.conv3 = _ConvNorm(inner, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(self.conv3(inner) + x)


class _Merging(nn.Module):
    """From one stage's channels to the next one's, at `1 / stride` of the size."""

    def __init__(self, in_dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(in_dim, out_dim, 1)
        self.conv2 = _ConvNorm(out_dim, out_dim, 3, stride=stride, groups=out_dim)
        self.conv3 = _ConvNorm(out_dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return merged


class _Stage(nn.Module):
    """Blocks, and what leads to the next stage."""

    def __init__(self, blocks: list[Any], downsample: _Merging | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.downsample is None else self.downsample(x)


class _Block(nn.Module):
    """Attention within windows, a depthwise convolution across them, an MLP."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(dim, heads, window)
        self.local_conv = _ConvNorm(dim, dim, 3, groups=dim)
        self.mlp = _Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)  # (B, h, w, C)
        tokens = tokens + in_windows(tokens, self.window, self.attn)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = tokens + self.mlp(tokens)
        x = tokens.permute(0, 3, 1, 2)
        return x


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, EXPANSION * dim)
        self.fc2 = nn.Linear(EXPANSION * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return x


class _Attention(nn.Module):
    """Attention of the tokens of a window, biased by how far apart two are in rows and columns."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, window, window, C)`, same shape out."""
        # Each head has its query, key and value side by side.
        qkv = self.qkv(self.norm(x)).flatten(1, 2).unflatten(-1, (self.heads, 3, -1))
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # (B, heads, window**2, C / heads)
        place = torch.arange(self.window, device=x.device)
        apart = (place[:, None] - place).abs()
        rows = apart.repeat_interleave(self.window, 0).repeat_interleave(self.window, 1)
        offsets = self.window * rows + apart.repeat(self.window, self.window)
        bias = self.attention_biases[:, offsets].to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        joined: Tensor = self.proj(seen.transpose(1, 2).reshape(x.shape))
        return joined
