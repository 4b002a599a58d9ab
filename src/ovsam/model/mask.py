"""SAM's mask decoder: embedding and prompt tokens -> mask logits and their predicted IoU.

Ported from segment-anything (Apache-2.0), `mask_decoder.py`; parameter names are SAM's. Beside the
original four-token decoder it builds the authors' release (one mask token, a label token instead
of the IoU token) and, as SAM 2 and SAM-HQ do, one that adds the trunk's stride-8 and stride-4
features while it scales up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import DecoderConfig
from ovsam.model.layers import MLP, DepthwiseConv2d, LayerNorm2d
from ovsam.model.two_way import SharedProjections, TwoWayTransformer


class HighResolution(nn.Module):
    """C2..C4 -> maps that are added to the decoder's own at strides 8 and 4.

    A top-down path, computed once for a photo: C4's context reaches the fine levels before any
    prompt does.

    Args:
        channels: channels of C2..C5.
        embed_dim: channels of the decoder's embedding.
    """

    def __init__(self, channels: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        c2, c3, c4 = channels[:3]
        fine, finer = embed_dim // 2, embed_dim // 4
        self.from_c4 = nn.Conv2d(c4, fine, 1)
        self.from_c3 = nn.Conv2d(c3, fine, 3, padding=1)
        self.mix8 = _mix(fine)
        self.out8 = nn.Conv2d(fine, embed_dim // 4, 1)
        self.down = nn.Conv2d(fine, finer, 1)
        self.from_c2 = nn.Conv2d(c2, finer, 3, padding=1)
        self.mix4 = _mix(finer)
        self.out4 = nn.Conv2d(finer, embed_dim // 8, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """C2..C5 -> `(B, embed_dim / 4, H / 8, W / 8)`, `(B, embed_dim / 8, H / 4, W / 4)`."""
        c2, c3, c4, _ = pyramid
        stride8 = self.mix8(self.from_c3(c3) + _doubled(self.from_c4(c4)))
        stride4 = self.mix4(self.from_c2(c2) + _doubled(self.down(stride8)))
        return self.out8(stride8), self.out4(stride4)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _mix(dim: int) -> nn.Sequential:
    return nn.Sequential(
        LayerNorm2d(dim),
        nn.GELU(),
        nn.Conv2d(dim, dim, 3, padding=1),
        LayerNorm2d(dim),
        nn.GELU(),
    )


class SpatialBlock(nn.Module):
    """ConvNeXt's block (Liu et al., CVPR 2022), the identity until it is trained.

    In SAM's transformer the cells of the image attend to the prompt's tokens only, never to each
    other; trained on few photos, that leaves holes and stray islands.

    Args:
        dim: channels in and out.
        hidden_dim: channels between.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(dim, 7)
        self.norm = LayerNorm2d(dim)
        self.expand = nn.Conv2d(dim, hidden_dim, 1)
        self.project = nn.Conv2d(hidden_dim, dim, 1)
        nn.init.zeros_(self.project.weight)
        assert self.project.bias is not None
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, dim, H, W)`, same shape out."""
        x = x + self.project(F.gelu(self.expand(self.norm(self.depthwise(x)))))
        return x


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling, and one small hypernetwork for each mask token.

    Token 0 is the mask of a clear prompt; the others, where there are any, are alternatives for an
    ambiguous one (SAM's multimask output).

    Args:
        embed_dim: channels of the embedding and of the prompt's tokens.
        config: mask tokens, widths and what is added to SAM's own decoder.
    """

    def __init__(self, embed_dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(embed_dim, heads=8, mlp_dim=config.mlp_dim)
        if config.iou_head:
            self.iou_token = nn.Embedding(1, embed_dim)
        else:
            # The release's label token: its own output is unused, but it takes part in the
            # attention, so their masks depend on it.
            self.label_token = nn.Embedding(1, embed_dim)
        self.mask_tokens = nn.Embedding(config.mask_tokens, embed_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(embed_dim, embed_dim // 4, 2, stride=2),
            LayerNorm2d(embed_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(embed_dim // 4, embed_dim // 8, 2, stride=2),
            nn.GELU(),
        )
        if config.high_resolution:
            self.blocks16 = nn.Sequential(*(SpatialBlock(embed_dim, embed_dim) for _ in range(2)))
            self.block8 = SpatialBlock(embed_dim // 4, embed_dim // 2)
            self.refine8 = nn.Conv2d(embed_dim // 4, embed_dim // 4, 3, padding=1)
            self.refine4 = nn.Conv2d(embed_dim // 8, embed_dim // 8, 3, padding=1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(embed_dim, embed_dim, embed_dim // 8) for _ in range(config.mask_tokens)
        )
        if config.iou_head:
            self.iou_prediction_head = MLP(embed_dim, config.iou_dim, config.mask_tokens)

    @property
    def has_iou_head(self) -> bool:
        """Whether the decoder predicts the IoU of its masks."""
        return hasattr(self, "iou_token")

    def forward(
        self,
        embedding: Tensor,
        positions: Tensor | None,
        sparse: Tensor,
        dense: Tensor,
        high_resolution: tuple[Tensor, Tensor] | None = None,
        shared: SharedProjections | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Decode N prompts.

        Args:
            embedding: `(1, C, h, w)` shared by all prompts, or `(N, C, h, w)` one for each.
            positions: `(1, C, h, w)` of the prompt encoder; None where `shared` is given.
            sparse: prompt tokens `(N, T, C)`: points and boxes.
            dense: prompt map `(N, C, h, w)`: masks; or `(1, C, h, w)`, for all prompts the same.
            high_resolution: maps of `HighResolution`, batched like `embedding`.
            shared: see `TwoWayTransformer.shared`; None = nothing is projected yet.

        Returns:
            Mask logits `(N, mask_tokens, 4h, 4w)` and the predicted IoU `(N, mask_tokens)`, or
            None without an IoU head.
        """
        count = sparse.shape[0]
        first = self.iou_token.weight if self.has_iou_head else self.label_token.weight
        own = torch.cat([first, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, -1, -1), sparse], dim=1)  # (N, 1 + M + T, C)
        image = embedding + dense  # (N, C, h, w), or (1, C, h, w)
        channels, h, w = image.shape[1:]
        tokens, image = self.transformer(image, positions, tokens, shared)
        image = image.transpose(1, 2).reshape(count, channels, h, w)
        image = self._upscale(image, high_resolution)  # (N, C / 8, 4h, 4w)
        weights = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1
        )  # (N, M, C / 8)
        # The norms leave channels last in memory; so does this product, and so does its gradient.
        pixels = image.permute(0, 2, 3, 1).flatten(1, 2)  # (N, 4h * 4w, C / 8)
        by_pixel = (pixels @ weights.mT).mT  # (N, M, 4h * 4w)
        mask_logits = torch.unflatten(by_pixel, 2, image.shape[2:])  # (N, M, 4h, 4w)
        if not self.has_iou_head:
            return mask_logits, None
        return mask_logits, self.iou_prediction_head(tokens[:, 0])

    def _upscale(self, image: Tensor, high_resolution: tuple[Tensor, Tensor] | None) -> Tensor:
        if high_resolution is None:
            image = self.output_upscaling(image)
            return image
        stride8, stride4 = high_resolution
        up8, norm, gelu, up4, _ = self.output_upscaling
        image = gelu(norm(up8(self.blocks16(image)) + stride8))
        image = self.block8(image + F.gelu(self.refine8(image)))
        image = gelu(up4(image) + stride4)
        return image + F.gelu(self.refine4(image))
