"""SAM2CLIP adapter: the frozen pyramid -> an embedding like SAM's (paper §3.2, Eq. 2 and 3).

The levels meet at stride 16 by strided convolutions, as in the authors' release, where Eq. 3 has
bilinear upsampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ovsam.config import AdapterConfig
from ovsam.model.attention import vit_blocks
from ovsam.model.layers import sam_neck


class _ToStride16(nn.Module):
    """One level of the pyramid brought to stride 16 and the adapter's width by one conv."""

    def __init__(self, channels: int, dim: int, stride: int) -> None:
        super().__init__()
        if stride == 32:
            self.projection: nn.Module = nn.ConvTranspose2d(channels, dim, 2, stride=2)
        else:
            step = 16 // stride
            self.projection = nn.Conv2d(channels, dim, step, stride=step)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` -> `(B, h, w, dim)` at stride 16."""
        x = self.projection(x)
        return x.permute(0, 2, 3, 1)  # (B, h, w, dim)


class Adapter(nn.Module):
    """C2..C5 -> an embedding in SAM's space, at stride 16.

    Args:
        channels: channels of C2..C5 (strides 4, 8, 16, 32).
        config: width, depth and the rest.
        grid: side of the token grid at the model's image size (64 for 1024 pixels).
        embed_dim: channels of the embedding (SAM: 256).
    """

    pos_embed: Tensor | None
    checkpoint_activations = False  # whether blocks run again for the gradient, to save memory

    def __init__(
        self, channels: Sequence[int], config: AdapterConfig, grid: int, embed_dim: int
    ) -> None:
        super().__init__()
        dim = config.dim
        self.multi_scale = config.multi_scale
        levels = list(zip(channels, (4, 8, 16, 32), strict=True))
        if not config.multi_scale:
            levels = levels[2:3]
        self.patch_embeds = nn.ModuleList(_ToStride16(c, dim, stride) for c, stride in levels)
        if config.multi_scale:
            self.level_encoding = nn.Embedding(len(levels), dim)  # normal(0, 1) at the start
        # SAM ViT-H's position embedding, not trained: a buffer that a checkpoint fills.
        self.register_buffer(
            "pos_embed", torch.zeros(1, grid, grid, dim) if config.position_embedding else None
        )
        self.blocks = nn.ModuleList(vit_blocks(config, grid))
        self.neck = sam_neck(dim, embed_dim)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """C2..C5, each `(B, C, H / stride, W / stride)` -> `(B, embed_dim, H / 16, W / 16)`."""
        if self.multi_scale:
            encoded = zip(self.patch_embeds, pyramid, self.level_encoding.weight, strict=True)
            x: Tensor = sum(embed(level) + encoding for embed, level, encoding in encoded)
        else:
            x = self.patch_embeds[0](pyramid[2])
        if self.pos_embed is not None:
            x = x + _resampled(self.pos_embed, x.shape[1:3])
        for block in self.blocks:
            if self.checkpoint_activations:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        x = self.neck(x.permute(0, 3, 1, 2))  # (B, embed_dim, h, w)
        return x


def _resampled(pos_embed: Tensor, size_hw: Sequence[int]) -> Tensor:
    """`(1, grid, grid, C)` to `(1, h, w, C)`; untouched at the size it was made for."""
    if tuple(pos_embed.shape[1:3]) == tuple(size_hw):
        return pos_embed
    resampled = F.interpolate(
        pos_embed.permute(0, 3, 1, 2), size=tuple(size_hw), mode="bicubic", align_corners=False
    )
    return resampled.permute(0, 2, 3, 1)
