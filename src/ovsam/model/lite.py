"""`lite`'s encoder: an ImageNet classifier that acts as a vision-language model without training.

EfficientNet-Lite2 gives the pyramid; the softmax over its 1,000 classes turns into an embedding by
the convex combination of the class names' text embeddings (ConSE, Norouzi et al. 2014).
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from ovsam.config import EncoderConfig
from ovsam.model.features import ImageEncoder, freeze

CONSE_CLASSES = 10  # ConSE's T: how many of the 1,000 classes are combined


class LiteImageEncoder(ImageEncoder):
    """EfficientNet-Lite2: C5 is the classifier's last feature map, 1,280 channels at stride 32."""

    class_embeddings: Tensor  # (1000, text_dim)

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        trunk: Any = timm.create_model(config.architecture)
        self.stem = nn.Sequential(trunk.conv_stem, trunk.bn1)
        self.stages: nn.Sequential = trunk.blocks
        self.head = nn.Sequential(trunk.conv_head, trunk.bn2)
        self.classifier: nn.Module = trunk.classifier
        self.pool_size = config.pool_size
        # Text embeddings of the 1,000 class names, filled by the checkpoint.
        self.register_buffer("class_embeddings", torch.zeros(1000, config.text_dim))
        freeze(self)
        self.train(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels `(B, 3, H, W)` -> C2..C5 at strides 4, 8, 16, 32."""
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1], maps[2], maps[4], self.head(maps[6])

    def embed_regions(
        self,
        c5: Tensor,
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor,  # noqa: ARG002 - the classifier reads the box
    ) -> Tensor:
        """ConSE on the mean feature of each box: `(N, text_dim)`."""
        rois = torch.cat([batch[:, None].to(boxes_xyxy), boxes_xyxy], dim=1)
        pooled = roi_align(c5.float(), rois.float(), self.pool_size, 1 / 32, aligned=True)
        probabilities = self.classifier(pooled.mean((2, 3))).softmax(-1)
        top = probabilities.topk(CONSE_CLASSES, dim=-1)
        weights = top.values / top.values.sum(-1, keepdim=True)
        return torch.einsum("nk,nkd->nd", weights, self.class_embeddings[top.indices])
