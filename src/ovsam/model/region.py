"""CLIP2SAM: regions of the pyramid -> embeddings -> class scores (paper §3.2; class score: Eq. 1).

Here are the learned embeddings: the paper's head (feature pyramid, RoIAlign, one conv), those that
Table 6 compares it with, and `lite`'s, which also sees what is around. The frozen encoder embeds a
region itself, `ImageEncoder`; both are compared with the same prototypes, and their scores are
fused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import TOKEN_HEADS, RegionConfig
from ovsam.model.layers import MLP
from ovsam.model.roi_align import mean_in_boxes, pool_boxes
from ovsam.model.torch_bank import TorchBank

TOKEN_LAYERS = 2  # of the class token (the paper does not say)
CONTEXT_DROPOUT = 0.2


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The photos that N regions are parts of, which `ContextHead` reads.

    Attributes:
        scenes: `(N, C5)` the mean of C5 over the whole photo of each, see `scenes_of`.
        photo_hw: `(N, 2)` height and width of that photo in the model pixels of the region's
            picture, which may show a part of it.
    """

    scenes: Tensor
    photo_hw: Tensor


def scenes_of(c5: Tensor, content_hw: Tensor) -> Tensor:
    """The mean of C5 over what pictures show, their padding left out.

    Args:
        c5: `(B, C5, H / 32, W / 32)`.
        content_hw: `(B, 2)` height and width of each picture without padding, model pixels.

    Returns:
        `(B, C5)`.
    """
    rows, columns = (content_hw.to(c5.device) / 32).round().clamp(min=1).T
    inside = (torch.arange(c5.shape[2], device=c5.device)[:, None] < rows[:, None, None]) & (
        torch.arange(c5.shape[3], device=c5.device) < columns[:, None, None]
    )
    weights = inside[:, None].to(c5)
    means: Tensor = (c5 * weights).sum((2, 3)) / weights.sum((2, 3))
    return means


class FeaturePyramid(nn.Module):
    """Feature pyramid network (Lin et al., CVPR 2017): lateral 1x1, upsampled sum, 3x3.

    Args:
        channels: of each level, the finest first.
        dim: channels of the maps that it gives.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in channels)
        self.fpn_convs = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in channels)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels `(B, C, h, w)`, the finest first -> maps of the same sizes, `(B, dim, h, w)`."""
        levels = [conv(level) for conv, level in zip(self.lateral_convs, pyramid, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], size=levels[i].shape[-2:])
        return tuple(conv(level) for conv, level in zip(self.fpn_convs, levels, strict=True))


class RegionHead(nn.Module, ABC):
    """A learned embedding of regions; `region_head` makes one."""

    sees_masks: bool
    """Whether it reads a region under its mask; otherwise in its box."""
    sees_surroundings: bool = False
    """Whether it reads the photo around a region."""

    @abstractmethod
    def pyramid(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """C2..C5, each `(B, C, h, w)` -> the maps that `forward` reads, once for a photo."""

    @abstractmethod
    def forward(
        self,
        maps: Sequence[Tensor],
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor | None,
        surroundings: Surroundings | None,
    ) -> Tensor:
        """Embed N regions.

        Args:
            maps: those of `pyramid`, of B photos.
            boxes_xyxy: `(N, 4)` model pixels.
            batch: `(N,)` which photo each region belongs to.
            mask_logits: `(N, 1, H / 4, W / 4)`; may be None where `sees_masks` is False.
            surroundings: may be None where `sees_surroundings` is False.

        Returns:
            Region embeddings `(N, text_dim)`, not normalised.
        """


def region_head(channels: Sequence[int], text_dim: int, config: RegionConfig) -> RegionHead:
    """The head of kind `config.kind`, with random weights.

    Args:
        channels: channels of C2..C5.
        text_dim: width of the text embeddings.
        config: kind and sizes of the head.
    """
    if config.kind == "pyramid":
        return PyramidHead(channels, text_dim, config)
    if config.kind == "context":
        return ContextHead(channels, text_dim, config)
    return TokenHead(channels[3], text_dim, config)


class PyramidHead(RegionHead):
    """The paper's region head (Figure 3): FPN level by size -> RoIAlign -> 1x1 conv, ReLU -> mean.

    Args:
        channels: channels of C2..C5.
        text_dim: width of the text embeddings.
        config: sizes of the head.
    """

    sees_masks = False

    def __init__(self, channels: Sequence[int], text_dim: int, config: RegionConfig) -> None:
        super().__init__()
        self.config = config
        self.fpn = FeaturePyramid([channels[i] for i in config.levels], config.fpn_dim)
        self.roi_conv = nn.Conv2d(config.fpn_dim, text_dim, 1, bias=False)

    def pyramid(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The FPN maps of those of C2..C5 that `config.levels` names, `(B, fpn_dim, h, w)`."""
        maps: tuple[Tensor, ...] = self.fpn([pyramid[i] for i in self.config.levels])
        return maps

    def forward(
        self,
        maps: Sequence[Tensor],
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor | None,  # noqa: ARG002 - the box alone is read
        surroundings: Surroundings | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Boxes on the FPN maps `(B, fpn_dim, h, w)` -> `(N, text_dim)`."""
        level = self.levels_of(boxes_xyxy)
        size = self.config.roi_size
        if torch.compiler.is_exporting():
            return self._embedded(self._pooled_from_all(maps, boxes_xyxy, batch, level))
        pooled = boxes_xyxy.new_zeros(len(boxes_xyxy), maps[0].shape[1], size, size)
        for i, (level_map, source) in enumerate(zip(maps, self.config.levels, strict=True)):
            chosen = (level == i).nonzero()[:, 0]
            if len(chosen):
                regions = pool_boxes(
                    level_map, boxes_xyxy[chosen], batch[chosen], size, 4 << source
                )
                pooled = pooled.index_copy(0, chosen, regions.to(pooled))
        return self._embedded(pooled)

    def _embedded(self, pooled: Tensor) -> Tensor:
        return F.relu(self.roi_conv(pooled)).mean((2, 3))  # (N, text_dim)

    def _pooled_from_all(
        self, maps: Sequence[Tensor], boxes_xyxy: Tensor, batch: Tensor, level: Tensor
    ) -> Tensor:
        """The same without shapes that depend on data: on levels not its own a box is empty."""
        pooled: Tensor | int = 0
        for i, (level_map, source) in enumerate(zip(maps, self.config.levels, strict=True)):
            own = (level == i)[:, None].to(boxes_xyxy)
            regions = pool_boxes(
                level_map, boxes_xyxy * own, batch, self.config.roi_size, 4 << source
            )
            pooled = pooled + regions * own[..., None, None]
        assert isinstance(pooled, Tensor)
        return pooled

    def levels_of(self, boxes_xyxy: Tensor) -> Tensor:
        """The FPN level of each box `(N, 4)` by the square root of its area: `(N,)` indices.

        As in FPN's Eq. 1: a level coarser for each doubling of the side beyond `finest_scale`.
        """
        side = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=0).prod(1).sqrt()
        level = torch.floor(torch.log2(side / self.config.finest_scale + 1e-6))
        return level.clamp(0, len(self.config.levels) - 1).long()


class ContextHead(RegionHead):
    """What a box holds, what is around it, and how large it is in which photo -> two layers.

    Means of the levels in the box, of C5 in the picture and of C5 in the whole photo are
    normalised each, joined with the region's share of the photo's area and its shape, and go
    through one hidden layer. So a mean of few cells, which says little of a small object, is read
    in the light of its scene.

    Args:
        channels: channels of C2..C5.
        text_dim: width of the text embeddings.
        config: the hidden layer has twice `fpn_dim` units.
    """

    sees_masks = False
    sees_surroundings = True

    def __init__(self, channels: Sequence[int], text_dim: int, config: RegionConfig) -> None:
        super().__init__()
        self.config = config
        hidden = 2 * config.fpn_dim
        self.width = sum(channels[i] for i in config.levels) + 2 * channels[3] + 2
        self.layers = nn.Sequential(
            nn.Dropout(CONTEXT_DROPOUT),
            nn.Linear(self.width, hidden),
            nn.ReLU(),
            nn.Dropout(CONTEXT_DROPOUT),
            nn.Linear(hidden, text_dim),
        )

    def pyramid(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Those of C2..C5 that `config.levels` names, and the mean of C5 `(B, C5)`."""
        return (*(pyramid[i] for i in self.config.levels), pyramid[3].mean((2, 3)))

    def forward(
        self,
        maps: Sequence[Tensor],
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor | None,  # noqa: ARG002 - the box alone is read
        surroundings: Surroundings | None,
    ) -> Tensor:
        """Boxes on the maps of `pyramid` -> `(N, text_dim)`."""
        assert surroundings is not None
        size = self.config.roi_size
        means = [
            mean_in_boxes(level_map, boxes_xyxy, batch, size, 4 << level)
            for level_map, level in zip(maps[:-1], self.config.levels, strict=True)
        ]
        means += [maps[-1][batch], surroundings.scenes]
        parts = [F.layer_norm(mean.float(), mean.shape[1:]) for mean in means]
        sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1)  # width, height
        share = sides.prod(1) / surroundings.photo_hw.prod(1).clamp(min=1)
        shape = torch.stack([share.log(), (sides[:, 0] / sides[:, 1]).log()], 1)
        embeddings: Tensor = self.layers(torch.cat([*parts, shape / 2], 1))
        return embeddings


class TokenHead(RegionHead):
    """Table 6's other designs: a class token attends to C5, to which the mask's coverage is added.

    With `kind = "token+clip"` an MLP joins the token with the mean of C5 under the mask. Both see a
    region at C5's resolution only, where small objects are lost.

    Args:
        c5_channels: channels of C5.
        text_dim: width of the text embeddings.
        config: `fpn_dim` is the token's width.
    """

    sees_masks = True

    def __init__(self, c5_channels: int, text_dim: int, config: RegionConfig) -> None:
        super().__init__()
        dim = config.fpn_dim
        self.pools = config.kind == "token+clip"
        self.project = nn.Conv2d(c5_channels, dim, 1)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.inside = nn.Parameter(torch.randn(dim))  # added to a cell as far as it is masked
        self.layers = nn.ModuleList(_CrossAttention(dim) for _ in range(TOKEN_LAYERS))
        self.to_text = MLP(dim + (c5_channels if self.pools else 0), dim, text_dim, depth=2)

    def pyramid(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """C5 at the token's width `(B, fpn_dim, h, w)`, and C5 itself where it is pooled."""
        c5 = pyramid[3]
        return (self.project(c5), c5) if self.pools else (self.project(c5),)

    def forward(
        self,
        maps: Sequence[Tensor],
        boxes_xyxy: Tensor,  # noqa: ARG002 - the mask alone is read
        batch: Tensor,
        mask_logits: Tensor | None,
        surroundings: Surroundings | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Mask logits `(N, 1, H / 4, W / 4)` on C5 -> `(N, text_dim)`."""
        assert mask_logits is not None
        size_hw = (maps[0].shape[2], maps[0].shape[3])
        covered = F.interpolate(mask_logits.float().sigmoid(), size=size_hw, mode="area")
        covered = covered.flatten(2).transpose(1, 2)  # (N, h * w, 1)
        cells = maps[0][batch].flatten(2).transpose(1, 2) + covered * self.inside  # (N, h * w, dim)
        token = self.class_token.expand(len(batch), -1, -1).to(cells)
        for layer in self.layers:
            token = layer(token, cells)
        joined = [token[:, 0]]
        if self.pools:
            weights = covered[..., 0] / covered.sum(1).clamp(min=1e-6)  # (N, h * w)
            joined.append(_means(maps[1].flatten(2), weights, batch).to(token))
        embeddings: Tensor = self.to_text(torch.cat(joined, 1))
        return embeddings


def _means(cells: Tensor, weights: Tensor, batch: Tensor) -> Tensor:
    """For N regions `(N, K)` the weighted mean of their photo's cells `(B, C, K)`: `(N, C)`.

    A product for each photo, with all the regions of others at 0: no cell is copied for a region.
    """
    photos = torch.arange(len(cells), device=batch.device)[:, None, None]
    theirs = weights.to(cells) * (batch[:, None] == photos)
    return (theirs @ cells.transpose(1, 2)).sum(0)


class _CrossAttention(nn.Module):
    """One layer: tokens `(N, 1, dim)` attend to cells `(N, K, dim)`, then an MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, TOKEN_HEADS, batch_first=True)
        self.mlp = MLP(dim, 2 * dim, dim, depth=2)

    def forward(self, token: Tensor, cells: Tensor) -> Tensor:
        attended, _ = self.attention(self.norm1(token), cells, cells, need_weights=False)
        token = token + attended
        token = token + self.mlp(self.norm2(token))
        return token


def class_logits(embeddings: Tensor, bank: TorchBank, scale: float) -> Tensor:
    """Compare regions with classes (paper Eq. 1, before the softmax).

    Args:
        embeddings: `(N, D)` regions, of any length.
        bank: the unit vectors of the synonyms of C classes.
        scale: multiplies the cosine (CLIP: exp(4.6052) = 100).

    Returns:
        `(N, C + 1)`: the best synonym of each class; the background, whose prototype is the zero
        vector, comes last with 0.
    """
    return F.pad(bank.best_products(scale * F.normalize(embeddings, dim=-1)), (0, 1))


def fuse(
    head_logits: Tensor,
    clip_logits: Tensor,
    *,
    seen: Tensor,
    answerable: Tensor,
    clip_valid: Tensor,
    alpha: float,
    beta: float,
) -> Tensor:
    """Geometric mean of the learned and the frozen score (paper §3.2, Open Vocabulary).

    Args:
        head_logits: `(N, C + 1)` the region head's scores, background last.
        clip_logits: `(N, C + 1)` the frozen encoder's own scores.
        seen: `(C,)` bool, classes that the region head was trained on.
        answerable: `(C,)` bool, False for classes that may never be the answer.
        clip_valid: `(N,)` bool, False where the region is too small for the frozen encoder.
        alpha: weight of the frozen score for seen classes (and the background).
        beta: weight of the frozen score for unseen classes.

    Returns:
        Log scores `(N, C + 1)`, -inf for classes that are not answerable.
    """
    head, clip = head_logits.log_softmax(-1), clip_logits.log_softmax(-1)
    weight = F.pad(torch.where(seen, float(alpha), float(beta)), (0, 1), value=alpha)
    # A head that counts for nothing is not to be fallen back on either.
    mixed = clip_valid[:, None] | (weight >= 1)
    fused = torch.where(mixed, torch.lerp(head, clip, weight), head)
    return fused.masked_fill(~F.pad(answerable, (0, 1), value=True), -torch.inf)
