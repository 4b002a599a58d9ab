"""The frozen encoder of the paper: CLIP's image trunks and text tower, as open_clip builds them.

Nothing is downloaded here: the towers are built empty and filled from an ovsam checkpoint, which
holds the image side under `encoder.visual.*` and the text side under `text.tower.*`, both with
open_clip's own parameter names. open_clip is imported only when a tower is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ovsam.config import EncoderConfig
from ovsam.model.features import ImageEncoder, at_c5, freeze
from ovsam.model.folded import few_to_many, in_heads
from ovsam.model.roi_align import pool_boxes
from ovsam.text.encoder import Reading

# open_clip's names of the towers. OpenAI trained its own with QuickGELU, which its weights need.
RESNETS = ("RN50-quickgelu", "RN50x16-quickgelu", "RN50x64-quickgelu")
CONVNEXTS = ("convnext_large_d_320",)
TEXT_BATCH = 256  # texts embedded at once


class ClipImageEncoder(ImageEncoder):
    """One of CLIP's ResNets; it names a region by attention pooling over a RoIAlign of C5.

    Args:
        visual: open_clip's `ModifiedResNet`.
        pool_size: side of the region in cells, which the pooling's position code is made for.
    """

    visual: Any  # open_clip has no types

    def __init__(self, visual: Any, pool_size: int) -> None:
        super().__init__()
        self.visual = visual
        self.pool_size = pool_size
        freeze(self)
        self.train(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels `(B, 3, H, W)` -> C2..C5 at strides 4, 8, 16, 32."""
        c2 = self.visual.layer1(self.visual.stem(pixels))
        c3 = self.visual.layer2(c2)
        c4 = self.visual.layer3(c3)
        return c2, c3, c4, self.visual.layer4(c4)

    def embed_regions(
        self,
        c5: Tensor,
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor,  # noqa: ARG002 - the pooling reads the box
    ) -> Tensor:
        """CLIP's attention pooling on each box in C5: `(N, text_dim)`, not normalised."""
        regions = pool_boxes(c5, boxes_xyxy, batch, self.pool_size, stride=32)
        return attention_pool(self.visual.attnpool, regions.to(c5))


def attention_pool(pooling: Any, regions: Tensor) -> Tensor:
    """CLIP's attention pooling: the mean of a region's cells attends to them all and to itself.

    `pooling(regions)` gives the same; it also projects every cell, to be a query whose answer is
    thrown away, a key and a value, which takes 60 times as many multiply-adds.

    Args:
        pooling: open_clip's `AttentionPool2d`.
        regions: `(N, C, side, side)`, of the side that its position code was made for.

    Returns:
        `(N, output_dim)`.
    """
    cells = regions.flatten(2).mT  # (N, side * side, C)
    tokens = torch.cat([cells.mean(1, keepdim=True), cells], 1).add_(pooling.positional_embedding)
    query = in_heads(pooling.q_proj(tokens[:, :1]), pooling.num_heads)
    pooled = few_to_many(query, tokens, pooling.k_proj, pooling.v_proj)
    embeddings: Tensor = pooling.c_proj(pooled[:, 0])
    return embeddings


class ClipConvNextEncoder(ImageEncoder):
    """A ConvNeXt trained as CLIP; it names a region by the mean of C5 under the predicted mask.

    Args:
        visual: open_clip's `TimmModel` around timm's ConvNeXt.
    """

    visual: Any

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        freeze(self)
        self.train(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels `(B, 3, H, W)` -> C2..C5 at strides 4, 8, 16, 32."""
        x = self.visual.trunk.stem(pixels)
        maps = []
        for stage in self.visual.trunk.stages:
            x = stage(x)
            maps.append(x)
        return maps[0], maps[1], maps[2], self.visual.trunk.norm_pre(maps[3])

    def embed_regions(
        self,
        c5: Tensor,
        boxes_xyxy: Tensor,  # noqa: ARG002 - the mean is taken under the mask
        batch: Tensor,
        mask_logits: Tensor,
    ) -> Tensor:
        """CLIP's own head on the mean feature of each mask: `(N, text_dim)`, not normalised.

        A mask without a pixel at C5's resolution gives the embedding of a zero feature; the fusion
        leaves it out.
        """
        inside = (at_c5(mask_logits, c5)[:, 0] > 0).to(c5)  # (N, h, w)
        maps = c5.expand(inside.shape[0], -1, -1, -1) if c5.shape[0] == 1 else c5[batch]
        area = inside.sum((1, 2)).clamp(min=1)
        mean = torch.einsum("nhw,nchw->nc", inside, maps) / area[:, None]
        pooled = self.visual.trunk.forward_head(mean[:, :, None, None])
        embeddings: Tensor = self.visual.head(pooled)
        return embeddings


class ClipTextEncoder(nn.Module):
    """CLIP's text tower: strings -> unit vectors in the space of its image embeddings.

    Args:
        tower: open_clip's `TextTransformer`.
        architecture: open_clip's name of the pair, part of `identity`.
    """

    tower: Any

    def __init__(self, tower: Any, architecture: str) -> None:
        super().__init__()
        from open_clip.tokenizer import SimpleTokenizer

        self.tower = tower
        self.architecture = architecture
        self.dim = int(tower.output_dim)
        self._tokenize = SimpleTokenizer(context_length=tower.context_length)
        freeze(self)
        self.train(False)

    @property
    def identity(self) -> str:
        """Names the architecture and the weights: the same for the same embeddings, always."""
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (self.tower.text_projection, self.tower.ln_final.weight):
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return f"open_clip:{self.architecture}:{digest.hexdigest()}"

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> `(N, dim)` float32 unit vectors; a text beyond 77 tokens is cut off."""
        device = self.tower.text_projection.device
        batches = []
        for start in range(0, len(texts), TEXT_BATCH):
            tokens = self._tokenize(list(texts[start : start + TEXT_BATCH])).to(device)
            batches.append(F.normalize(self.tower(tokens).float(), dim=-1).cpu().numpy())
        if not batches:
            return np.zeros((0, self.dim), np.float32)
        return np.concatenate(batches)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """All of each text, since its tokens are made of bytes; what exceeds 77 tokens is cut."""
        room = self._tokenize.context_length - 2  # a token for the start, and one for the end
        tokens = [tuple(self._tokenize.encode(text)) for text in texts]
        return [Reading(ids[:room], bool(ids), 0 < len(ids) <= room) for ids in tokens]

    def embed_in_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        """Learned tokens `(T, width)` before each text, a full stop behind it: `(N, dim)` float32.

        As CoOp has it: the tokens follow the start of the text. Gradients reach `context`: for them
        the tower runs again, batch by batch, so that no long vocabulary's activations are kept.
        """
        device = self.tower.text_projection.device
        held = "x " * len(context)  # one token each, to be replaced
        batches = []
        for start in range(0, len(texts), TEXT_BATCH):
            batch = texts[start : start + TEXT_BATCH]
            tokens = self._tokenize([f"{held}{text}." for text in batch]).to(device)
            batches.append(checkpoint(self._in_context, tokens, context, use_reentrant=False))
        return torch.cat(batches)

    def _in_context(self, tokens: Tensor, context: Tensor) -> Tensor:
        """One batch of tokens `(B, 77)`, of which the context takes the places behind the first."""
        count, embedding = len(context), self.tower.token_embedding

        def replaced(_module: nn.Module, _inputs: Any, embedded: Tensor) -> Tensor:
            learned = context.to(embedded).expand(len(embedded), -1, -1)
            return torch.cat([embedded[:, :1], learned, embedded[:, 1 + count :]], 1)

        hook = embedding.register_forward_hook(replaced)
        try:
            embedded: Tensor = self.tower(tokens).float()
        finally:
            hook.remove()
        return embedded


def clip_token_width(config: EncoderConfig) -> int:
    """How wide the text tower's token embeddings are."""
    import open_clip

    settings = open_clip.get_model_config(config.architecture)
    return int(settings["text_cfg"]["width"])


def clip_image_encoder(config: EncoderConfig) -> ImageEncoder:
    """An empty image trunk of `config.architecture`, one of `RESNETS` and `CONVNEXTS`."""
    import open_clip
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel

    settings = open_clip.get_model_config(config.architecture)
    vision = settings["vision_cfg"]
    if config.architecture in CONVNEXTS:
        visual = TimmModel(
            vision["timm_model_name"],
            embed_dim=settings["embed_dim"],
            image_size=vision["image_size"],
            pool=vision["timm_pool"],
            proj=vision["timm_proj"],
        )
        return ClipConvNextEncoder(visual)
    visual = ModifiedResNet(
        layers=vision["layers"],
        output_dim=settings["embed_dim"],
        heads=vision["width"] // 2,  # heads of 64 channels at 32 x width
        image_size=vision["image_size"],
        width=vision["width"],
    )
    return ClipImageEncoder(visual, config.pool_size)


def clip_text_encoder(config: EncoderConfig) -> ClipTextEncoder:
    """The empty text tower that belongs to `clip_image_encoder(config)`."""
    import open_clip
    from open_clip.transformer import QuickGELU, TextTransformer

    settings = open_clip.get_model_config(config.architecture)
    tower = TextTransformer(
        **settings["text_cfg"],
        output_dim=settings["embed_dim"],
        act_layer=QuickGELU if settings.get("quick_gelu") else nn.GELU,
    )
    # A buffer that no checkpoint holds: it needs its values even if the tower is built on `meta`.
    with torch.device("cpu"):
        tower.register_buffer("attn_mask", tower.build_causal_mask(), persistent=False)
    return ClipTextEncoder(tower, config.architecture)
