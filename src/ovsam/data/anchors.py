"""Objects of photos that training crops are drawn around, and what a crop shows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ovsam.data.dataset import DataSet
from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.skipped import Skipped, too_many
from ovsam.geometry import Rle, clip_box_xyxy, encode_rle, mask_to_box_xyxy
from ovsam.images.read import read_photo_size


@dataclass(frozen=True)
class Anchor:
    """An object that crops are drawn around.

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

    @property
    def longer_side(self) -> float:
        """Of the box, in pixels of the photo."""
        x0, y0, x1, y1 = self.box_xyxy
        return max(x1 - x0, y1 - y0)


@dataclass(frozen=True, eq=False)
class AnchoredPhoto:
    """A photo and its objects.

    Attributes:
        photo: as its data set lists it.
        vocabulary: the name of the vocabulary that `class_index` counts in.
        anchors: its objects.
        verified_classes: see `DataSet.verified_classes`.
    """

    photo: ListedPhoto
    vocabulary: str
    anchors: tuple[Anchor, ...]
    verified_classes: tuple[int, ...] | None = None

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
            verified = data_set.verified_classes(photo)
            photos.append(AnchoredPhoto(photo, vocabulary or data_set.name, anchors, verified))
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
        if instance.segmentation is None:  # its name can be learnt, its mask cannot
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
