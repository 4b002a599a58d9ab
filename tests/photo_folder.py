"""A folder of made-up photos in the layouts that training reads; what is held out is unreadable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovsam.geometry import Rle, encode_rle
from ovsam.vocabulary.load import load_vocabulary

HEIGHT, WIDTH = 60, 90
HELD_OUT = ("val2017", "val2017.json", "0901", "1000", "sa_000001")


def rectangle(x0: int, y0: int, x1: int, y1: int, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def write_photo(
    path: Path, masks: Sequence[NDArray[np.bool_]] = (), size_hw: tuple[int, int] = (HEIGHT, WIDTH)
) -> Path:
    """A dark photo with its objects bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size_hw, 3), 40, np.uint8)
    for mask in masks:
        pixels[mask] = 220
    Image.fromarray(pixels).save(path, quality=95)
    return path


def rle(x0: int, y0: int, x1: int, y1: int) -> Rle:
    return encode_rle(rectangle(x0, y0, x1, y1, size_hw=(HEIGHT, WIDTH)))


def write_coco(path: Path, photos: Path, names: Sequence[str], files: Sequence[str]) -> None:
    """Each photo has an object of each of the first two classes, and a crowd."""
    annotations: list[dict[str, Any]] = []
    for i, file in enumerate(files):
        masks = []
        for j in range(2):
            box = 5 + 25 * j, 10, 25 + 25 * j, 50
            masks.append(rectangle(*box, size_hw=(HEIGHT, WIDTH)))
            for crowd in (0, 1) if j == 0 else (0,):
                annotations.append(
                    {
                        "id": len(annotations),
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "image_id": 7 + i,
                        "category_id": 3 + 10 * j,
                        "iscrowd": crowd,
                        "segmentation": rle(*box),
                    }
                )
        write_photo(photos / file, masks)
    content = {
        "images": [
            {"id": 7 + i, "file_name": file, "height": HEIGHT, "width": WIDTH}
            for i, file in enumerate(files)
        ],
        "categories": [{"id": 3 + 10 * j, "name": name} for j, name in enumerate(names)],
        "annotations": annotations,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_salient(root: Path, stem: str) -> None:
    mask = rectangle(20, 10, 70, 50, size_hw=(HEIGHT, WIDTH))
    write_photo(root / "images" / f"{stem}.jpg", [mask])
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{stem}.png")


def spoil(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not to be read")


def write_folder(root: Path) -> Path:
    """All that the recipe `lite` asks for, and spoilt files where it must not look."""
    coco = root / "coco_sample"
    write_coco(
        coco / "annotations/instances_train2017.json",
        coco / "train2017",
        load_vocabulary("coco").classes,
        ["1.jpg", "2.jpg"],
    )
    spoil(coco / "annotations/instances_val2017.json")
    spoil(coco / "val2017/3.jpg")
    clothing = root / "clothing"
    write_coco(clothing / "instances.json", clothing / "photos", ["shirt", "person"], ["0001.jpg"])
    for stem in ("0001", "0900"):
        write_salient(root / "ecssd", stem)
    for stem in ("0901", "1000"):
        spoil(root / "ecssd/images" / f"{stem}.jpg")
        spoil(root / "ecssd/masks" / f"{stem}.png")
    regions = root / "bsds500"
    write_photo(regions / "sa_000000/sa_1.jpg")
    (regions / "sa_000000/sa_1.json").write_text(
        json.dumps({"annotations": [{"segmentation": rle(0, 0, 90, 30), "bbox": [0, 0, 90, 30]}]})
    )
    spoil(regions / "sa_000001/sa_2.json")
    spoil(regions / "sa_000001/sa_2.jpg")
    (regions / "train.txt").write_text("sa_000000\n")
    (regions / "val.txt").write_text("sa_000001\n")
    for name in ("n02", "n01"):
        write_photo(root / "imagenet_sample" / name / f"{name}_thing.jpg")
    return root
