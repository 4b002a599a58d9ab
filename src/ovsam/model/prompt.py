"""SAM's prompt encoder: points, boxes and masks -> tokens and a dense map.

Ported from segment-anything (Apache-2.0), `prompt_encoder.py`; parameter names are SAM's. It takes
the sizes with each call, so that one set of weights serves whole photos and zoomed squares.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ovsam.model.layers import LayerNorm2d
from ovsam.model.prompt_batch import NOT_A_POINT, box_mask_logits, coverage_logits


class RandomFourierPositions(nn.Module):
    """Positions in [0, 1]² -> sine and cosine of random projections (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor  # (2, dim / 2)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, xy: Tensor) -> Tensor:
        """`(..., 2)` in [0, 1] -> `(..., dim)`."""
        # Not a matrix product: autocast would round that to half precision, and so move points.
        along_x, along_y = self.positional_encoding_gaussian_matrix
        xy = 2 * xy - 1
        angles = 2 * math.pi * (xy[..., :1] * along_x + xy[..., 1:] * along_y)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks in model pixels -> sparse tokens and a dense map."""

    def __init__(self, embed_dim: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.pe_layer = RandomFourierPositions(embed_dim)
        # In order: negative point, positive point, top-left corner, bottom-right corner.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def dense_positions(self, grid_hw: tuple[int, int]) -> Tensor:
        """Position code of each cell's centre: `(1, embed_dim, h, w)`."""
        h, w = grid_hw
        device = self.no_mask_embed.weight.device
        y = (torch.arange(h, device=device) + 0.5) / h
        x = (torch.arange(w, device=device) + 0.5) / w
        xy = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        code: Tensor = self.pe_layer(xy)
        return code.permute(2, 0, 1)[None]  # (1, embed_dim, h, w)

    def forward(
        self,
        points_xy: Tensor | None,
        point_labels: Tensor | None,
        boxes_xyxy: Tensor | None,
        mask_logits: Tensor | None,
        size_hw: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Encode N prompts of the same kind, given in SAM's convention; see `PromptBatch`.

        Args:
            points_xy: `(N, P, 2)` model pixels, where (0, 0) is the centre of the first, or None.
            point_labels: `(N, P)` 1, 0, or `NOT_A_POINT`; None with no points.
            boxes_xyxy: `(N, 4)` model pixels, or None.
            mask_logits: `(N, 1, H / 4, W / 4)`, or None.
            size_hw: the model's input (H, W), padding included.

        Returns:
            Tokens `(N, T, embed_dim)` and the dense map `(N, embed_dim, H / 16, W / 16)`.
        """
        tokens = []
        if points_xy is not None and point_labels is not None:
            tokens.append(
                self._embed_points(points_xy, point_labels, size_hw, pad=boxes_xyxy is None)
            )
        if boxes_xyxy is not None:
            corners = self._positions(boxes_xyxy.reshape(-1, 2, 2), size_hw)
            tokens.append(corners + torch.cat([self._point_type(2), self._point_type(3)]))
        count = next(len(p) for p in (points_xy, boxes_xyxy, mask_logits) if p is not None)
        weight = self.no_mask_embed.weight
        sparse = torch.cat(tokens, 1) if tokens else weight.new_zeros(count, 0, weight.shape[1])
        if mask_logits is not None:
            return sparse, self.mask_downscaling(mask_logits)
        grid = (size_hw[0] // 16, size_hw[1] // 16)
        return sparse, weight[:, :, None, None].expand(count, -1, *grid)

    def _positions(self, xy: Tensor, size_hw: tuple[int, int]) -> Tensor:
        # SAM shifts by half a pixel: its coordinates name pixel centres.
        code: Tensor = self.pe_layer((xy + 0.5) / xy.new_tensor([size_hw[1], size_hw[0]]))
        return code

    def _embed_points(
        self, points_xy: Tensor, labels: Tensor, size_hw: tuple[int, int], pad: bool
    ) -> Tensor:
        if pad:  # without a box SAM expects one more token
            points_xy = torch.cat([points_xy, points_xy.new_zeros(len(points_xy), 1, 2)], 1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], 1)
        code = self._positions(points_xy, size_hw)
        kind = labels[..., None]
        code = torch.where(kind == NOT_A_POINT, self.not_a_point_embed.weight, code)
        code = code + (kind == 0) * self._point_type(0) + (kind == 1) * self._point_type(1)
        return code

    def _point_type(self, index: int) -> Tensor:
        embedding = self.point_embeddings[index]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight  # (1, embed_dim)


def region_mask_logits(
    coverage: Tensor, has_mask: Tensor, boxes_xyxy: Tensor, size_hw: tuple[int, int]
) -> Tensor:
    """Annotated regions as mask logits `(N, 1, H / 4, W / 4)` in [-4, 4]; by their box without one.

    Args:
        coverage: `(N, 1, H / 4, W / 4)` how much of each cell is the region's, in [0, 1].
        has_mask: `(N,)` bool, whether a region has a mask.
        boxes_xyxy: `(N, 4)` model pixels.
        size_hw: the model's input (H, W).
    """
    boxes = box_mask_logits(boxes_xyxy, size_hw)[:, None]
    return torch.where(has_mask[:, None, None, None], coverage_logits(coverage), boxes)
