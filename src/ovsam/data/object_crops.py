"""Training samples: crops of photos with objects pasted in, and the prompts drawn on them.

A crop is either zoomed on one object, as the predictor zooms, or a window or the whole of the
photo, so that one set of weights learns both (see `Frame`). Sample i depends on the seed and i
alone, so a run can stop and go on at any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from ovsam.config import Share
from ovsam.data.anchors import Anchor, AnchoredPhoto
from ovsam.data.augment import flipped, noisy_box, recoloured, stretched, with_pasted
from ovsam.data.crop_source import CropSource, drawn_source
from ovsam.data.cropped_objects import CroppedObject, cropped_objects, is_shown, random_choice
from ovsam.data.photo_cache import UnusablePhotoError, read_cached
from ovsam.data.prompts import point_of
from ovsam.errors import AnnotationError
from ovsam.formats.skipped import Skipped
from ovsam.geometry import decode_rle
from ovsam.images.frame import Frame

TRIES = 50  # for each crop of a batch


@checked_dataclass(
    frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False), kw_only=True
)
class ObjectCropConfig:
    """How crops are drawn; the numbers of one kind of batch."""

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    """Side of a crop in model pixels."""
    count: Annotated[int, Field(gt=0)]
    """Crops in a batch."""
    prompts: Annotated[int, Field(gt=0)]
    """Objects of a crop that are prompted for their masks, at most."""
    named: Annotated[int, Field(ge=0)] = 0
    """Further objects that are only named, at most."""
    only_named: bool = False
    """Whether photos of which only the name is known take part."""
    boxes: Share
    """Share of the prompts that are a box; the others are a point."""
    clicked: Share = 0.0
    """Share of crops around a click, of any size from part of the object to far around it."""
    zoomed: Share = 0.0
    """Share of the others zoomed on one object, as the predictor does."""
    context: tuple[float, float] = (1.3, 2.0)
    """Least and greatest side of a zoomed crop, as multiples of the object's longer side."""
    whole: Share = 0.0
    """Share of crops that show the whole photo; what is left are windows of it."""
    pasted: Share = 0.0
    """Share of crops that get an object of another photo pasted in."""
    rounds: Annotated[int, Field(ge=0)] = 1
    """Refinement rounds: each prompts with the mask so far and a corrective click; of several, one
    brings no click."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        least, greatest = self.context
        if not 0 < least <= greatest:
            yield f"context must be a least and a greatest side, got {self.context}"


@dataclass(frozen=True)
class ObjectCropBatch:
    """B crops with N prompts.

    Attributes:
        photos: `(B, S, S, 3)` uint8.
        crop: `(N,)` which crop each prompt belongs to.
        masks: `(N, S, S)` uint8 0..255, coverage of each pixel.
        boxes_xyxy: `(N, 4)` jittered box, crop pixels.
        points_xy: `(N, 1, 2)` a point of the mask, crop pixels.
        hidden: `(N,)` pixels of the object that lie outside its crop.
        has_mask: `(N,)` False where only the name is known.
        whole: `(N,)` see `Anchor.whole`.
        is_box: `(N,)` whether the prompt is the box or the point.
        vocabulary: `(N,)` index into the data's vocabularies, -1 without a name.
        class_index: `(N,)` index into that vocabulary.
        verified_classes: for each prompt those of its photo, see `DataSet.verified_classes`.
        kind: what such batches are called.
        seed: of what the stage draws at random with this batch.
        names: files of the photos.
        wholes: `(B, L, L, 3)` uint8 the photos that the crops are of, their longest side at L and
            padded with grey; None where nobody asked for them.
        wholes_hw: `(B, 2)` height and width of each in `wholes`, without padding.
        photo_hw: `(B, 2)` the same at the crop's own scale.
        skipped: photos that should have been in it but cannot be read.
    """

    photos: Tensor
    crop: Tensor
    masks: Tensor
    boxes_xyxy: Tensor
    points_xy: Tensor
    hidden: Tensor
    has_mask: Tensor
    whole: Tensor
    is_box: Tensor
    vocabulary: Tensor
    class_index: Tensor
    verified_classes: tuple[tuple[int, ...] | None, ...]
    kind: str
    seed: int = 0
    names: tuple[str, ...] = ()
    wholes: Tensor | None = None
    wholes_hw: Tensor | None = None
    photo_hw: Tensor | None = None
    skipped: tuple[Skipped, ...] = ()


class ObjectCrops:
    """Batches of crops, without end; item i is drawn from (seed, i).

    Args:
        sources: what crops are drawn around, or pasted on them.
        vocabularies: the names of the vocabularies, which fixes their indices.
        config: how to draw.
        seed: of the whole run.
        kind: what to call these batches.
        whole_size: the longest side L of the whole photos that come with the crops; None = none do.
    """

    def __init__(
        self,
        sources: Sequence[CropSource],
        vocabularies: Sequence[str],
        config: ObjectCropConfig,
        seed: int,
        kind: str,
        whole_size: int | None = None,
    ) -> None:
        if not config.only_named:
            sources = [source.only_masks() for source in sources]
        self.sources = [source for source in sources if source.anchors]
        self.backgrounds = [source for source in self.sources if not source.cutouts]
        if not self.backgrounds:
            raise AnnotationError(
                f"There is nothing to draw '{kind}' batches from: no photo has a mask. Add masks, "
                "or teach names alone, for which boxes will do: --set 'learn=[\"names\"]' --set "
                "'cycle=[\"box\"]'."
            )
        self.vocabularies = list(vocabularies)
        self.config, self.seed, self.kind = config, seed, kind
        self.whole_size = whole_size
        self.pastable = [
            (photo, anchor)
            for source in self.sources
            for photo, anchor in source.anchors
            if anchor.whole and anchor.rle and anchor.longer_side >= 48
        ]

    def __getitem__(self, index: int) -> ObjectCropBatch:
        rng = np.random.default_rng((self.seed, index))
        photos: list[NDArray[np.uint8]] = []
        seen: list[tuple[NDArray[np.uint8], Frame]] = []
        crops: list[int] = []
        prompts: list[CroppedObject] = []
        names: list[str] = []
        skipped: list[Skipped] = []
        for _ in range(TRIES * self.config.count):
            source = drawn_source(rng, self.sources)
            anchored, anchor = source.draw(rng)
            try:
                crop, objects, photo, frame = self._crop(rng, anchored, anchor, source.cutouts)
            except UnusablePhotoError as error:
                skipped.append(Skipped(error.photo.name, str(error)))
                continue
            if objects:
                chosen = self._prompted(rng, objects)
                crops += [len(photos)] * len(chosen)
                prompts += chosen
                photos.append(crop)
                seen.append((photo, frame))
                names.append(anchored.photo.name)
            if len(photos) == self.config.count:
                seed = self.seed * 1_000_003 + index
                batch = self._collate(rng, photos, crops, prompts)
                if self.whole_size is not None:
                    batch = _with_wholes(batch, seen, self.whole_size)
                return replace(batch, seed=seed, names=tuple(names), skipped=tuple(skipped))
        raise AnnotationError(
            f"Of {TRIES * self.config.count} crops only {len(photos)} show an object; the last "
            f"was of '{anchored.photo.name}'. Check the data with 'ovsam data check'."
        )

    def _prompted(
        self, rng: np.random.Generator, objects: list[CroppedObject]
    ) -> list[CroppedObject]:
        """The first object and some of the others; beyond `prompts` only for their names."""
        others = random_choice(rng, objects[1:], self.config.prompts + self.config.named - 1)
        further = others[self.config.prompts - 1 :]
        named = [replace(item, mask=None) for item in further if item.class_index >= 0]
        return objects[:1] + others[: self.config.prompts - 1] + named

    def _crop(
        self, rng: np.random.Generator, anchored: AnchoredPhoto, anchor: Anchor, cutout: bool
    ) -> tuple[NDArray[np.uint8], list[CroppedObject], NDArray[np.uint8], Frame]:
        """A crop with its objects, the photo that it is of, and where it lies there."""
        pasted = (anchored, anchor) if cutout else None
        if cutout:
            anchored, anchor = drawn_source(rng, self.backgrounds).draw(rng)
        photo = read_cached(anchored.photo)
        if anchor.rle is not None and tuple(anchor.rle["size"]) != photo.shape[:2]:
            raise UnusablePhotoError(
                anchored.photo, "Its masks are made for a photo of another size."
            )
        click = None
        if self.config.clicked and not cutout and anchor.rle and rng.random() < self.config.clicked:
            frame, click = self._clicked_frame(rng, anchor, photo)
        else:
            frame = self._frame(rng, anchor, photo)
        frame = stretched(rng, frame)
        crop = frame.cut(photo)
        others = self.config.prompts + self.config.named - 1
        objects = cropped_objects(rng, anchored, frame, anchor, click, others)
        if pasted is not None:  # which may hide what is only named
            masked = [item for item in objects if item.mask is not None]
            crop, objects = with_pasted(rng, crop, masked, *pasted, cutout=True)
        elif self.pastable and rng.random() < self.config.pasted and objects[0].mask is not None:
            distractor = self.pastable[rng.integers(len(self.pastable))]
            crop, objects = with_pasted(rng, crop, objects, *distractor)
        if rng.random() < 0.5:
            crop, objects = crop[:, ::-1], [flipped(item, frame) for item in objects]
        return recoloured(rng, crop), [item for item in objects if is_shown(item)], photo, frame

    def _clicked_frame(
        self, rng: np.random.Generator, anchor: Anchor, photo: NDArray[np.uint8]
    ) -> tuple[Frame, NDArray[np.float64]]:
        """A crop around a point of the object, as the predictor draws them for a click."""
        assert anchor.rle is not None
        click = point_of(rng, decode_rle(anchor.rle))
        side = anchor.longer_side * float(np.exp(rng.uniform(np.log(0.6), np.log(8.0))))
        side = float(np.clip(side, 24, 1.3 * max(photo.shape[:2])))
        centre = click + rng.uniform(-0.05, 0.05, 2) * side
        box = (*(centre - side / 2).tolist(), *(centre + side / 2).tolist())
        return Frame.square_around(box, 1.0, self.config.size), click

    def _frame(self, rng: np.random.Generator, anchor: Anchor, photo: NDArray[np.uint8]) -> Frame:
        size, (height, width) = self.config.size, photo.shape[:2]
        kind = rng.random()
        name_alone = anchor.rle is None and anchor.box_xyxy == (0, 0, width, height)
        if kind < self.config.zoomed and not name_alone:
            context = float(np.exp(rng.uniform(*np.log(self.config.context))))
            box = np.array(anchor.box_xyxy) + rng.normal(0, 0.02, 4) * anchor.longer_side
            box[2:] = np.maximum(box[2:], box[:2] + 1)
            return Frame.square_around(box.tolist(), context, size)
        if kind < self.config.zoomed + self.config.whole or name_alone:
            margin = float(rng.uniform(1.0, 1.15))
            return Frame.square_around((0, 0, width, height), margin, size)
        # A window at about the scale of a whole photo at 512 pixels, or finer.
        side = size / (512 / max(height, width) * float(np.exp(rng.uniform(-0.3, 0.7))))
        x0, y0, x1, y1 = anchor.box_xyxy
        centre = np.array([rng.uniform(x0, x1), rng.uniform(y0, y1)])
        centre += rng.uniform(-0.25, 0.25, 2) * side
        window = (*(centre - side / 2).tolist(), *(centre + side / 2).tolist())
        return Frame.square_around(window, 1.0, size)

    def _collate(
        self,
        rng: np.random.Generator,
        photos: list[NDArray[np.uint8]],
        crops: list[int],
        prompts: list[CroppedObject],
    ) -> ObjectCropBatch:
        size = self.config.size
        empty = np.zeros((size, size), np.float32)
        masks = np.stack([empty if item.mask is None else item.mask for item in prompts])
        boxes = np.stack([noisy_box(rng, item.box_xyxy, size) for item in prompts])
        points = np.stack([_point(rng, item) for item in prompts])
        vocabularies = [
            self.vocabularies.index(item.vocabulary) if item.class_index >= 0 else -1
            for item in prompts
        ]
        return ObjectCropBatch(
            photos=torch.from_numpy(np.ascontiguousarray(np.stack(photos))),
            crop=torch.tensor(crops),
            masks=torch.from_numpy((masks * 255).astype(np.uint8)),
            boxes_xyxy=torch.from_numpy(boxes).float(),
            points_xy=torch.from_numpy(points).float()[:, None],
            hidden=torch.tensor([item.hidden for item in prompts]),
            has_mask=torch.tensor([item.mask is not None for item in prompts]),
            whole=torch.tensor([item.whole for item in prompts]),
            is_box=torch.from_numpy(rng.random(len(prompts)) < self.config.boxes)
            & torch.tensor([item.click_xy is None for item in prompts]),
            vocabulary=torch.tensor(vocabularies),
            class_index=torch.tensor([item.class_index for item in prompts]),
            verified_classes=tuple(item.verified_classes for item in prompts),
            kind=self.kind,
        )


def _with_wholes(
    batch: ObjectCropBatch, seen: Sequence[tuple[NDArray[np.uint8], Frame]], size: int
) -> ObjectCropBatch:
    """A batch with the photos of its crops; each comes with the frame of its crop."""
    wholes = np.full((len(seen), size, size, 3), 127, np.uint8)
    wholes_hw, photo_hw = [], []
    for whole, (photo, frame) in zip(wholes, seen, strict=True):
        size_hw = photo.shape[0], photo.shape[1]
        content = Frame.whole_photo(size_hw, size).cut(photo)
        whole[: content.shape[0], : content.shape[1]] = content
        wholes_hw.append(content.shape[:2])
        photo_hw.append(np.array(size_hw) * frame.scale_xy[::-1])
    return replace(
        batch,
        wholes=torch.from_numpy(wholes),
        wholes_hw=torch.tensor(wholes_hw),
        photo_hw=torch.from_numpy(np.stack(photo_hw)).float(),
    )


def _point(rng: np.random.Generator, item: CroppedObject) -> NDArray[np.float64]:
    if item.click_xy is not None:
        return item.click_xy
    if item.mask is None:
        centre: NDArray[np.float64] = item.box_xyxy.reshape(2, 2).mean(0)
        return centre
    return point_of(rng, item.mask > 0.5)
