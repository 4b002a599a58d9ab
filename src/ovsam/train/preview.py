"""What a model predicts on the same few photos, drawn while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ovsam.data.contact_sheet import COLUMNS, contact_sheet
from ovsam.data.dataset import DataSet
from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.annotations import Instance
from ovsam.formats.listing import ListedPhoto
from ovsam.geometry import clip_box_xyxy, encode_rle
from ovsam.images.frame import Frame, whole_photo_logits
from ovsam.images.read import read_photo
from ovsam.model.ovsam import OVSAM
from ovsam.model.pixels import to_pixels
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import class_logits
from ovsam.model.torch_bank import TorchBank

OBJECTS = 8  # of a photo, the largest


class Preview:
    """Photos that were not trained on, with the model's masks and names of their objects.

    The objects are prompted for by their boxes.

    Args:
        data_set: its first photos with masks are taken.
        bank: the names of its classes; None = masks alone.

    Raises:
        AnnotationError: no photo that can be read has a mask.
    """

    def __init__(self, data_set: DataSet, bank: TorchBank | None) -> None:
        self.classes, self.bank = data_set.classes, bank
        self.photos: list[ListedPhoto] = []
        self.pixels: list[NDArray[np.uint8]] = []
        for photo in data_set.photos:
            largest = sorted(photo.instances, key=lambda instance: -instance.area)[:OBJECTS]
            masked = [instance for instance in largest if instance.segmentation is not None]
            if not masked:
                continue
            try:  # now, not after hours of training
                self.pixels.append(read_photo(photo.open()))
            except PhotoError:
                continue
            self.photos.append(replace(photo, instances=tuple(masked)))
            if len(self.photos) == COLUMNS:
                break
        if not self.photos:
            raise AnnotationError(
                f"No photo of '{data_set.name}' has a mask: there is nothing to draw."
            )

    @torch.no_grad()
    def draw(self, model: OVSAM) -> NDArray[np.uint8]:
        """A sheet `(H, W, 3)` RGB of the photos as they are annotated and, below, as predicted."""
        predicted = [
            replace(photo, instances=tuple(self._predicted(model, photo, pixels)))
            for photo, pixels in zip(self.photos, self.pixels, strict=True)
        ]
        padding = [self.photos[-1]] * (COLUMNS - len(self.photos))  # so that rows stay rows
        return contact_sheet([*self.photos, *padding, *predicted])

    def _predicted(
        self, model: OVSAM, photo: ListedPhoto, pixels: NDArray[np.uint8]
    ) -> Sequence[Instance]:
        size_hw = (pixels.shape[0], pixels.shape[1])
        encoder, device = model.config.encoder, next(model.parameters()).device
        frame = Frame.whole_photo(size_hw, model.config.image_size)
        model_pixels = to_pixels(
            frame.cut(pixels), frame.input_hw, encoder.pixel_mean, encoder.pixel_std
        ).to(device)
        features = model.encode(model_pixels)
        given = np.array([instance.box_xyxy for instance in photo.instances]).reshape(-1, 4)
        corners = clip_box_xyxy(given, size_hw).reshape(-1, 2, 2)
        boxes = torch.from_numpy(frame.to_model(corners).reshape(-1, 4)).float().to(device)
        logits, _ = model.decode(features, PromptBatch(boxes_xyxy=boxes))
        low_res = np.asarray(logits[:, 0].float().cpu().numpy(), np.float32)
        masks = whole_photo_logits(low_res, frame, size_hw) > 0
        names = [""] * len(masks)
        if self.bank is not None:
            first = torch.zeros(len(boxes), dtype=torch.long, device=device)
            regions = model.embed_regions(features, boxes, first, logits[:, :1]).float()
            scores = class_logits(regions, self.bank.to(device), model.config.logit_scale)
            names = [self.classes[i] for i in scores[:, :-1].argmax(1).tolist()]
        return [
            replace(instance, category=name, segmentation=encode_rle(mask))
            for instance, name, mask in zip(photo.instances, names, masks, strict=True)
        ]
