"""Attention of SAM's image encoder: the windowed ViT block.

Ported from segment-anything (Apache-2.0), `image_encoder.py`, with the attention itself left to
PyTorch. Parameter names are SAM's, so that its weights load as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import ViTConfig
from ovsam.model.layers import EPSILON

MLP_RATIO = 4  # hidden width of a ViT block's MLP as a multiple of its channels


class TransformerMLP(nn.Module):
    """Linear, activation, linear.

    Args:
        dim: channels in and out.
        hidden_dim: channels between.
        activation: between the two.
    """

    def __init__(self, dim: int, hidden_dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        """`(..., dim)` -> `(..., dim)`."""
        x = self.lin2(self.act(self.lin1(x)))
        return x


class RelativeAttention(nn.Module):
    """Multi-head self-attention over a grid of tokens, with decomposed relative positions.

    The scores of a query are biased by its distance to a key along each axis (MViTv2, Li et al.,
    CVPR 2022), as in ViTDet and SAM.

    Args:
        dim: channels.
        heads: attention heads, which share the channels among them.
        grid: side of the grid in tokens that the tables of positions are made for.
    """

    def __init__(self, dim: int, heads: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each grid of `(B, H, W, dim)`; same shape out."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x).reshape(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (B, heads, H * W, dim / heads)
        q_grid = q.reshape(b, self.heads, h, w, -1)
        rel_h = torch.einsum("bnhwc,hkc->bnhwk", q_grid, _relative(h, self.rel_pos_h))
        rel_w = torch.einsum("bnhwc,wkc->bnhwk", q_grid, _relative(w, self.rel_pos_w))
        bias = (rel_h[..., :, None] + rel_w[..., None, :]).reshape(b, self.heads, h * w, h * w)
        x = attended(q, k, v, bias)
        x = x.transpose(1, 2).reshape(b, h, w, -1)
        x = self.proj(x)
        return x


def attended(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention of `(B, heads, Q, D)` to `(B, heads, K, D)`, scores biased: as the queries.

    `scaled_dot_product_attention`, written out where its gradient is slow: on a CPU in
    bfloat16 the gradients of PyTorch's kernels take about three times as long.
    """
    learns = any(x.requires_grad for x in (q, k, v))
    if not (learns and q.dtype == torch.bfloat16 and q.device.type == "cpu"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = q * q.shape[-1] ** -0.5 @ k.mT  # (B, heads, Q, K)
    if bias is not None:
        scores = scores + bias
    attended: Tensor = scores.softmax(-1).to(v) @ v
    return attended


def _relative(size: int, table: Tensor) -> Tensor:
    """Rows of `table` `(2 * grid - 1, C)` for every pair of positions: `(size, size, C)`.

    A table made for another grid is resampled, as SAM does.
    """
    # An exported graph takes grids of other sizes, too.
    if torch.compiler.is_exporting() or len(table) != 2 * size - 1:
        table = F.interpolate(table.T[None], size=2 * size - 1, mode="linear")[0].T
    positions = torch.arange(size, device=table.device)
    return table[positions[:, None] - positions[None, :] + size - 1]


class ViTBlock(nn.Module):
    """One block of SAM's image encoder: attention in windows (or global), then an MLP.

    Args:
        dim: channels.
        heads: attention heads.
        window: side of an attention window in tokens; 0 = the whole grid.
        grid: side of the whole grid in tokens, which sizes a global block's table of positions.
    """

    def __init__(self, dim: int, heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.attn = RelativeAttention(dim, heads, window or grid)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.mlp = TransformerMLP(dim, MLP_RATIO * dim, nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, dim)` tokens, same shape out."""
        y = self.norm1(x)
        x = x + (in_windows(y, self.window, self.attn) if self.window else self.attn(y))
        x = x + self.mlp(self.norm2(x))
        return x


def in_windows(x: Tensor, side: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """What `attend` makes of each window of a grid of tokens, put together again.

    Args:
        x: `(B, H, W, dim)`; filled up with zeros to whole windows.
        side: of a window, in tokens.
        attend: `(N, side, side, dim)`, same shape out.

    Returns:
        `(B, H, W, dim)`.
    """
    b, h, w, c = x.shape
    x = F.pad(x, (0, 0, 0, -w % side, 0, -h % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.reshape(b, rows, side, columns, side, c).transpose(2, 3)
    x = attend(x.reshape(-1, side, side, c))
    x = x.reshape(b, rows, columns, side, side, c).transpose(2, 3)
    return x.reshape(b, rows * side, columns * side, c)[:, :h, :w]


def vit_blocks(config: ViTConfig, grid: int) -> list[ViTBlock]:
    """The blocks of a vision transformer on a grid of so many tokens along each side."""
    windows = (0 if i in config.global_blocks else config.window for i in range(config.depth))
    return [ViTBlock(config.dim, config.heads, window, grid) for window in windows]
