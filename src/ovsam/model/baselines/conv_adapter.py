"""Convolutions beside the frozen trunk: the adapters of the paper's Table 1 for Feature-Crop.

Both add to C5, with a factor that begins at zero: before training they are Feature-Crop itself. The
trunk gives no gradients, so neither reaches into its stages, as the originals do with a ViT's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.model.layers import MLP, LayerNorm2d

STEM_DIM = 64  # channels at strides 2 and 4
DIM, HEADS = 256, 8  # of the tokens that attend


class ConvAdapter(nn.Module, ABC):
    """Pixels and C2..C5 -> a changed C5; `conv_adapter` makes one.

    Args:
        channels: channels of C5.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))

    @abstractmethod
    def added(self, pixels: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """What is multiplied by `gamma` and added to C5: `(B, C, H / 32, W / 32)`."""

    def forward(self, pixels: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Normalised pixels `(B, 3, H, W)` and C2..C5 -> `(B, C, H / 32, W / 32)`."""
        c5 = pyramid[3]
        return c5 + self.gamma[:, None, None] * self.added(pixels, pyramid)


def conv_adapter(kind: Literal["vit-adapter", "mimdet"], channels: Sequence[int]) -> ConvAdapter:
    """The adapter of a kind, with random weights.

    Args:
        kind: see `BaselineConfig.conv_adapter`.
        channels: channels of C2..C5.
    """
    if kind == "mimdet":
        return MimdetAdapter(channels[3])
    return ViTAdapter(channels)


class _Stem(nn.Module):
    """Pixels `(B, 3, H, W)` -> maps `(B, DIM, H / s, W / s)` at strides s = 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.to16 = nn.Sequential(
            _halved(3, STEM_DIM),
            _halved(STEM_DIM, STEM_DIM),
            _halved(STEM_DIM, 2 * STEM_DIM),
            _halved(2 * STEM_DIM, DIM),
        )
        self.to32 = _halved(DIM, DIM)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        at16 = self.to16(pixels)
        return at16, self.to32(at16)


def _halved(channels: int, dim: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, dim, 3, stride=2, padding=1)
    return nn.Sequential(conv, LayerNorm2d(dim), nn.GELU())


class MimdetAdapter(ConvAdapter):
    """A small convolutional stem whose last map joins C5 (Fang et al., ICCV 2023, MIMDet)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.stem = _Stem()
        self.project = nn.Conv2d(DIM, channels, 1)

    def added(self, pixels: Tensor, pyramid: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """The stem's last map at C5's width: `(B, C, H / 32, W / 32)`."""
        joined: Tensor = self.project(self.stem(pixels)[1])
        return joined


class ViTAdapter(ConvAdapter):
    """Spatial prior, extractors and injector (Chen et al., ICLR 2023, ViT-Adapter).

    The stem's maps are tokens that attend to C4, then to C5 (extraction); C5 attends to them
    (injection). Attention is plain instead of deformable, hence the strides 16 and 32 alone.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels[3])
        self.stem = _Stem()
        self.levels = nn.Parameter(torch.zeros(2, DIM))  # tells the strides' tokens apart
        self.to_keys = nn.ModuleList(nn.Conv2d(c, DIM, 1) for c in channels[2:])
        self.extractors = nn.ModuleList(_Attention() for _ in channels[2:])
        self.mlps = nn.ModuleList(MLP(DIM, DIM // 4, DIM, depth=2) for _ in channels[2:])
        self.injector = _Attention()
        self.project = nn.Conv2d(DIM, channels[3], 1)

    def added(self, pixels: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """What C5's cells gather from the tokens: `(B, C, H / 32, W / 32)`."""
        maps = zip(self.stem(pixels), self.levels, strict=True)
        tokens = torch.cat([_cells(level) + code for level, code in maps], 1)  # (B, K, DIM)
        keys = tokens
        parts = zip(pyramid[2:], self.to_keys, self.extractors, self.mlps, strict=True)
        for level, to_keys, extract, mlp in parts:
            keys = _cells(to_keys(level))
            tokens = tokens + extract(tokens, keys)
            tokens = tokens + mlp(F.layer_norm(tokens, (DIM,)))
        gathered = self.injector(keys, tokens)  # the last keys are C5's cells
        added: Tensor = self.project(gathered.transpose(1, 2).unflatten(2, pyramid[3].shape[2:]))
        return added


class _Attention(nn.Module):
    """Queries `(B, Q, DIM)` attend to keys `(B, K, DIM)`, both normalised: `(B, Q, DIM)`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_queries, self.norm_keys = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        keys = self.norm_keys(keys)
        queries = self.norm_queries(queries)
        attended: Tensor = self.attention(queries, keys, keys, need_weights=False)[0]
        return attended


def _cells(level: Tensor) -> Tensor:
    """`(B, C, h, w)` -> `(B, h * w, C)`."""
    return level.flatten(2).transpose(1, 2)
