"""Open-Vocabulary SAM: the steps joined. This file is Figure 2 of the paper in code.

pixels -> encoder -> adapter ------------> decoder -> mask logits, quality
             |         prompt encoder --------^            |
             +-> region head (learned) --+                 v
             +-> encoder's own opinion --+-> fuse -> log scores of the classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovsam.config import ModelConfig
from ovsam.model.adapter import Adapter
from ovsam.model.features import ImageEncoder, covers_c5, freeze
from ovsam.model.label import class_logits, fuse, region_head
from ovsam.model.mask import HighResolution, MaskDecoder
from ovsam.model.prompt import PromptEncoder
from ovsam.model.text import ClassPrototypes as ClassPrototypes


@dataclass(frozen=True, eq=False)
class Features:
    """All that is computed once for an image (batch of B), whatever the prompts.

    Attributes:
        c5: `(B, C5, H / 32, W / 32)`.
        embedding: `(B, embed_dim, H / 16, W / 16)`.
        high_resolution: maps at strides 8 and 4 for the decoder, or None.
        fpn_maps: the region head's pyramid; empty where nothing is to be named.
        input_hw: (H, W) of the model's input, padding included.
    """

    c5: Tensor
    embedding: Tensor
    high_resolution: tuple[Tensor, Tensor] | None
    fpn_maps: tuple[Tensor, ...]
    input_hw: tuple[int, int]


class OVSAM(nn.Module):
    """Open-Vocabulary SAM at any size; takes built parts, knows nothing of files."""

    def __init__(self, config: ModelConfig, encoder: ImageEncoder) -> None:
        super().__init__()
        self.config = config
        channels = config.encoder.channels
        self.encoder = encoder
        self.adapter = Adapter(channels, config.adapter, config.image_size // 16, config.embed_dim)
        self.prompt_encoder = PromptEncoder(config.embed_dim)
        self.mask_decoder = MaskDecoder(config.embed_dim, config.decoder)
        self.high_resolution = (
            HighResolution(channels, config.embed_dim) if config.decoder.high_resolution else None
        )
        self.region_head = region_head(channels, config.encoder.text_dim, config.region)
        freeze(self.encoder)

    def encode(self, pixels: Tensor, named: bool = True) -> Features:
        """Normalised, padded pixels `(B, 3, H, W)`, H and W multiples of 32 -> features.

        Without `named` they serve `decode` alone, not `label`.
        """
        with torch.no_grad():
            pyramid = self.encoder(pixels)
        return self.features(pyramid, (pixels.shape[2], pixels.shape[3]), named)

    def features(
        self, pyramid: Sequence[Tensor], input_hw: tuple[int, int], named: bool = True
    ) -> Features:
        """The same from C2..C5, for training on a cached or shared pyramid."""
        return Features(
            c5=pyramid[3],
            embedding=self.adapter(pyramid),
            high_resolution=self.high_resolution(pyramid) if self.high_resolution else None,
            fpn_maps=self.region_head.pyramid(pyramid) if named else (),
            input_hw=input_hw,
        )

    def decode(
        self,
        features: Features,
        *,
        points_xy: Tensor | None = None,
        point_labels: Tensor | None = None,
        boxes_xyxy: Tensor | None = None,
        mask_logits: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Masks of N prompts of one kind, in model pixels (see `PromptEncoder`).

        Args:
            features: of one image, or of a batch with `batch` given.
            points_xy: `(N, P, 2)`.
            point_labels: `(N, P)`.
            boxes_xyxy: `(N, 4)`.
            mask_logits: `(N, 1, H / 4, W / 4)`.
            batch: `(N,)` which image each prompt belongs to.

        Returns:
            Mask logits `(N, mask_tokens, H / 4, W / 4)`, predicted IoU `(N, mask_tokens)` or None.
        """
        sparse, dense = self.prompt_encoder(
            points_xy, point_labels, boxes_xyxy, mask_logits, features.input_hw
        )
        return self.decode_tokens(features, sparse, dense, batch)

    def decode_tokens(
        self, features: Features, sparse: Tensor, dense: Tensor, batch: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`decode` from what the prompt encoder gave: `(N, T, C)` and `(N, C, H / 16, W / 16)`."""
        embedding, sharp = features.embedding, features.high_resolution
        if batch is not None:
            embedding = embedding[batch]
            sharp = (sharp[0][batch], sharp[1][batch]) if sharp else None
        positions = self.prompt_encoder.dense_positions((dense.shape[2], dense.shape[3]))
        decoded: tuple[Tensor, Tensor | None] = self.mask_decoder(
            embedding, positions, sparse, dense, sharp
        )
        return decoded

    def label(
        self,
        features: Features,
        boxes_xyxy: Tensor,
        mask_logits: Tensor,
        prototypes: ClassPrototypes,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Name N regions.

        Args:
            features: of one image, or of a batch with `batch` given.
            boxes_xyxy: `(N, 4)` model pixels, the prompt's box or the box of the predicted mask.
            mask_logits: `(N, 1, H / 4, W / 4)` the predicted masks.
            prototypes: the vocabulary.
            batch: `(N,)` which image each region belongs to.

        Returns:
            Log scores `(N, C + 1)`, background last; -inf where a class may not be the answer.
        """
        if batch is None:
            batch = torch.zeros(len(boxes_xyxy), dtype=torch.long, device=boxes_xyxy.device)
        learned = self.region_head(features.fpn_maps, boxes_xyxy, batch, mask_logits)
        frozen = self.encoder.embed_regions(features.c5, boxes_xyxy, batch, mask_logits)
        # Together, so that a long vocabulary's vectors are read once.
        both = torch.cat([learned, frozen.to(learned)])
        logits = class_logits(both, prototypes.bank, self.config.logit_scale)
        return fuse(
            *logits.chunk(2),
            seen=prototypes.seen,
            answerable=prototypes.answerable,
            clip_valid=covers_c5(mask_logits, features.c5),
            alpha=self.config.fusion_alpha,
            beta=self.config.fusion_beta,
        )
