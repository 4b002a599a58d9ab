"""Open-Vocabulary SAM: the steps joined. This file is Figure 2 of the paper in code.

pixels -> encoder -> adapter ------------> decoder -> mask logits, predicted IoU
             |         prompt encoder --------^            |
             +-> region head (learned) --+                 v
             +-> encoder's own score ----+-> fuse -> log scores of the classes

A baseline (§3.1) has no region head: the encoder's own score is all, on a C5 that convolutions
beside it may have changed, and for prototypes that a learned context may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ovsam.config import ModelConfig, SamConfig, TinyViTConfig
from ovsam.model.adapter import Adapter
from ovsam.model.baselines.conv_adapter import conv_adapter
from ovsam.model.baselines.coop import CoOpTokens
from ovsam.model.baselines.sam_encoder import SamEncoder
from ovsam.model.features import Features as Features
from ovsam.model.features import ImageEncoder, covers_c5, freeze
from ovsam.model.mask import HighResolution, MaskDecoder
from ovsam.model.prompt import PromptEncoder
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import Surroundings, class_logits, fuse, region_head, scenes_of
from ovsam.model.tiny_vit import TinyViTEncoder
from ovsam.model.torch_bank import TorchPrototypes
from ovsam.model.two_way import SharedProjections


class OVSAM(nn.Module):
    """Open-Vocabulary SAM at any size; takes built parts, knows nothing of files."""

    def __init__(
        self, config: ModelConfig, encoder: ImageEncoder, context: CoOpTokens | None = None
    ) -> None:
        super().__init__()
        self.config = config
        channels = config.encoder.channels
        self.encoder = encoder
        grid = config.image_size // 16
        self.adapter = (
            Adapter(channels, config.adapter, grid, config.embed_dim)
            if config.sam is None
            else None
        )
        self.sam: SamEncoder | TinyViTEncoder | None
        match config.sam:
            case SamConfig():
                self.sam = SamEncoder(config.sam, grid, config.embed_dim)
            case TinyViTConfig():
                self.sam = TinyViTEncoder(config.sam, config.embed_dim)
            case None:
                self.sam = None
        self.prompt_encoder = PromptEncoder(config.embed_dim)
        self.mask_decoder = MaskDecoder(config.embed_dim, config.decoder)
        self.high_resolution = (
            HighResolution(channels, config.embed_dim) if config.decoder.high_resolution else None
        )
        self.region_head = (
            region_head(channels, config.encoder.text_dim, config.region)
            if config.region is not None and config.baseline is None
            else None
        )
        adapts = config.baseline.conv_adapter if config.baseline is not None else None
        self.conv_adapter = conv_adapter(adapts, channels) if adapts is not None else None
        self.context = context
        freeze(self.encoder)

    def encode(
        self,
        pixels: Tensor,
        named: bool = True,
        masked: bool = True,
        content_hw: Tensor | None = None,
    ) -> Features:
        """Normalised, padded pixels `(B, 3, H, W)`, H and W multiples of 32 -> features.

        Without `named` they serve `decode` alone, without `masked` only `embed_regions` and
        `label`, without both nothing. `content_hw` `(B, 2)` is the images' size without padding;
        None = there is none.
        """
        input_hw = (pixels.shape[2], pixels.shape[3])
        if not named and not (masked and self.sam is None):  # then the trunk has nothing to do
            embedding = self.sam(pixels) if masked and self.sam is not None else None
            return self.with_shared(Features(None, embedding, None, (), input_hw))
        with torch.no_grad():
            pyramid = self.encoder(pixels)
        features = self.features(pyramid, input_hw, named, masked and self.sam is None)
        if self.sam is not None and masked:
            features = replace(features, embedding=self.sam(pixels))
        if named and self.conv_adapter is not None:
            features = replace(features, c5=self.conv_adapter(pixels, pyramid))
        if named and self.names_see_surroundings:
            if content_hw is None:
                content_hw = pixels.new_tensor(input_hw).expand(len(pixels), 2)
            scenes = scenes_of(pyramid[3], content_hw)
            features = replace(features, scenes=scenes, content_hw=content_hw)
        return self.with_shared(features)

    def with_shared(self, features: Features) -> Features:
        """The features with what the decoder projects once for all prompts.

        Not in training, nor in a graph: its encoder gives what any decoder takes.
        """
        embedding = features.embedding
        if embedding is None or self.mask_decoder.training or torch.compiler.is_exporting():
            return features
        image = None
        # One of several images has few prompts, and a box that is a mask has an image of its own.
        if len(embedding) == 1 and not self.config.decoder.box_as_mask:
            image = embedding + self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        positions = self.prompt_encoder.dense_positions((embedding.shape[2], embedding.shape[3]))
        return replace(features, shared=self.mask_decoder.transformer.shared(image, positions))

    def features(
        self,
        pyramid: Sequence[Tensor],
        input_hw: tuple[int, int],
        named: bool = True,
        masked: bool = True,
    ) -> Features:
        """The same from C2..C5, each `(B, C, H / stride, W / stride)` with strides 4 to 32.

        Masks need an adapter: SAM's own encoder sees the pixels instead.
        """
        sharpen, head = self.high_resolution, self.region_head
        embedding = None
        if masked:
            assert self.adapter is not None
            embedding = self.adapter(pyramid)
        return Features(
            c5=pyramid[3],
            embedding=embedding,
            high_resolution=sharpen(pyramid) if masked and sharpen is not None else None,
            fpn_maps=head.pyramid(pyramid) if named and head is not None else (),
            input_hw=input_hw,
        )

    def encode_prompts(
        self, prompts: PromptBatch[Tensor], input_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """N prompts -> tokens `(N, T, embed_dim)`, dense map `(N, embed_dim, H / 16, W / 16)`.

        Args:
            prompts: tensors of any float type, on any device.
            input_hw: (H, W) of the model's input, padding included.
        """
        device = self.prompt_encoder.no_mask_embed.weight.device

        def given(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.float().to(device)

        points, labels = given(prompts.sam_points_xy()), prompts.point_labels
        prompts = replace(prompts, boxes_xyxy=given(prompts.boxes_xyxy))
        tokens: tuple[Tensor, Tensor] = self.prompt_encoder(
            points,
            None if points is None or labels is None else labels.to(device),
            prompts.boxes_xyxy,
            given(prompts.dense_logits(self.config.decoder, input_hw)),
            input_hw,
        )
        return tokens

    def decode(
        self, features: Features, prompts: PromptBatch[Tensor], index: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Masks of N prompts of one kind.

        Args:
            features: of one image, or of a batch with `index` given.
            prompts: in model pixels, by our convention.
            index: `(N,)` which image each prompt belongs to.

        Returns:
            Mask logits `(N, mask_tokens, H / 4, W / 4)`, predicted IoU `(N, mask_tokens)` or None.
        """
        sparse, dense = self.encode_prompts(prompts, features.input_hw)
        shared = features.shared
        if shared is not None and prompts.come_with_masks(self.config.decoder):
            shared = shared.without_image()
        elif shared is not None:
            dense = dense[:1]  # they are all the same
        return self.decode_tokens(features, sparse, dense, index, shared)

    def decode_tokens(
        self,
        features: Features,
        sparse: Tensor,
        dense: Tensor,
        index: Tensor | None = None,
        shared: SharedProjections | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`decode` from what `encode_prompts` gave: `(N, T, C)` and `(N, C, H / 16, W / 16)`.

        `shared` is the features', without the image if any prompt has a mask.
        """
        embedding, sharp = features.embedding, features.high_resolution
        assert embedding is not None, "encoded without `masked`"
        if index is not None:
            embedding = embedding[index]
            sharp = (sharp[0][index], sharp[1][index]) if sharp else None
        positions = None
        if shared is None:
            positions = self.prompt_encoder.dense_positions((dense.shape[2], dense.shape[3]))
        decoded: tuple[Tensor, Tensor | None] = self.mask_decoder(
            embedding, positions, sparse, dense, sharp, shared
        )
        return decoded

    @property
    def names_see_masks(self) -> bool:
        """Whether `embed_regions` needs the regions' masks; otherwise their boxes are enough."""
        return self.region_head is None or self.region_head.sees_masks

    @property
    def names_see_surroundings(self) -> bool:
        """Whether `embed_regions` reads the photos that the regions are parts of."""
        return self.region_head is not None and self.region_head.sees_surroundings

    def embed_regions(
        self,
        features: Features,
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor | None,
        surroundings: Surroundings | None = None,
    ) -> Tensor:
        """What training compares with the classes' prototypes: `(N, text_dim)`, not normalised.

        The region head's embedding of N regions (see `RegionHead`), or a baseline's. Without
        `surroundings` each image is a whole photo.
        """
        if self.region_head is None:
            assert mask_logits is not None and features.c5 is not None
            return self.encoder.embed_regions(features.c5, boxes_xyxy, batch, mask_logits)
        if surroundings is None and self.names_see_surroundings:
            assert features.scenes is not None and features.content_hw is not None
            surroundings = Surroundings(features.scenes[batch], features.content_hw[batch])
        learned: Tensor = self.region_head(
            features.fpn_maps, boxes_xyxy, batch, mask_logits, surroundings
        )
        return learned

    def label(
        self,
        features: Features,
        boxes_xyxy: Tensor,
        mask_logits: Tensor,
        prototypes: TorchPrototypes,
        batch: Tensor | None = None,
        surroundings: Surroundings | None = None,
    ) -> Tensor:
        """Name N regions.

        Args:
            features: of one image, or of a batch with `batch` given.
            boxes_xyxy: `(N, 4)` model pixels, the prompt's box or the box of the predicted mask.
            mask_logits: `(N, 1, H / 4, W / 4)` the predicted masks.
            prototypes: the vocabulary.
            batch: `(N,)` which image each region belongs to.
            surroundings: of the regions; None = each image is a whole photo.

        Returns:
            Log scores `(N, C + 1)`, background last; -inf where a class may not be the answer.
        """
        assert features.c5 is not None, "encoded without `named`"
        if batch is None:
            batch = torch.zeros(len(boxes_xyxy), dtype=torch.long, device=boxes_xyxy.device)
        frozen = self.encoder.embed_regions(features.c5, boxes_xyxy, batch, mask_logits)
        embeddings = [frozen]
        if self.region_head is not None:
            learned = self.embed_regions(features, boxes_xyxy, batch, mask_logits, surroundings)
            embeddings = [learned, frozen.to(learned)]
        # Together, so that a long vocabulary's vectors are read once.
        logits = class_logits(torch.cat(embeddings), prototypes.bank, self.config.logit_scale)
        parts = logits.chunk(len(embeddings))
        return fuse(
            parts[0],
            parts[-1],
            seen=prototypes.seen,
            answerable=prototypes.answerable,
            clip_valid=covers_c5(mask_logits, features.c5),
            alpha=self.config.fusion_alpha,
            beta=self.config.fusion_beta,
        )
