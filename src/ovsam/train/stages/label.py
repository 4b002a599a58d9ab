"""CLIP2SAM: region head and mask decoder learn from photos with masks, boxes or names (paper §3.3).

Trunk, adapter and prompt encoder are frozen. Each photo brings what its data set has: masks teach
the decoder, names the region head, within the data set's own vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ovsam.data.prompts import NO_POINT, next_click
from ovsam.data.scene_batches import SceneBatch
from ovsam.errors import TrainingError
from ovsam.model.baselines.coop import ContextEncoder
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import normalised
from ovsam.model.prompt import region_mask_logits
from ovsam.model.prompt_batch import PromptBatch, box_mask_logits
from ovsam.model.region import class_logits
from ovsam.model.roi_align import roi_align
from ovsam.model.torch_bank import TorchBank
from ovsam.train.losses import (
    BCE_WEIGHT,
    CLASS_WEIGHT,
    DICE_WEIGHT,
    class_loss,
    mask_iou,
    mean_over_images,
    sampled_mask_losses,
    verified_rows,
)
from ovsam.train.stages.model_stage import ModelStage


@dataclass(frozen=True, eq=False)
class ClassesInContext:
    """What a learned context needs to embed the classes at each step.

    Attributes:
        encoder: the frozen text model.
        names: for each data set the first names of its classes (CoOp has one name a class);
            empty for one without names.
    """

    encoder: ContextEncoder
    names: Sequence[Sequence[str]]


class LabelStage(ModelStage):
    """Region head and decoder of a model learn, or one of them; all else is frozen.

    Of a baseline its context or its convolutions learn in place of the region head.

    Args:
        model: with a trunk, an adapter and a prompt encoder that have learnt.
        banks: for each data set the names of its classes.
        learn: "region_head", "mask_decoder", or both; what does not learn has no loss. For a
            baseline "context" or "conv_adapter" in place of "region_head".
        rounds: corrective clicks after the first prompt.
        checkpoint_activations: whether the decoder runs again for the gradient, which saves
            memory.
        in_context: for a model with a context what embeds the classes in place of `banks`.

    Raises:
        TrainingError: the model has not all of what is to learn.
    """

    def __init__(
        self,
        model: OVSAM,
        banks: Sequence[TorchBank],
        learn: Collection[str],
        rounds: int,
        checkpoint_activations: bool = False,
        in_context: ClassesInContext | None = None,
    ) -> None:
        super().__init__(model)
        self.rounds, self.checkpoint_activations = rounds, checkpoint_activations
        self.in_context = in_context
        named = [part for part in learn if part != "mask_decoder"]
        self.names, self.masks = bool(named), "mask_decoder" in learn
        self.loss_names = ("class",) * self.names + ("bce", "dice", "predicted_iou") * self.masks
        model.requires_grad_(False)
        for name in named:
            part = getattr(model, name)
            if part is None:
                raise TrainingError(
                    f"'{model.config.name}' has no {name} that could learn: set learn to the parts "
                    "that it has (docs/baselines.md)."
                )
            part.requires_grad_(True)
        for part in (model.mask_decoder, model.high_resolution):
            if part is not None:
                part.requires_grad_(self.masks)
        self.banks = list(banks)

    def heavy_modules(self) -> Iterable[nn.Module]:
        """The trunk and the adapter; the decoder's prompts change their number."""
        parts = (self.model.encoder, self.model.adapter, self.model.sam)
        return [part for part in parts if part is not None]

    def losses(self, batch: SceneBatch) -> dict[str, Tensor]:
        """Of names, masks (cross-entropy and dice, §3.3) and their predicted IoU, each a scalar."""
        pixels = normalised(batch.photos, batch.content_hw, self.mean, self.std)
        # Image-Crop names crops, not the scene.
        baseline = self.model.config.baseline
        crops = baseline is not None and baseline.cuts == "image"
        features = self.model.encode(pixels, self.names and not crops, self.masks)
        losses: dict[str, Tensor] = {}
        if self.names:
            embeddings = self._cropped(pixels, batch) if crops else self._embedded(features, batch)
            losses["class"] = CLASS_WEIGHT * self._class_loss(embeddings, batch)
        if self.masks:
            losses |= self._all_mask_losses(features, batch)
        if losses:
            return losses
        assert features.embedding is not None  # masks alone learn, and no object has one
        return {self.loss_names[0]: 0 * features.embedding.sum()}

    def _all_mask_losses(self, features: Features, batch: SceneBatch) -> dict[str, Tensor]:
        """Of cross-entropy, dice and predicted IoU; empty where no object has a mask."""
        parts, images = [], len(batch.photos)
        for crop, seed in enumerate(batch.seeds):
            generator = torch.Generator(batch.image.device).manual_seed(seed)
            for chosen in _kinds(batch, crop):
                parts.append(self._mask_losses(features, batch, chosen, generator))
        losses: dict[str, Tensor] = {}
        if not parts:
            return losses
        image = batch.image[torch.cat([part.prompt for part in parts])]
        for name, weight in (("bce", BCE_WEIGHT), ("dice", DICE_WEIGHT), ("predicted_iou", 1.0)):
            values = torch.cat([getattr(part, name) for part in parts])
            even = torch.ones_like(values)
            losses[name] = weight * mean_over_images(values, even, image, images)
        return losses

    def _cropped(self, pixels: Tensor, batch: SceneBatch) -> Tensor:
        """Image-Crop's embedding of each prompt's object: `(P, text_dim)`.

        The square around its box, at the size at which the predictor cuts it out.
        """
        boxes, size = batch.prompts.boxes_xyxy, 32 * self.model.config.encoder.pool_size
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True).clamp(min=4) / 2
        squares = torch.cat([batch.image[:, None].to(boxes), middle - half, middle + half], 1)
        crops = roi_align(pixels.float(), squares, size, 1.0)
        features = self.model.encode(crops, masked=False)
        whole = boxes.new_tensor([[0, 0, size, size]]).expand(len(boxes), -1)
        each = torch.arange(len(boxes), device=boxes.device)
        return self.model.embed_regions(
            features, whole, each, box_mask_logits(whole, (size, size))[:, None]
        ).float()

    def _embedded(self, features: Features, batch: SceneBatch) -> Tensor:
        """What names each prompt's object, from the scene's features: `(P, text_dim)`."""
        boxes, masks = batch.prompts.boxes_xyxy, None
        if self.model.names_see_masks:
            objects = batch.prompts.object_index
            true = F.avg_pool2d(batch.masks[:, None].float(), 4)[objects]
            masks = region_mask_logits(true, batch.has_mask[objects], boxes, features.input_hw)
        return self.model.embed_regions(features, boxes, batch.image, masks).float()

    def _bank(self, index: int) -> TorchBank:
        """The names of a data set's classes, in the context as it is now if the model has one."""
        fixed = self.banks[index]
        if self.in_context is None or self.model.context is None:
            return fixed
        if not (names := self.in_context.names[index]):
            return fixed
        vectors = self.in_context.encoder.embed_in_context(names, self.model.context.tokens)
        return TorchBank.of_single_names(F.normalize(vectors, dim=-1))

    def _class_loss(self, embeddings: Tensor, batch: SceneBatch) -> Tensor:
        labels = batch.class_index[batch.prompts.object_index]
        source = batch.source[batch.image]
        total: Tensor = embeddings.sum() * 0
        for index in torch.unique(batch.source).tolist():
            mine = (source == index).nonzero()[:, 0]
            with torch.autocast(embeddings.device.type, enabled=False):  # close names are close
                bank = self._bank(index).to(embeddings.device)
                scores = class_logits(embeddings[mine], bank, self.model.config.logit_scale)
            image = batch.image[mine]
            numbers = [batch.verified_classes[i] for i in image.tolist()]
            verified = verified_rows(numbers, scores.shape[1] - 1, scores.device)
            total = total + class_loss(scores, labels[mine], image, len(batch.photos), verified)
        return total

    def _mask_losses(
        self, features: Features, batch: SceneBatch, chosen: Tensor, generator: torch.Generator
    ) -> _MaskLosses:
        """Of prompts of one kind on one crop `(N,)`, over all rounds."""
        prompts = batch.prompts
        masks = batch.masks[prompts.object_index[chosen]]  # (N, S, S)
        coarse = F.avg_pool2d(masks[:, None].float(), 4)[:, 0] > 0.5
        real = prompts.point_labels[chosen[0]] != NO_POINT
        points, labels = prompts.points_xy[chosen][:, real], prompts.point_labels[chosen][:, real]
        is_box = bool(prompts.is_box[chosen[0]])
        boxes = prompts.boxes_xyxy[chosen] if is_box else None
        previous: Tensor | None = None
        found = []
        for refinement in range(self.rounds + 1):
            if refinement:
                assert previous is not None
                content_hw = batch.content_hw[batch.image[chosen[0]]]
                click, kind = next_click(previous, coarse, 4, generator, content_hw)
                points, labels = torch.cat([points, click], 1), torch.cat([labels, kind], 1)
            logits, predicted_iou = self._decode(
                features, points, labels, boxes, previous, batch.image[chosen]
            )
            ambiguous = not is_box and points.shape[1] == 1
            found.append(_losses(logits, predicted_iou, masks, coarse, generator, ambiguous))
            previous = logits[:, 0].detach().float()
        means = [torch.stack(values).mean(0) for values in zip(*found, strict=True)]
        return _MaskLosses(chosen, *means)

    def _decode(
        self,
        features: Features,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None,
        previous: Tensor | None,
        image: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        prompts = PromptBatch(points, labels, boxes, previous)

        def decode() -> tuple[Tensor, Tensor | None]:
            return self.model.decode(features, prompts, image)

        if not self.checkpoint_activations:
            return decode()
        decoded: tuple[Tensor, Tensor | None] = checkpoint(decode, use_reentrant=False)
        return decoded


@dataclass(frozen=True, eq=False)
class _MaskLosses:
    """Of N prompts, `(N,)` each."""

    prompt: Tensor
    bce: Tensor
    dice: Tensor
    predicted_iou: Tensor


def _losses(
    logits: Tensor,
    predicted_iou: Tensor | None,
    masks: Tensor,
    coarse: Tensor,
    generator: torch.Generator,
    ambiguous: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """SAM's rule: the first mask learns; of the alternatives to a lone point the best, too."""
    bce, dice = sampled_mask_losses(logits[:, 0], masks, generator)
    if ambiguous and logits.shape[1] > 1:
        others = [
            sampled_mask_losses(logits[:, i], masks, generator) for i in range(1, logits.shape[1])
        ]
        both = torch.stack([torch.stack(pair) for pair in others])  # (M - 1, 2, N)
        best = both.sum(1).argmin(0)  # (N,)
        rows = torch.arange(len(best), device=best.device)
        bce, dice = (bce + both[best, 0, rows]) / 2, (dice + both[best, 1, rows]) / 2
    if predicted_iou is None:
        return bce, dice, torch.zeros_like(bce)
    with torch.no_grad():
        iou = mask_iou(logits, coarse.float(), bce.new_zeros(len(bce)))
    return bce, dice, (predicted_iou.float() - iou).square().mean(1)


def _kinds(batch: SceneBatch, crop: int) -> list[Tensor]:
    """A crop's prompts with a mask, grouped by what they consist of, so that they can be stacked.

    One crop at a time: its random numbers are its own, and the decoder's memory stays small.
    """
    prompts = batch.prompts
    real = prompts.point_labels != NO_POINT
    kind = prompts.is_box * 4 + real[:, 0] * 2 + real[:, 1]
    masked = batch.has_mask[prompts.object_index] & (batch.image == crop)
    kind = torch.where(masked, kind, -1)
    return [(kind == value).nonzero()[:, 0] for value in torch.unique(kind).tolist() if value >= 0]
