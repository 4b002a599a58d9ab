"""All learned parts at once on square crops of photos: how `lite` is made.

Each batch draws square crops with prompts (`data/object_crops.py`), decodes them, clicks where the
mask is wrong, once or more often, and names the objects that have names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.data.dataset import DataSet, all_annotations
from ovsam.data.object_crops import ObjectCropBatch, ObjectCrops
from ovsam.data.prompts import next_click
from ovsam.formats.skipped import Skipped
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import normalised
from ovsam.model.prompt import region_mask_logits
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import Surroundings, class_logits, scenes_of
from ovsam.model.torch_bank import TorchBank
from ovsam.train.joint_vocabulary import JointVocabulary
from ovsam.train.losses import name_loss, prompt_loss, verified_rows
from ovsam.train.stages.model_stage import ModelStage

NAME_SCALE = 20.0  # softer than the 100 of inference: a thousand names must not saturate


@dataclass(frozen=True)
class _Targets:
    """What N prompts should give: their crop, mask at half size, and pixels outside of it."""

    crop: Tensor
    half: Tensor
    hidden: Tensor


class JointStage(ModelStage):
    """Adapter, prompt encoder, decoder and region head on a frozen trunk.

    Args:
        model: with its trunk's weights.
        banks: the names of each vocabulary of the data, in the batches' order.
        rounds: for each kind of batch the refinement rounds after the first prompt; its mask loss
            is called like the kind.
        refinement_weight: weight of the loss of each of these rounds.
        learn: "masks", "names", or both; what does not learn is frozen and has no loss.
        own_weight: weight of the loss of the names within each data set's own vocabulary.
        joint: the vocabularies in which the objects of all data sets are named.
    """

    def __init__(
        self,
        model: OVSAM,
        banks: Sequence[TorchBank],
        rounds: Mapping[str, int],
        refinement_weight: float,
        learn: Collection[str],
        own_weight: float = 1.0,
        joint: Sequence[JointVocabulary] = (),
    ) -> None:
        super().__init__(model)
        assert model.region_head is not None
        self.rounds, self.refinement_weight = dict(rounds), refinement_weight
        self.masks, self.names = "masks" in learn, "names" in learn
        self.own_weight, self.joint = own_weight, list(joint)
        named = ("name",) * bool(own_weight) + tuple(f"name_{each.name}" for each in joint)
        self.loss_names = (*(rounds if self.masks else ()), *(named if self.names else ()))
        if not self.masks:
            model.requires_grad_(False)
        model.region_head.requires_grad_(self.names)
        self.banks = list(banks)
        self._scenes: dict[bytes, Tensor] = {}  # of the photos so far, for the trunk is frozen

    def heavy_modules(self) -> Iterable[nn.Module]:
        """The trunk and the adapter; the decoder's prompts change their number."""
        assert self.model.adapter is not None
        return [self.model.encoder, self.model.adapter]

    def losses(self, batch: ObjectCropBatch) -> dict[str, Tensor]:
        """The mask loss under the name of the batch's kind, and the loss of the names."""
        pixels = ((batch.photos - self.mean) / self.std).permute(0, 3, 1, 2)
        features = self.model.encode(pixels, self.names, self.masks)
        losses = {}
        if self.masks:
            generator = torch.Generator(pixels.device).manual_seed(batch.seed)
            losses[batch.kind] = self._mask_loss(features, batch, generator)
        if self.names:
            losses |= self._name_losses(features, batch)
        return losses

    def _mask_loss(
        self, features: Features, batch: ObjectCropBatch, generator: torch.Generator
    ) -> Tensor:
        # Boxes first, then points, each encoded as its kind; both are two tokens long.
        masked = batch.has_mask.nonzero()[:, 0]
        if not len(masked):
            assert features.embedding is not None
            return 0 * features.embedding.sum()
        is_box = batch.is_box[masked]
        order = torch.cat([masked[is_box], masked[~is_box]])
        count = int(is_box.sum())
        boxes, points = batch.boxes_xyxy[order[:count]], batch.points_xy[order[count:]]
        labels = torch.ones(len(points), 1, dtype=torch.long, device=points.device)
        targets = _Targets(
            crop=batch.crop[order],
            half=F.avg_pool2d(batch.masks[order, None].float() / 255, 2)[:, 0],
            hidden=batch.hidden[order] / 4,
        )
        target = F.avg_pool2d(targets.half[:, None], 2)[:, 0] > 0.5  # (N, S / 4, S / 4)
        clicks = boxes.new_zeros(count, 0, 2), labels.new_zeros(count, 0)  # of the boxes
        encoded = self._encoded(features, boxes, clicks, (points, labels), None)
        logits, loss = self._decoded(
            features, encoded, targets, is_box=batch.is_box[order], whole=batch.whole[order]
        )
        # Refinement, each round with the mask so far as a prompt and a corrective click. Of several
        # one brings no click, for the predictor decodes what it found once more (SAM, appendix A).
        rounds, device = self.rounds[batch.kind], points.device
        no_click = -1
        if rounds > 1:
            no_click = int(torch.randint(rounds, (), generator=generator, device=device))
        clear = torch.ones_like(is_box)
        for refinement in range(rounds):
            previous = logits.detach()
            if rounds > 1:
                previous = _coarsened(previous, generator)
            if refinement != no_click:
                where, kinds = next_click(logits, target, 4, generator)
                clicks = _with(clicks, where[:count], kinds[:count])
                points, labels = _with((points, labels), where[count:], kinds[count:])
            encoded = self._encoded(features, boxes, clicks, (points, labels), previous)
            logits, better = self._decoded(features, encoded, targets, is_box=clear, whole=clear)
            loss = loss + self.refinement_weight * better
        return loss

    def _encoded(
        self,
        features: Features,
        boxes: Tensor,
        clicks: tuple[Tensor, Tensor],
        points: tuple[Tensor, Tensor],
        masks: Tensor | None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Prompts by box `(B, 4)` with clicks, then by points alone; all are as many tokens long.

        Clicks and points are `(B, K, 2)` with labels `(B, K)` and `(P, K + 1, 2)` with theirs;
        `masks` `(B + P, S / 4, S / 4)` is the mask logits so far.
        """
        count = len(boxes)
        by_box, by_point = (None, None) if masks is None else (masks[:count], masks[count:])
        return [
            self.model.encode_prompts(prompts, features.input_hw)
            for prompts in (
                PromptBatch(*clicks, boxes, by_box),
                PromptBatch(*points, mask_logits=by_point),
            )
        ]

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
        logits, predicted_iou = self.model.decode_tokens(features, sparse, dense, targets.crop)
        assert predicted_iou is not None
        logits = logits.float()
        loss = prompt_loss(
            F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False),
            predicted_iou.float(),
            targets.half,
            hidden=targets.hidden,
            is_box=is_box,
            whole=whole,
        )
        return logits[:, 0], loss

    def _name_losses(self, features: Features, batch: ObjectCropBatch) -> dict[str, Tensor]:
        """Of the names, within each data set's own vocabulary and within those of all."""
        named = (batch.class_index >= 0).nonzero()[:, 0]
        boxes, masks = batch.boxes_xyxy[named], None
        if self.model.names_see_masks:
            true = F.avg_pool2d(batch.masks[named, None].float() / 255, 4)
            masks = region_mask_logits(true, batch.has_mask[named], boxes, features.input_hw)
        crop, around = batch.crop[named], None
        if batch.photo_hw is not None:
            around = Surroundings(self._scenes_of(batch)[crop], batch.photo_hw[crop])
        embeddings = self.model.embed_regions(features, boxes, crop, masks, around).float()
        losses = {}
        count = max(1, len(named))
        with torch.autocast(embeddings.device.type, enabled=False):  # close names are close
            if self.own_weight:
                own = torch.cat(self._own_name_losses(embeddings, named, batch))
                losses["name"] = self.own_weight * own.sum() / count
            sources, classes = batch.vocabulary[named].tolist(), batch.class_index[named].tolist()
            for each in self.joint:
                found = [each.places[s][c] for s, c in zip(sources, classes, strict=True)]
                rows = [row for row, place in enumerate(found) if place is not None]
                bank = each.bank.to(embeddings.device)
                logits = class_logits(embeddings[rows], bank, NAME_SCALE)[:, :-1]
                loss = each.loss(logits, [place for place in found if place is not None])
                losses[f"name_{each.name}"] = each.weight * loss.sum() / count
        return losses

    @torch.no_grad()
    def _scenes_of(self, batch: ObjectCropBatch) -> Tensor:
        """The scenes `(B, C5)` of the photos that the crops are of."""
        assert batch.wholes is not None and batch.wholes_hw is not None
        found = []
        for whole, size_hw in zip(batch.wholes, batch.wholes_hw, strict=True):
            key = hashlib.blake2b(whole.cpu().numpy().tobytes(), digest_size=16).digest()
            if key not in self._scenes:  # each alone, so that it does not depend on the batch
                with torch.autocast(whole.device.type, enabled=False):
                    pixels = normalised(whole[None], size_hw[None], self.mean, self.std)
                    c5 = self.model.encoder(pixels)[3]
                    self._scenes[key] = scenes_of(c5, size_hw[None])[0]
            found.append(self._scenes[key])
        return torch.stack(found)

    def _own_name_losses(
        self, embeddings: Tensor, named: Tensor, batch: ObjectCropBatch
    ) -> list[Tensor]:
        losses = []
        for index, names in enumerate(self.banks):
            mine = batch.vocabulary[named] == index
            bank = names.to(embeddings.device)
            logits = class_logits(embeddings[mine], bank, NAME_SCALE)[:, :-1]
            numbers = [batch.verified_classes[i] for i in named[mine].tolist()]
            verified = verified_rows(numbers, logits.shape[1], logits.device)
            losses.append(name_loss(logits, batch.class_index[named][mine], verified))
        return losses


def _with(points: tuple[Tensor, Tensor], where: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Points `(N, K, 2)` and labels `(N, K)` with one more each."""
    return torch.cat([points[0], where], 1), torch.cat([points[1], labels], 1)


def _coarsened(mask_logits: Tensor, generator: torch.Generator) -> Tensor:
    """Masks `(N, h, w)` as they come back from the whole photo's grid, which is up to 4x coarser.

    Between clicks the predictor keeps a mask in the whole photo's low resolution; of an object that
    it zooms on, little is left there.
    """
    factor = 2 ** int(torch.randint(3, (), generator=generator, device=mask_logits.device))
    coarse = F.avg_pool2d(mask_logits[:, None], factor)
    return F.interpolate(coarse, size=mask_logits.shape[1:], mode="bilinear", align_corners=False)[
        :, 0
    ]


class AlternatingBatches:
    """Micro-batches of several kinds in turn.

    Args:
        kinds: how each kind draws, by name.
        cycle: the order of the kinds.
        data_sets: what is drawn from.
        skipped: what of it was left out when it was read.
    """

    def __init__(
        self,
        kinds: Mapping[str, ObjectCrops],
        cycle: Sequence[str],
        data_sets: Sequence[DataSet],
        skipped: Sequence[Skipped],
    ) -> None:
        self.kinds, self.cycle, self.skipped = dict(kinds), tuple(cycle), tuple(skipped)
        self.photos = sum(map(len, data_sets))
        self.annotations = all_annotations(data_sets)

    def __getitem__(self, index: int) -> ObjectCropBatch:
        """The batch of turn `index`."""
        return self.kinds[self.cycle[index % len(self.cycle)]][index]
