"""Training samples: squares of photos with objects pasted in, and the prompts drawn on them.

A square is either zoomed on one object, as the predictor zooms, or a window or the whole of the
photo, so that one set of weights learns both (see `Frame`). Sample i depends on the seed and i
alone, so a run can stop and go on at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from ovsam.data.dataset import DataSet
from ovsam.data.prompts import point_of
from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.layouts import ListedPhoto
from ovsam.formats.skipped import Skipped, too_many
from ovsam.geometry import Rle, clip_box_xyxy, decode_rle, encode_rle, mask_to_box_xyxy
from ovsam.images.frame import Frame
from ovsam.images.read import read_photo, read_photo_size

T = TypeVar("T")
TRIES = 50  # for each square of a batch
CACHED_BYTES = 2 * 2**30  # of decoded photos in each process
Share = Annotated[float, Field(ge=0, le=1)]
MIN_AREA = 0.0008  # of the square; smaller objects say nothing at its resolution


@dataclass(frozen=True)
class Anchor:
    """An object that squares are drawn around.

    Attributes:
        rle: its mask as COCO RLE, or None where only its box and name, or the name of the whole
            photo, are known.
        box_xyxy: tight box in photo pixels.
        class_index: index into the vocabulary, -1 where the object has no name.
        whole: whether it is an object that a person would mean by a click, not a part or a region.
    """

    rle: Rle | None
    box_xyxy: tuple[float, float, float, float]
    class_index: int
    whole: bool


@dataclass(frozen=True, eq=False)
class AnchoredPhoto:
    """A photo and its objects; `vocabulary` names what `class_index` and `counted` number."""

    photo: ListedPhoto
    vocabulary: str
    anchors: tuple[Anchor, ...]
    counted: tuple[int, ...] | None = None
    """The classes that it tells of, see `DataSet.counted_classes`."""

    def only_masks(self) -> AnchoredPhoto:
        """The same without the objects of which only the name is known."""
        return replace(self, anchors=tuple(a for a in self.anchors if a.rle is not None))


def anchored_photos(
    data_set: DataSet,
    whole: Callable[[str], bool] = lambda _: True,
    vocabulary: str | None = None,
) -> tuple[list[AnchoredPhoto], tuple[Skipped, ...]]:
    """The photos of a data set with all their masks, which fit in memory as run lengths.

    Args:
        data_set: photos on which nothing is marked are left out.
        whole: of a class name, "" without one: see `Anchor.whole`.
        vocabulary: what numbers the classes; None = the data set's name.

    Returns:
        The photos, and what is wrong and left out.

    Raises:
        AnnotationError: more is wrong than `too_many` allows.
    """
    skipped = list(data_set.skipped)
    photos = []
    for photo in data_set.photos:
        wrong = photo.skipped
        anchors = _anchors(photo, data_set, whole, wrong)
        if anchors:
            counted = data_set.counted_classes(photo)
            photos.append(AnchoredPhoto(photo, vocabulary or data_set.name, anchors, counted))
        skipped += wrong
    if (sentence := too_many(skipped, len(data_set), data_set.annotations)) is not None:
        raise AnnotationError(f"In '{data_set.name}' {sentence}")
    return photos, tuple(skipped)


def _anchors(
    photo: ListedPhoto, data_set: DataSet, whole: Callable[[str], bool], wrong: list[Skipped]
) -> tuple[Anchor, ...]:
    """The objects of a photo; what is wrong with them is added to `wrong` and left out."""
    try:
        height, width = photo.size_hw or read_photo_size(photo.open())
    except PhotoError as error:
        wrong.append(Skipped(photo.name, str(error)))
        return ()
    if photo.label is not None:
        box = 0.0, 0.0, float(width), float(height)
        return (Anchor(None, box, data_set.class_index(photo.label), False),)
    anchors = []
    for instance in photo.instances:
        if instance.segmentation is None:  # it can be named, and no mask be asked for
            x0, y0, x1, y1 = clip_box_xyxy(instance.box_xyxy, (height, width)).tolist()
            if x0 < x1 and y0 < y1:
                index = data_set.class_index(instance.category)
                anchors.append(Anchor(None, (x0, y0, x1, y1), index, False))
            continue
        try:
            mask = instance.mask((height, width))
        except AnnotationError as error:
            wrong.append(Skipped(photo.name, str(error), annotation=True))
            continue
        if mask.any():
            x0, y0, x1, y1 = mask_to_box_xyxy(mask).tolist()
            index = data_set.class_index(instance.category)
            rle = encode_rle(mask)
            anchors.append(Anchor(rle, (x0, y0, x1, y1), index, whole(instance.category)))
    return tuple(anchors)


@checked_dataclass(
    frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False), kw_only=True
)
class SquareConfig:
    """How squares are drawn; the numbers of one kind of batch."""

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    """Side of a square in model pixels."""
    count: Annotated[int, Field(gt=0)]
    """Squares in a batch."""
    prompts: Annotated[int, Field(gt=0)]
    """Objects of a square whose masks are asked for, at most."""
    named: Annotated[int, Field(ge=0)] = 0
    """Further objects that are only named, at most."""
    only_named: bool = False
    """Whether photos of which only the name is known take part."""
    boxes: Share
    """Share of the prompts that ask for a mask by a box; the others are points."""
    clicked: Share = 0.0
    """Share of squares around a click, of any size from part of the object to far around it."""
    zoomed: Share = 0.0
    """Share of the others zoomed on one object, as the predictor does."""
    context: tuple[float, float] = (1.3, 2.0)
    """Least and greatest side of a zoomed square, as multiples of the object's longer side."""
    whole: Share = 0.0
    """Share of squares that show the whole photo; what is left are windows of it."""
    pasted: Share = 0.0
    """Share of squares that get an object of another photo pasted in."""
    rounds: Annotated[int, Field(ge=0)] = 1
    """How often a prompt is asked again, each time with the mask so far and a corrective click; of
    several, one brings no click."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        least, greatest = self.context
        if not 0 < least <= greatest:
            yield f"context must be a least and a greatest side, got {self.context}"


@dataclass(frozen=True)
class Batch:
    """B squares with N prompts.

    Attributes:
        photos: `(B, S, S, 3)` uint8.
        square: `(N,)` which square each prompt belongs to.
        masks: `(N, S, S)` uint8 0..255, coverage of each pixel.
        boxes_xyxy: `(N, 4)` jittered box, square pixels.
        points_xy: `(N, 1, 2)` a point of the mask, square pixels.
        hidden: `(N,)` pixels of the object that lie outside its square.
        has_mask: `(N,)` False where only the name is known.
        whole: `(N,)` see `Anchor.whole`.
        is_box: `(N,)` whether the prompt is the box or the point.
        vocabulary: `(N,)` index into the data's vocabularies, -1 without a name.
        class_index: `(N,)` index into that vocabulary.
        counted: for each prompt the classes of it that its photo tells of; None = all.
        kind: what such batches are called.
        seed: of what is drawn at random when the batch is learnt from.
        names: files of the photos.
        skipped: photos that should have been in it but cannot be read.
    """

    photos: Tensor
    square: Tensor
    masks: Tensor
    boxes_xyxy: Tensor
    points_xy: Tensor
    hidden: Tensor
    has_mask: Tensor
    whole: Tensor
    is_box: Tensor
    vocabulary: Tensor
    class_index: Tensor
    counted: tuple[tuple[int, ...] | None, ...]
    kind: str
    seed: int = 0
    names: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class _Object:
    """An object in a square: its coverage `(S, S)` (None: unknown), and what it is."""

    mask: NDArray[np.float32] | None
    box_xyxy: NDArray[np.float64]
    vocabulary: str
    class_index: int
    whole: bool
    counted: tuple[int, ...] | None
    hidden: float = 0.0
    click_xy: NDArray[np.float64] | None = None  # where the square was clicked, if it was


class Squares:
    """Batches of squares, without end; item i is drawn from (seed, i).

    Args:
        sources: lists of photos with the share of squares that each gets.
        vocabularies: the names of the vocabularies, which fixes their indices.
        config: how to draw.
        seed: of the whole run.
        kind: what to call these batches.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Sequence[AnchoredPhoto], float]],
        vocabularies: Sequence[str],
        config: SquareConfig,
        seed: int,
        kind: str,
    ) -> None:
        if not config.only_named:
            masked = [([p.only_masks() for p in photos], share) for photos, share in sources]
            sources = [
                (photos, share) for photos, share in masked if any(p.anchors for p in photos)
            ]
        if not any(photos for photos, _ in sources):
            raise AnnotationError(
                f"There is nothing to draw '{kind}' batches from: no photo has a mask. Add masks, "
                "or teach names alone, for which boxes will do: --set 'learn=[\"names\"]' --set "
                "'cycle=[\"box\"]'."
            )
        self.sources = [
            [(photo, anchor) for photo in photos for anchor in photo.anchors]
            for photos, _ in sources
        ]
        weights = np.array([weight for _, weight in sources])
        self.weights = weights / weights.sum()
        self.vocabularies = list(vocabularies)
        self.config, self.seed, self.kind = config, seed, kind
        self.pastable = [
            (photo, anchor)
            for source in self.sources
            for photo, anchor in source
            if anchor.whole and anchor.rle and _side(anchor) >= 48
        ]

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        photos: list[NDArray[np.uint8]] = []
        squares: list[int] = []
        prompts: list[_Object] = []
        names: list[str] = []
        skipped: list[Skipped] = []
        for _ in range(TRIES * self.config.count):
            anchored, anchor = self._anchor(rng)
            try:
                photo, objects = self._square(rng, anchored, anchor)
            except _UnusableError as error:
                skipped.append(Skipped(error.photo.name, str(error)))
                continue
            if objects:
                chosen = self._asked(rng, objects)
                squares += [len(photos)] * len(chosen)
                prompts += chosen
                photos.append(photo)
                names.append(anchored.photo.name)
            if len(photos) == self.config.count:
                seed = self.seed * 1_000_003 + index
                batch = self._collate(rng, photos, squares, prompts)
                return replace(batch, seed=seed, names=tuple(names), skipped=tuple(skipped))
        raise AnnotationError(
            f"Of {TRIES * self.config.count} squares only {len(photos)} show an object; the last "
            f"was of '{anchored.photo.name}'. Check the data with 'ovsam data check'."
        )

    def _anchor(self, rng: np.random.Generator) -> tuple[AnchoredPhoto, Anchor]:
        source = self.sources[rng.choice(len(self.sources), p=self.weights)]
        return source[rng.integers(len(source))]

    def _asked(self, rng: np.random.Generator, objects: list[_Object]) -> list[_Object]:
        """The first object and some of the others; beyond `prompts` only for their names."""
        others = _choice(rng, objects[1:], self.config.prompts + self.config.named - 1)
        beside = others[self.config.prompts - 1 :]
        named = [replace(item, mask=None) for item in beside if item.class_index >= 0]
        return objects[:1] + others[: self.config.prompts - 1] + named

    def _square(
        self, rng: np.random.Generator, anchored: AnchoredPhoto, anchor: Anchor
    ) -> tuple[NDArray[np.uint8], list[_Object]]:
        photo = _read(anchored.photo)
        if anchor.rle is not None and tuple(anchor.rle["size"]) != photo.shape[:2]:
            raise _UnusableError(anchored.photo, "Its masks are made for a photo of another size.")
        click = None
        if self.config.clicked and anchor.rle and rng.random() < self.config.clicked:
            frame, click = self._clicked_frame(rng, anchor, photo)
        else:
            frame = self._frame(rng, anchor, photo)
        frame = _stretched(rng, frame)
        square = frame.cut(photo)
        others = self.config.prompts + self.config.named - 1
        objects = _objects(rng, anchored, frame, anchor, click, others)
        if self.pastable and rng.random() < self.config.pasted and objects[0].mask is not None:
            square, objects = self._paste(rng, square, objects)
        if rng.random() < 0.5:
            square, objects = square[:, ::-1], [_flipped(item, frame) for item in objects]
        return _recoloured(rng, square), [item for item in objects if _shows(item)]

    def _clicked_frame(
        self, rng: np.random.Generator, anchor: Anchor, photo: NDArray[np.uint8]
    ) -> tuple[Frame, NDArray[np.float64]]:
        """A square around a point of the object, as the predictor draws them for a click."""
        assert anchor.rle is not None
        click = point_of(rng, decode_rle(anchor.rle))
        side = _side(anchor) * float(np.exp(rng.uniform(np.log(0.6), np.log(8.0))))
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
            box = np.array(anchor.box_xyxy) + rng.normal(0, 0.02, 4) * _side(anchor)
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

    def _paste(
        self, rng: np.random.Generator, square: NDArray[np.uint8], objects: list[_Object]
    ) -> tuple[NDArray[np.uint8], list[_Object]]:
        anchored, anchor = self.pastable[rng.integers(len(self.pastable))]
        size = self.config.size
        side = size / float(np.exp(rng.uniform(np.log(1.3), np.log(4.0))))
        centre = rng.uniform(0.2, 0.8, 2) * size
        # The frame in which the object's box lands at `centre` with the longer side `side`.
        x0, y0, x1, y1 = anchor.box_xyxy
        scale = side / _side(anchor)
        origin = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - centre / scale
        frame = Frame(
            (float(origin[0]), float(origin[1])), (size / scale,) * 2, (size,) * 2, (size,) * 2
        )
        assert anchor.rle is not None
        source = decode_rle(anchor.rle)
        pasted = frame.cut_mask(source)
        for other in objects:
            if other.click_xy is not None and _covers(pasted, other.click_xy):
                return square, objects  # the click would no longer mean what it did
        alpha = cv2.GaussianBlur(pasted, (0, 0), 0.7)[..., None]
        mixed = square * (1 - alpha) + frame.cut(_read(anchored.photo)) * alpha
        hidden = max(0.0, float(source.sum() * scale**2 - pasted.sum()))
        item = _Object(
            pasted,
            _box(pasted),
            anchored.vocabulary,
            anchor.class_index,
            anchor.whole,
            anchored.counted,
            hidden,
        )
        below = []
        for other in objects:
            mask = None if other.mask is None else other.mask * (1 - pasted)
            box = other.box_xyxy if mask is None else _box(mask)
            below.append(replace(other, mask=mask, box_xyxy=box))
        return mixed.astype(np.uint8), [item, *below] if rng.random() < 0.7 else [*below, item]

    def _collate(
        self,
        rng: np.random.Generator,
        photos: list[NDArray[np.uint8]],
        squares: list[int],
        prompts: list[_Object],
    ) -> Batch:
        size = self.config.size
        empty = np.zeros((size, size), np.float32)
        masks = np.stack([empty if item.mask is None else item.mask for item in prompts])
        boxes = np.stack([_jittered_box(rng, item.box_xyxy, size) for item in prompts])
        points = np.stack([_point(rng, item) for item in prompts])
        vocabularies = [
            self.vocabularies.index(item.vocabulary) if item.class_index >= 0 else -1
            for item in prompts
        ]
        return Batch(
            photos=torch.from_numpy(np.ascontiguousarray(np.stack(photos))),
            square=torch.tensor(squares),
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
            counted=tuple(item.counted for item in prompts),
            kind=self.kind,
        )


def _objects(
    rng: np.random.Generator,
    photo: AnchoredPhoto,
    frame: Frame,
    anchor: Anchor,
    click_xy: NDArray[np.float64] | None,
    others_at_most: int,
) -> list[_Object]:
    """The anchor and a few other objects that the frame shows."""
    corners = np.array([each.box_xyxy for each in photo.anchors])
    low, high = frame.to_model(corners[:, :2]), frame.to_model(corners[:, 2:])
    size = frame.content_hw[0]
    seen = np.minimum(high, size) - np.maximum(low, 0)
    area = np.prod(np.maximum(high - low, 1e-6), axis=1)
    visible = (seen > 4).all(axis=1) & (np.prod(np.maximum(seen, 0), axis=1) > 0.35 * area)
    others = [
        each
        for each, shows in zip(photo.anchors, visible, strict=True)
        if shows and each is not anchor and each.rle is not None
    ]
    found = []
    for each in [anchor, *_choice(rng, others, others_at_most)]:
        box = frame.to_model(np.array(each.box_xyxy).reshape(2, 2)).ravel()
        mask, hidden = None, 0.0
        if each.rle is not None:
            whole = decode_rle(each.rle)
            mask = frame.cut_mask(whole)
            box = _box(mask)
            hidden = max(0.0, float(whole.sum() * np.prod(frame.scale_xy) - mask.sum()))
        item = _Object(
            mask, box, photo.vocabulary, each.class_index, each.whole, photo.counted, hidden
        )
        if each is anchor and click_xy is not None:
            item = replace(item, click_xy=frame.to_model(click_xy))
        found.append(item)
    return found


def _stretched(rng: np.random.Generator, frame: Frame) -> Frame:
    """Every second frame wider or higher by up to a third, about the same middle."""
    stretch = float(np.exp(max(0.0, rng.uniform(-0.15, 0.15)) * rng.choice([-1, 1])))
    height, width = frame.window_hw
    wide, high = width * stretch, height / stretch
    origin = (frame.origin_xy[0] + (width - wide) / 2, frame.origin_xy[1] + (height - high) / 2)
    return replace(frame, origin_xy=origin, window_hw=(high, wide))


def _covers(mask: NDArray[np.float32], point_xy: NDArray[np.float64]) -> bool:
    column, row = np.clip(point_xy.astype(int), 0, len(mask) - 1)
    return bool(mask[row, column] > 0.1)


def _box(mask: NDArray[np.float32]) -> NDArray[np.float64]:
    columns = np.flatnonzero((mask > 0.5).any(0))
    rows = np.flatnonzero((mask > 0.5).any(1))
    if not len(columns):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _shows(item: _Object) -> bool:
    return item.mask is None or float((item.mask > 0.5).mean()) >= MIN_AREA


def _flipped(item: _Object, frame: Frame) -> _Object:
    size = frame.content_hw[1]
    x0, y0, x1, y1 = item.box_xyxy
    mask = None if item.mask is None else item.mask[:, ::-1]
    click = None if item.click_xy is None else np.array([size - item.click_xy[0], item.click_xy[1]])
    return replace(
        item, mask=mask, box_xyxy=np.array([size - x1, y0, size - x0, y1]), click_xy=click
    )


def _recoloured(rng: np.random.Generator, square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness, contrast and saturation a little off; now and then grey or blurred."""
    x = square.astype(np.float32)
    grey = x.mean(2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.7, 1.3)
    x = grey + (x - grey) * saturation
    x = (x - x.mean()) * rng.uniform(0.75, 1.25) + x.mean() * rng.uniform(0.8, 1.2)
    if rng.random() < 0.1:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.5))
    recoloured: NDArray[np.uint8] = np.clip(x, 0, 255).astype(np.uint8)
    return recoloured


def _jittered_box(
    rng: np.random.Generator, box_xyxy: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Three quarters of the boxes exact, the others off by up to 12% of their sides."""
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    spread = max(0.0, rng.uniform(-0.36, 0.12))
    noise = rng.normal(0, spread, 4) * [width, height, width, height]
    box = np.clip(box_xyxy + noise, 0, size)
    low = np.maximum(np.minimum(box[:2], box[2:] - 1), 0)
    return np.array([*low, *np.maximum(box[2:], 1)])


def _point(rng: np.random.Generator, item: _Object) -> NDArray[np.float64]:
    if item.click_xy is not None:
        return item.click_xy
    if item.mask is None:
        centre: NDArray[np.float64] = item.box_xyxy.reshape(2, 2).mean(0)
        return centre
    return point_of(rng, item.mask > 0.5)


def _side(anchor: Anchor) -> float:
    x0, y0, x1, y1 = anchor.box_xyxy
    return max(x1 - x0, y1 - y0)


def _choice(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    picked = rng.permutation(len(items))[:count]
    return [items[i] for i in picked]


class _PhotoCache:
    """Decoded photos, the first ones that fit: with random draws no other choice is better."""

    def __init__(self, most_bytes: int) -> None:
        self.photos: dict[ListedPhoto, NDArray[np.uint8]] = {}
        self.left = most_bytes

    def read(self, photo: ListedPhoto) -> NDArray[np.uint8]:
        """The photo `(H, W, 3)`; raises `PhotoError`."""
        if photo in self.photos:
            return self.photos[photo]
        pixels = read_photo(photo.open())
        if pixels.nbytes <= self.left:
            self.left -= pixels.nbytes
            self.photos[photo] = pixels
        return pixels


_CACHE = _PhotoCache(CACHED_BYTES)


class _UnusableError(Exception):
    """A photo cannot be read, or is of another size than it is listed with."""

    def __init__(self, photo: ListedPhoto, why: str) -> None:
        super().__init__(why)
        self.photo = photo


def _read(photo: ListedPhoto) -> NDArray[np.uint8]:
    """The photo `(H, W, 3)`; raises `_UnusableError`."""
    try:
        pixels = _CACHE.read(photo)
        photo.check_size((pixels.shape[0], pixels.shape[1]))
    except (PhotoError, AnnotationError) as error:
        raise _UnusableError(photo, str(error)) from error
    return pixels
