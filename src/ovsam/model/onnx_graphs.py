"""The three graphs that a model is exported as: encoder, decoder, regions.

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


class RegionGraph(nn.Module):
    """Features and regions -> embeddings, and scores for names that come as a tensor.

    Args:
        model: with names, in eval mode.
        head_maps: which of the encoder's outputs are the head's maps, see `map_names`.
    """

    def __init__(self, model: OVSAM, head_maps: Sequence[str]) -> None:
        super().__init__()
        self.model, self.head_maps = model, tuple(head_maps)
        self.maps = tuple(dict.fromkeys(("c5", *head_maps)))

    def forward(
        self,
        features: list[Tensor],
        index: Tensor,
        boxes_xyxy: Tensor,
        mask_logits: Tensor,
        names: Tensor,
        class_of_name: Tensor,
        seen: Tensor,
        scenes: Tensor | None = None,
        photo_hw: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed N regions and score C classes.

        Args:
            features: those of `maps`.
            index: `(N,)` which square each region is in.
            boxes_xyxy: `(N, 4)` model pixels.
            mask_logits: `(N, 1, S / 4, S / 4)`.
            names: `(P, D)` unit vectors of the names.
            class_of_name: `(P,)` the number of the class that each is a name of.
            seen: `(C,)` bool, classes that the region head was trained on.
            scenes: `(1, C5)` of the whole photo that the squares are parts of.
            photo_hw: `(N, 2)` its size in the model pixels of each region's square.

        Returns:
            Unit vectors `(N, E, D)`, the head's first, the frozen encoder's last; whether a mask
            covers a cell of C5 `(N,)`; log scores `(N, C + 1)`, background last.
        """
        named = dict(zip(self.maps, features, strict=True))
        model, c5 = self.model, named["c5"]
        maps = tuple(named[key] for key in self.head_maps)
        made = Features(c5, None, None, maps, (32 * c5.shape[2], 32 * c5.shape[3]))
        around = None
        if scenes is not None and photo_hw is not None:
            around = Surroundings(scenes.expand(index.shape[0], -1), photo_hw)
        embeddings = [model.encoder.embed_regions(c5, boxes_xyxy, index, mask_logits)]
        if model.region_head is not None:
            learned = model.embed_regions(made, boxes_xyxy, index, mask_logits, around)
            embeddings.insert(0, learned)
        unit = F.normalize(torch.stack(embeddings, 1), dim=-1)  # (N, E, D)
        products = model.config.logit_scale * unit @ names.T  # (N, E, P)
        lowest = products.new_full((*products.shape[:2], seen.shape[0]), -torch.inf)
        place = class_of_name.expand_as(products)
        logits = F.pad(lowest.scatter_reduce(2, place, products, "amax"), (0, 1))
        covered = covers_c5(mask_logits, c5)
        scores = fuse(
            logits[:, 0],
            logits[:, -1],
            seen=seen,
            answerable=torch.ones_like(seen),
            clip_valid=covered,
            alpha=model.config.fusion_alpha,
            beta=model.config.fusion_beta,
        )
        return unit, covered, scores.log_softmax(-1)


def map_names(features: Features) -> list[str]:
    """Of the encoder's outputs those that are the region head's maps, in order; C5 may be one."""
    return [
        "c5" if level is features.c5 else f"map{i}" for i, level in enumerate(features.fpn_maps)
    ]
