"""SAM's own image encoder (Kirillov et al., ICCV 2023): SAM alone, or joined with a CLIP (§3.1).

Ported from segment-anything (Apache-2.0); parameters have its names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ovsam.config import SamConfig
from ovsam.model.attention import vit_blocks
from ovsam.model.features import freeze
from ovsam.model.layers import sam_neck


class SamEncoder(nn.Module):
    """A plain ViT at stride 16, frozen: it gives no gradients.

    Args:
        config: its sizes.
        grid: side of the token grid (64 for 1024 pixels).
        embed_dim: channels of the embedding (SAM: 256).
    """

    def __init__(self, config: SamConfig, grid: int, embed_dim: int) -> None:
        super().__init__()
        dim = config.dim
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 16, stride=16)})
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, dim))
        self.blocks = nn.Sequential(*vit_blocks(config, grid))
        self.neck = sam_neck(dim, embed_dim)
        freeze(self)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels `(B, 3, S, S)`, S = 16 * grid -> `(B, embed_dim, S / 16, S / 16)`."""
        x = self.patch_embed["proj"](pixels).permute(0, 2, 3, 1) + self.pos_embed  # (B, h, w, dim)
        embedding: Tensor = self.neck(self.blocks(x).permute(0, 3, 1, 2))
        return embedding
