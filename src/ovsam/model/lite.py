"""`lite`'s encoder: an ImageNet classifier that acts as a vision-language model without training.

An EfficientNet-Lite gives the pyramid; the softmax over its 1,000 classes turns into an embedding
by the convex combination of the class names' text embeddings (ConSE, Norouzi et al., ICLR 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ovsam.config import EncoderConfig
from ovsam.model.efficientnet import EfficientNetLite
from ovsam.model.features import ImageEncoder, freeze
from ovsam.model.roi_align import mean_in_boxes

CONSE_CLASSES = 10  # ConSE's T: how many of the 1,000 classes are combined


class LiteImageEncoder(ImageEncoder):
    """EfficientNet-Lite: C5 is the classifier's last feature map, 1,280 channels at stride 32.

    Args:
        config: of kind `lite`.
    """

    class_embeddings: Tensor  # (1000, text_dim)

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.trunk = EfficientNetLite(config.architecture)
        self.classifier = nn.Linear(config.channels[3], 1000)
        self.pool_size = config.pool_size
        # Text embeddings of the 1,000 class names, filled by the checkpoint.
        self.register_buffer("class_embeddings", torch.zeros(1000, config.text_dim))
        freeze(self)
        self.train(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels `(B, 3, H, W)` -> C2..C5 at strides 4, 8, 16, 32."""
        pyramid: tuple[Tensor, Tensor, Tensor, Tensor] = self.trunk(pixels)
        return pyramid

    def embed_regions(
        self,
        c5: Tensor,
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor,  # noqa: ARG002 - the classifier reads the box
    ) -> Tensor:
        """ConSE on the mean feature of each box in C5: `(N, text_dim)`, not normalised."""
        mean = mean_in_boxes(c5, boxes_xyxy, batch, self.pool_size, stride=32)
        probabilities = self.classifier(mean).softmax(-1)
        top = probabilities.topk(CONSE_CLASSES, dim=-1)
        weights = top.values / top.values.sum(-1, keepdim=True)
        return torch.einsum("nk,nkd->nd", weights, self.class_embeddings[top.indices])
