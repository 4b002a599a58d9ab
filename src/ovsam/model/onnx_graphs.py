"""The four graphs that a model is exported as: encoder, decoder, frozen, regions.

Resizing stays outside: the encoder takes squares, as bytes, of any number and of all sizes that the
model works with, and masks leave at low resolution. Numbers of prompts, points, regions and names
are free, and no shape depends on data: a box is two points, points that are missing have a label
for that, and regions are pooled by products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.model.features import covers_c5
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import normalised
from ovsam.model.prompt_batch import NOT_A_POINT
from ovsam.model.region import Surroundings, fuse


class EncoderGraph(nn.Module):
    """Squares of photos -> all that prompts and names need of them.

    Args:
        model: with an adapter, in eval mode.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: OVSAM) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(model.config.encoder.pixel_mean))
        self.register_buffer("std", torch.tensor(model.config.encoder.pixel_std))

    def encoded(self, pixels: Tensor, content_hw: Tensor) -> Features:
        """Squares `(B, S, S, 3)` uint8, of which `content_hw` `(B, 2)` is photo -> features."""
        squares = normalised(pixels.float(), content_hw, self.mean, self.std)
        return self.model.encode(squares, content_hw=content_hw)

    def forward(self, pixels: Tensor, content_hw: Tensor) -> tuple[Tensor, ...]:
        """The same, those of `maps_of`."""
        return tuple(maps_of(self.encoded(pixels, content_hw)).values())


def maps_of(made: Features) -> dict[str, Tensor]:
    """Features by the names that they have as outputs and inputs of graphs."""
    high8, high4 = made.high_resolution or (None, None)
    found = {"embedding": made.embedding, "high8": high8, "high4": high4, "c5": made.c5}
    found |= {**dict(zip(map_names(made), made.fpn_maps, strict=True)), "scenes": made.scenes}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


class DecoderGraph(nn.Module):
    """Features and prompts of any kind -> mask logits and predicted IoU.

    Args:
        model: in eval mode.
        maps: names of the features that it takes.
    """

    def __init__(self, model: OVSAM, maps: Sequence[str]) -> None:
        super().__init__()
        self.model, self.maps = model, tuple(maps)

    def forward(
        self,
        features: list[Tensor],
        index: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        mask_of_prompt: Tensor,
    ) -> tuple[Tensor, ...]:
        """Decode N prompts.

        Args:
            features: those of `maps`.
            index: `(N,)` which square each prompt is in.
            points_xy: `(N, T, 2)` model pixels.
            point_labels: `(N, T)` 1 and 0 for points on the object and off it, 2 and 3 for a box's
                corners, -1 for none. Points without a box end with one of those.
            mask_input: `(M, 1, S / 4, S / 4)` coarse masks, at least one.
            mask_of_prompt: `(N,)` the number of each prompt's mask, from 1; 0 = it has none.
        """
        named = dict(zip(self.maps, features, strict=True))
        encoder = self.model.prompt_encoder
        types = [encoder.not_a_point_embed, *encoder.point_embeddings]
        table = torch.cat([embedding.weight for embedding in types])  # (5, C)
        size = 16 * named["embedding"].shape[3]
        # A box's corners are half a pixel off, as SAM was trained; see `PromptBatch`.
        at = points_xy + 0.5 * (point_labels >= 2).to(points_xy)[..., None]
        code = encoder.pe_layer(at / size) * (point_labels != NOT_A_POINT)[..., None]
        sparse = code + table[point_labels + 1]
        given = encoder.mask_downscaling(mask_input)
        none = encoder.no_mask_embed.weight[:, :, None, None].expand_as(given[:1])
        dense = torch.cat([none, given])[mask_of_prompt]
        high = (named["high8"], named["high4"]) if "high8" in named else None
        made = Features(None, named["embedding"], high, (), (size, size))
        masks, predicted_iou = self.model.decode_tokens(made, sparse, dense, index)
        return (masks,) if predicted_iou is None else (masks, predicted_iou)


class FrozenGraph(nn.Module):
    """C5 and regions -> the frozen encoder's own embedding of them.

    Args:
        model: with names, in eval mode.
    """

    maps = ("c5",)

    def __init__(self, model: OVSAM) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(
        self, features: list[Tensor], index: Tensor, boxes_xyxy: Tensor, mask_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embed N regions; see `RegionGraph`.

        Returns:
            Unit vectors `(N, D)`, and whether a mask covers a cell of C5 `(N,)`, without which
            they do not count.
        """
        [c5] = features
        embeddings = self.encoder.embed_regions(c5, boxes_xyxy, index, mask_logits)
        return F.normalize(embeddings, dim=-1), covers_c5(mask_logits, c5)


class RegionGraph(nn.Module):
    """Features and regions -> the region head's embedding, and scores for names.

    The names come as a tensor. Without the frozen encoder's embedding it gives the head's scores
    alone: for zeros in its place, and False.

    Args:
        model: with names, in eval mode.
        head_maps: which of the encoder's outputs are the head's maps, see `map_names`.
    """

    def __init__(self, model: OVSAM, head_maps: Sequence[str]) -> None:
        super().__init__()
        self.model, self.maps = model, tuple(head_maps)

    def forward(
        self,
        features: list[Tensor],
        index: Tensor,
        boxes_xyxy: Tensor,
        names: Tensor,
        class_of_name: Tensor,
        seen: Tensor,
        frozen: Tensor,
        covered: Tensor,
        more: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Embed N regions and score C classes.

        Args:
            features: those of `maps`.
            index: `(N,)` which square each region is in.
            boxes_xyxy: `(N, 4)` model pixels.
            names: `(P, D)` unit vectors of the names.
            class_of_name: `(P,)` the number of the class that each is a name of.
            seen: `(C,)` bool, classes that the region head was trained on.
            frozen: `(N, D)` the frozen encoder's embedding.
            covered: `(N,)` bool, whether that counts.
            more: for a head that sees masks, `(N, 1, S / 4, S / 4)`; for one that sees what is
                around, the whole photo's scene `(1, C5)` and its size `(N, 2)` in the model pixels
                of each region's square.

        Returns:
            Unit vectors `(N, D)`; log scores `(N, C + 1)`, background last.
        """
        model, config = self.model, self.model.config
        assert model.region_head is not None
        mask_logits, around = None, None
        if model.region_head.sees_masks:
            [mask_logits] = more
        elif model.region_head.sees_surroundings:
            scenes, photo_hw = more
            around = Surroundings(scenes.expand(index.shape[0], -1), photo_hw)
        learned = model.region_head(features, boxes_xyxy, index, mask_logits, around)
        learned = F.normalize(learned, dim=-1)
        products = config.logit_scale * torch.stack([learned, frozen], 1) @ names.T  # (N, 2, P)
        lowest = products.new_full((*products.shape[:2], seen.shape[0]), -torch.inf)
        place = class_of_name.expand_as(products)
        logits = F.pad(lowest.scatter_reduce(2, place, products, "amax"), (0, 1))
        scores = fuse(
            logits[:, 0],
            logits[:, 1],
            seen=seen,
            answerable=torch.ones_like(seen),
            clip_valid=covered,
            alpha=config.fusion_alpha,
            beta=config.fusion_beta,
        )
        return learned, scores.log_softmax(-1)


def map_names(features: Features) -> list[str]:
    """Of the encoder's outputs those that are the region head's maps, in order; C5 may be one."""
    return [
        "c5" if level is features.c5 else f"map{i}" for i, level in enumerate(features.fpn_maps)
    ]
