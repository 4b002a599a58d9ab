"""SAM2CLIP: the adapter learns the embedding of a teacher, SAM's (paper §3.2, Eq. 2 and 3).

Plain distillation compares the embeddings alone. With prompts in the loop (EdgeSAM, Zhou et al.
2023) the frozen decoder also decodes the same clicks and boxes from both, and the masks are
compared, which teaches the adapter which part of the embedding matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.data.dataset import DataSet, all_annotations
from ovsam.data.mixture import Mixture
from ovsam.data.prompts import point_of
from ovsam.errors import AnnotationError, PhotoError, TrainingError
from ovsam.formats.skipped import Skipped
from ovsam.geometry import clip_box_xyxy
from ovsam.images.frame import Frame
from ovsam.images.read import read_photo
from ovsam.model.ovsam import OVSAM
from ovsam.model.pixels import normalised
from ovsam.model.prompt_batch import PromptBatch
from ovsam.train.feature_cache import FeatureCache, photo_name
from ovsam.train.losses import mask_loss
from ovsam.train.stages.model_stage import ModelStage
from ovsam.train.teacher import Teacher

TRIES = 20  # photos in a row that may be unreadable


@dataclass(frozen=True)
class WholePhotos:
    """B whole photos with N prompts.

    Attributes:
        photos: `(B, S, S, 3)` uint8, padded right and below.
        content_hw: `(B, 2)` how much of each is photo.
        embedding: `(B, C, S / 16, S / 16)` the teacher's, or None where it is to be run.
        photo: `(N,)` which photo each prompt belongs to.
        points_xy: `(N, 1, 2)` a point of an object, model pixels.
        boxes_xyxy: `(N, 4)` its box, model pixels.
        names: of the photos.
        skipped: photos that cannot be read, and annotations that cannot be used.
    """

    photos: Tensor
    content_hw: Tensor
    embedding: Tensor | None
    photo: Tensor
    points_xy: Tensor
    boxes_xyxy: Tensor
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]


class DistillBatches:
    """Micro-batches of whole photos; item i depends on the seed and i alone.

    Args:
        sources: data sets with the folders of their photos; masks, where there are any, give the
            prompts.
        mixture: which photo comes next.
        image_size: the longest side of a photo as student and teacher see it.
        size: photos in a micro-batch.
        prompts: objects of a photo that are prompted for; 0 = none.
        caches: the teacher's embeddings, one for each data set, or None where it is to be run.
    """

    def __init__(
        self,
        sources: Sequence[tuple[DataSet, Path]],
        mixture: Mixture,
        image_size: int,
        size: int,
        prompts: int,
        caches: Sequence[FeatureCache] | None,
    ) -> None:
        self.sources, self.mixture = list(sources), mixture
        self.image_size, self.size, self.prompts, self.caches = image_size, size, prompts, caches

    @property
    def photos(self) -> int:
        """How many photos there are to draw from."""
        return sum(len(data_set) for data_set, _ in self.sources)

    @property
    def annotations(self) -> int | None:
        """How many annotations there are; None = unknown."""
        return all_annotations((data_set for data_set, _ in self.sources))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out when listing, of data whose masks are used."""
        if not self.prompts:
            return ()
        return sum((data_set.skipped for data_set, _ in self.sources), ())

    def __getitem__(self, index: int) -> WholePhotos:
        """Micro-batch `index`.

        Raises:
            TrainingError: many photos in a row cannot be read.
        """
        drawn = [self._drawn(index * self.size + i) for i in range(self.size)]
        embeddings = [photo.embedding for photo in drawn]
        counts = torch.tensor([len(photo.boxes_xyxy) for photo in drawn])
        return WholePhotos(
            photos=torch.cat([photo.photos for photo in drawn]),
            content_hw=torch.cat([photo.content_hw for photo in drawn]),
            embedding=torch.cat([e for e in embeddings if e is not None]) if self.caches else None,
            photo=torch.repeat_interleave(torch.arange(len(drawn)), counts),
            points_xy=torch.cat([photo.points_xy for photo in drawn]),
            boxes_xyxy=torch.cat([photo.boxes_xyxy for photo in drawn]),
            names=sum((photo.names for photo in drawn), ()),
            skipped=sum((photo.skipped for photo in drawn), ()),
        )

    def _drawn(self, draw: int) -> WholePhotos:
        """One photo; where it cannot be read, the next of the same order."""
        skipped: list[Skipped] = []
        for attempt in range(TRIES):
            which, index = self.mixture[draw + attempt * 7919]  # a prime: far from what others draw
            try:
                return self._photo(which, index, draw, skipped)
            except (PhotoError, AnnotationError) as error:
                data_set, root = self.sources[which]
                name = photo_name(data_set.photos.listed[index], root)
                skipped.append(Skipped(name, str(error)))
        raise TrainingError(
            f"{TRIES} photos in a row cannot be used, such as '{skipped[-1].name}': "
            f"{skipped[-1].why} Check the data with 'ovsam data check'."
        )

    def _photo(self, which: int, index: int, draw: int, skipped: Sequence[Skipped]) -> WholePhotos:
        data_set, root = self.sources[which]
        listed = data_set[index]
        name = photo_name(listed, root)
        photo = read_photo(listed.open())
        wrong = [replace(one, name=name, annotation=True) for one in listed.skipped]
        if self.prompts:
            listed.check_size((photo.shape[0], photo.shape[1]))
        frame = Frame.whole_photo((photo.shape[0], photo.shape[1]), self.image_size)
        height, width = frame.content_hw
        padded = np.zeros((self.image_size, self.image_size, 3), np.uint8)
        padded[:height, :width] = frame.cut(photo)
        rng = np.random.default_rng((self.mixture.seed, draw))
        points, boxes = [], []
        for i in rng.permutation(len(listed.instances))[: self.prompts]:
            instance = listed.instances[i]
            try:
                mask = instance.mask((photo.shape[0], photo.shape[1]))
            except AnnotationError as error:  # a prompt less
                wrong.append(Skipped(name, str(error), annotation=True))
                continue
            if mask.any():
                points.append(frame.to_model(point_of(rng, mask)))
                box = clip_box_xyxy(instance.box_xyxy, (photo.shape[0], photo.shape[1]))
                boxes.append(frame.to_model(box.reshape(2, 2)).ravel())
        embedding = None if self.caches is None else self.caches[which][name][None].float()
        return WholePhotos(
            photos=torch.from_numpy(padded)[None],
            content_hw=torch.tensor([[height, width]]),
            embedding=embedding,
            photo=torch.zeros(len(boxes), dtype=torch.long),
            points_xy=torch.tensor(np.array(points)).float().reshape(-1, 1, 2),
            boxes_xyxy=torch.tensor(np.array(boxes)).float().reshape(-1, 4),
            names=(name,),
            skipped=(*skipped, *wrong) if self.prompts else tuple(skipped),
        )


class DistillStage(ModelStage):
    """The adapter of a model learns from a teacher; all else is frozen.

    Args:
        model: with its trunk's weights; with a decoder's, too, where prompts are in the loop.
        teacher: run where a batch does not bring its embedding; None if all batches do.
        prompt_weight: of the masks' difference; 0 = the embeddings alone.
        checkpoint_activations: whether the adapter's blocks run again for the gradient, which
            saves memory.

    Raises:
        TrainingError: the teacher's embedding has another shape.
    """

    def __init__(
        self,
        model: OVSAM,
        teacher: Teacher | None,
        prompt_weight: float,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__(model)
        if teacher is not None and teacher.feature_shape[0] != model.config.embed_dim:
            raise TrainingError(
                f"The teacher '{teacher.name}' has an embedding of {teacher.feature_shape[0]} "
                f"channels and {model.config.name} one of {model.config.embed_dim}: choose a pair "
                "that shares it."
            )
        self.teacher, self.prompt_weight = teacher, prompt_weight
        self.loss_names = ("embedding", "mask") if prompt_weight else ("embedding",)
        model.requires_grad_(False)
        if model.adapter is None:
            raise TrainingError(
                f"'{model.config.name}' has SAM's own encoder and no adapter that could learn its "
                "embedding: give a model without '+'."
            )
        model.adapter.requires_grad_(True)
        model.adapter.checkpoint_activations = checkpoint_activations

    def heavy_modules(self) -> Iterable[nn.Module]:
        """The trunk and the adapter."""
        assert self.model.adapter is not None
        return [self.model.encoder, self.model.adapter]

    def losses(self, batch: WholePhotos) -> dict[str, Tensor]:
        """Mean squared error of the embedding (Eq. 3) and, with prompts, the loss of the masks."""
        pixels = normalised(batch.photos, batch.content_hw, self.mean, self.std)
        with torch.no_grad():
            pyramid = self.model.encoder(pixels)
        assert self.model.adapter is not None
        embedding = self.model.adapter(pyramid)
        target = batch.embedding
        if target is None:
            assert self.teacher is not None
            mean, std = (
                self.mean.new_tensor(values)
                for values in (self.teacher.pixel_mean, self.teacher.pixel_std)
            )
            with torch.autocast(self.mean.device.type, enabled=False):  # as a cache would hold it
                target = self.teacher(normalised(batch.photos, batch.content_hw, mean, std))
        losses = {"embedding": F.mse_loss(embedding.float(), target.float())}
        if self.prompt_weight:
            losses["mask"] = self.prompt_weight * self._mask_loss(batch, pyramid, embedding, target)
        return losses

    def _mask_loss(
        self, batch: WholePhotos, pyramid: Sequence[Tensor], embedding: Tensor, target: Tensor
    ) -> Tensor:
        """How far the masks from the student's embedding are from those from the teacher's."""
        if not len(batch.photo):
            return 0 * embedding.sum()
        size = (batch.photos.shape[1], batch.photos.shape[2])
        sharp = None
        if self.model.high_resolution is not None:
            maps = self.model.high_resolution(pyramid)
            sharp = (maps[0][batch.photo], maps[1][batch.photo])
        positions_of = self.model.prompt_encoder.dense_positions
        labels = torch.ones(len(batch.photo), 1, dtype=torch.long, device=embedding.device)
        total = embedding.new_zeros(())
        for prompts in (
            PromptBatch(batch.points_xy, labels),
            PromptBatch(boxes_xyxy=batch.boxes_xyxy),
        ):
            sparse, dense = self.model.encode_prompts(prompts, size)
            positions = positions_of((dense.shape[2], dense.shape[3]))

            def decode(
                features: Tensor,
                positions: Tensor = positions,
                sparse: Tensor = sparse,
                dense: Tensor = dense,
            ) -> Tensor:
                logits, _ = self.model.mask_decoder(
                    features[batch.photo].to(dense), positions, sparse, dense, sharp
                )
                first: Tensor = logits[:, 0].float()
                return first

            with torch.no_grad():
                wanted = (decode(target) > 0).float()
            total = total + _per_photo(mask_loss(decode(embedding)[:, None], wanted)[:, 0], batch)
        return total / 2


def _per_photo(losses: Tensor, batch: WholePhotos) -> Tensor:
    """The mean over the photos of each one's mean `(N,)` -> scalar."""
    photos = len(batch.photos)
    counts = torch.bincount(batch.photo, minlength=photos).clamp(min=1)
    return (losses / counts[batch.photo]).sum() / photos
