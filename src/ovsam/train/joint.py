"""All learned parts at once on squares of photos: how `lite` is made.

Each batch draws squares with prompts (`data/crops.py`), decodes them, clicks once more where the
mask is wrong, and names the objects that have names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.data.crops import Batch, Squares
from ovsam.data.prompts import next_click
from ovsam.model.label import class_logits
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.prompt import box_mask_logits
from ovsam.train.engine import Stage
from ovsam.train.losses import prompt_loss

NAME_SCALE = 20.0  # softer than the 100 of inference: a thousand names must not saturate


@dataclass(frozen=True)
class _Targets:
    """What N prompts should give: their square, mask at half size, and pixels outside of it."""

    square: Tensor
    half: Tensor
    hidden: Tensor


class JointStage(Stage):
    """Adapter, prompt encoder, decoder and region head on a frozen trunk.

    Args:
        model: with its trunk's weights.
        prototypes: for each vocabulary of the data `(C, P, D)` unit vectors, in the batches' order.
        kinds: what a batch's mask loss can be called.
        again: weight of the loss after one corrective click.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: OVSAM,
        prototypes: Sequence[Tensor],
        kinds: Iterable[str],
        again: float,
    ) -> None:
        super().__init__()
        self.model, self.again = model, again
        self.loss_names = (*kinds, "name")
        encoder = model.config.encoder
        self.register_buffer("mean", torch.tensor(encoder.pixel_mean), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.pixel_std), persistent=False)
        self.vocabularies = len(prototypes)
        for index, vectors in enumerate(prototypes):
            self.register_buffer(f"prototypes{index}", vectors, persistent=False)

    def heavy_modules(self) -> Iterable[nn.Module]:
        """The trunk and the adapter; the decoder's prompts change their number."""
        return [self.model.encoder, self.model.adapter]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mask loss under the name of the batch's kind, and the loss of the names."""
        pixels = ((batch.photos - self.mean) / self.std).permute(0, 3, 1, 2)
        features = self.model.encode(pixels)
        generator = torch.Generator(pixels.device).manual_seed(batch.seed)
        mask = self._mask_loss(features, batch, generator)
        return {batch.kind: mask, "name": self._name_loss(features, batch)}

    def _mask_loss(self, features: Features, batch: Batch, generator: torch.Generator) -> Tensor:
        # Boxes first, then points, each encoded as its kind; both are two tokens long.
        masked = batch.has_mask.nonzero()[:, 0]
        if not len(masked):
            return 0 * features.embedding.sum()
        is_box = batch.is_box[masked]
        order = torch.cat([masked[is_box], masked[~is_box]])
        count = int(is_box.sum())
        # SAM's point names a pixel's centre by its index; ours are distances.
        boxes, points = batch.boxes_xyxy[order[:count]], batch.points_xy[order[count:]] - 0.5
        labels = torch.ones(len(points), 1, dtype=torch.long, device=points.device)
        size, encode = features.input_hw, self.model.prompt_encoder
        targets = _Targets(
            square=batch.square[order],
            half=F.avg_pool2d(batch.masks[order, None].float() / 255, 2)[:, 0],
            hidden=batch.hidden[order] / 4,
        )
        logits, loss = self._decoded(
            features,
            [
                encode(None, None, boxes, box_mask_logits(boxes, size), size),
                encode(points, labels, None, None, size),
            ],
            targets,
            is_box=batch.is_box[order],
            whole=batch.whole[order],
        )
        # One corrective click, with the mask so far as a prompt (SAM, appendix A); three tokens.
        truth = F.avg_pool2d(targets.half[:, None], 2)[:, 0] > 0.5  # (N, S / 4, S / 4)
        clicks, kinds = next_click(logits, truth, 4, generator)
        clicks = clicks - 0.5
        previous = logits[:, None].detach()
        points, labels = (
            torch.cat([points, clicks[count:]], 1),
            torch.cat([labels, kinds[count:]], 1),
        )
        clear = torch.ones_like(is_box)
        _, again = self._decoded(
            features,
            [
                encode(clicks[:count], kinds[:count], boxes, previous[:count], size),
                encode(points, labels, None, previous[count:], size),
            ],
            targets,
            is_box=clear,
            whole=clear,
        )
        return loss + self.again * again

    def _decoded(
        self,
        features: Features,
        encoded: Sequence[tuple[Tensor, Tensor]],
        targets: _Targets,
        *,
        is_box: Tensor,
        whole: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts: the first mask's logits `(N, S / 4, S / 4)` and the loss."""
        sparse, dense = (torch.cat(parts) for parts in zip(*encoded, strict=True))
        logits, quality = self.model.decode_tokens(features, sparse, dense, targets.square)
        assert quality is not None
        logits = logits.float()
        loss = prompt_loss(
            F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False),
            quality.float(),
            targets.half,
            hidden=targets.hidden,
            is_box=is_box,
            whole=whole,
        )
        return logits[:, 0], loss

    def _name_loss(self, features: Features, batch: Batch) -> Tensor:
        named = (batch.class_index >= 0).nonzero()[:, 0]
        embeddings = self.model.region_head(
            features.fpn_maps, batch.boxes_xyxy[named], batch.square[named]
        ).float()
        losses = []
        with torch.autocast(embeddings.device.type, enabled=False):  # close names are close
            for index in range(self.vocabularies):
                mine = batch.vocabulary[named] == index
                prototypes = self.get_buffer(f"prototypes{index}")
                logits = class_logits(embeddings[mine], prototypes, NAME_SCALE)[:, :-1]
                target = batch.class_index[named][mine]
                losses.append(
                    F.cross_entropy(logits, target, reduction="none", label_smoothing=0.05)
                )
        return torch.cat(losses).sum() / max(1, len(named))


class Turns:
    """Micro-batches of several kinds in turn.

    Args:
        kinds: how each kind draws, by name.
        cycle: the order of the kinds.
    """

    def __init__(self, kinds: Mapping[str, Squares], cycle: Sequence[str]) -> None:
        self.kinds, self.cycle = dict(kinds), tuple(cycle)

    @property
    def photos(self) -> int:
        """How many photos there are to draw from."""
        return max(squares.photos for squares in self.kinds.values())

    def __getitem__(self, index: int) -> Batch:
        """The batch of turn `index`."""
        return self.kinds[self.cycle[index % len(self.cycle)]][index]
