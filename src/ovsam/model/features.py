"""The frozen vision-language encoder as an interface: image -> pyramid, region -> text space.

And what the whole model keeps of an encoded image (`Features`).

`clip.py` implements it with open_clip's trunks, `lite.py` with an ImageNet classifier. The text
side is apart, in `ovsam.text`: it is needed only when a vocabulary is new.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.model.two_way import SharedProjections


@dataclass(frozen=True, eq=False)
class Features:
    """All that is computed once for an image (batch of B), whatever the prompts.

    Attributes:
        c5: `(B, C5, H / 32, W / 32)`, from a baseline's convolutions where it has some; None
            where the trunk did not run.
        embedding: `(B, embed_dim, H / 16, W / 16)`; None where no prompts are to be decoded.
        high_resolution: maps at strides 8 and 4 for the decoder, or None.
        fpn_maps: the region head's pyramid; empty where nothing is to be named, or without one.
        input_hw: (H, W) of the model's input, padding included.
        scenes: `(B, C5)`, see `scenes_of`; None where the region head does not read them.
        content_hw: `(B, 2)` height and width of each image without padding; None as `scenes`.
        shared: what the decoder projects once for all prompts; None = for each call of `decode`.
    """

    c5: Tensor | None
    embedding: Tensor | None
    high_resolution: tuple[Tensor, Tensor] | None
    fpn_maps: tuple[Tensor, ...]
    input_hw: tuple[int, int]
    scenes: Tensor | None = None
    content_hw: Tensor | None = None
    shared: SharedProjections | None = None

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        maps = (*(self.high_resolution or ()), *self.fpn_maps)
        maybe = (self.c5, self.embedding, self.scenes, self.content_hw)
        shared = self.shared.nbytes if self.shared is not None else 0
        return shared + sum(int(t.nbytes) for t in (*maps, *maybe) if t is not None)

    def split(self) -> list[Features]:
        """Those of each image alone, none of which keeps the others in memory."""
        batch = self.embedding if self.c5 is None else self.c5
        assert batch is not None, "encoded for nothing"
        if len(batch) == 1:
            return [self]
        return [self._map(lambda t, i=i: t[i : i + 1].clone()) for i in range(len(batch))]  # type: ignore[misc]

    def _map(self, change: Callable[[Tensor], Tensor]) -> Features:
        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        sharp = self.high_resolution
        return replace(
            self,
            c5=changed(self.c5),
            embedding=changed(self.embedding),
            high_resolution=(change(sharp[0]), change(sharp[1])) if sharp else None,
            fpn_maps=tuple(map(change, self.fpn_maps)),
            scenes=changed(self.scenes),
            content_hw=changed(self.content_hw),
        )


class ImageEncoder(nn.Module, ABC):
    """A frozen trunk: it never trains, stays in eval mode, and gives no gradients."""

    def train(self, mode: bool = True) -> ImageEncoder:  # noqa: ARG002 - nn.Module's signature
        """Stay in eval mode: batch statistics of the trunk are frozen too."""
        return super().train(False)

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels -> the feature pyramid.

        Args:
            pixels: `(B, 3, H, W)` RGB, less `EncoderConfig.pixel_mean`, over its `pixel_std`; H and
                W multiples of 32.

        Returns:
            C2..C5, each `(B, C, H / s, W / s)` with s = 4, 8, 16, 32.
        """

    @abstractmethod
    def embed_regions(
        self, c5: Tensor, boxes_xyxy: Tensor, batch: Tensor, mask_logits: Tensor
    ) -> Tensor:
        """The encoder's own embedding of N regions, in the space of its text embeddings.

        Args:
            c5: `(B, C, H / 32, W / 32)`.
            boxes_xyxy: `(N, 4)` model pixels.
            batch: `(N,)` which image of the batch each region belongs to.
            mask_logits: `(N, 1, H / 4, W / 4)` predicted masks.

        Returns:
            `(N, text_dim)`, not normalised.
        """


class NoEncoder(ImageEncoder):
    """None, as beside SAM alone: a pyramid without pixels, and embeddings without channels."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Four maps `(B, 0, 0, 0)`."""
        empty = pixels.new_empty(len(pixels), 0, 0, 0)
        return empty, empty, empty, empty

    def embed_regions(
        self,
        c5: Tensor,  # noqa: ARG002
        boxes_xyxy: Tensor,
        batch: Tensor,  # noqa: ARG002
        mask_logits: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """`(N, 0)`."""
        return boxes_xyxy.new_empty(len(boxes_xyxy), 0)


def covers_c5(mask_logits: Tensor, c5: Tensor) -> Tensor:
    """Whether mask logits `(N, 1, h, w)` are positive anywhere at C5's resolution: `(N,)` bool."""
    return (at_c5(mask_logits, c5) > 0).flatten(1).any(1)


def at_c5(mask_logits: Tensor, c5: Tensor) -> Tensor:
    """Mask logits `(N, 1, h, w)` resized to the grid of C5, `(N, 1, H / 32, W / 32)`."""
    return F.interpolate(mask_logits, size=c5.shape[-2:], mode="bilinear", align_corners=False)


def freeze(module: nn.Module) -> None:
    """Take gradients off every parameter of `module`."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
