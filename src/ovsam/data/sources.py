"""Photos with masks and names, read in the layout their owners ship, as one list of records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from ovsam.data.coco import read_annotations
from ovsam.geometry import Rle, encode_rle
from ovsam.photo import read_photo


@dataclass(frozen=True)
class Instance:
    """One object of a photo.

    Attributes:
        rle: its mask as COCO RLE, or None where only the name of the whole photo is known.
        box_xyxy: tight box in photo pixels.
        class_index: index into the record's vocabulary, -1 where the object has no name.
        whole: whether it is an object that a person would mean by a click, not a part or a region.
    """

    rle: Rle | None
    box_xyxy: tuple[float, float, float, float]
    class_index: int
    whole: bool


@dataclass(frozen=True)
class PhotoRecord:
    """A photo file and what is known of it; `vocabulary` names what `class_index` counts."""

    path: Path
    vocabulary: str
    instances: tuple[Instance, ...]


def read_coco(
    annotations: Path,
    photos: Path,
    vocabulary: str,
    whole: Callable[[str], bool] = lambda _: True,
) -> tuple[list[PhotoRecord], list[str]]:
    """COCO annotations -> records and the category names, in the file's order; crowds left out."""
    content = read_annotations(annotations)
    names = list(content.categories)
    records = []
    for photo in content.photos:
        found = []
        for annotated in content.by_photo.get(photo.id, ()):
            mask = annotated.mask(photo.size_hw)
            name = annotated.category
            if mask.any():
                found.append(_instance(encode_rle(mask), names.index(name), whole(name)))
        if found:
            records.append(PhotoRecord(photos / photo.file_name, vocabulary, tuple(found)))
    return records, names


def read_sa1b(folder: Path, list_file: Path) -> list[PhotoRecord]:
    """SA-1B's layout: folders named in `list_file`, each photo beside its JSON; no names."""
    records = []
    for name in list_file.read_text().split():
        for path in sorted((folder / name).glob("*.json")):
            content = json.loads(path.read_text())
            instances = tuple(
                _instance(annotation["segmentation"], -1, False)
                for annotation in content["annotations"]
            )
            records.append(PhotoRecord(path.with_suffix(".jpg"), "", instances))
    return records


def read_mask_files(photos: Path, masks: Path, keep: Callable[[str], bool]) -> list[PhotoRecord]:
    """One binary mask file for each photo, of the same stem (ECSSD); no names."""
    records = []
    for path in sorted(photos.glob("*.jpg")):
        if keep(path.stem):
            mask = read_photo(masks / f"{path.stem}.png")[..., 0] > 127
            records.append(PhotoRecord(path, "", (_instance(encode_rle(mask), -1, True),)))
    return records


def read_class_folders(root: Path, vocabulary: str) -> list[PhotoRecord]:
    """ImageNet's layout: one folder a class, in class order; the name is of the whole photo."""
    records = []
    for index, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        for path in sorted(folder.glob("*.jpg")):
            height, width = read_photo(path).shape[:2]
            whole_photo = Instance(None, (0.0, 0.0, float(width), float(height)), index, False)
            records.append(PhotoRecord(path, vocabulary, (whole_photo,)))
    return records


def _instance(rle: Rle, class_index: int, whole: bool) -> Instance:
    x, y, width, height = np.asarray(coco_mask.toBbox(rle)).ravel().tolist()
    return Instance(rle, (x, y, x + width, y + height), class_index, whole)
