"""How fast training crops of stage 2 are drawn on one core, beside a straightforward pipeline.

python benchmarks/data.py --data FOLDER [--crops 60] [--json data.json]

FOLDER holds coco_sample/ (annotations/, train2017/; COCO's layout) and bsds500/ (SA-1B's). Both
pipelines draw crops of 1024 pixels with 40 prompts from the same photos, by turns. The reference is
what one writes first: PIL, pycocotools for all masks at the photo's size, torchvision's transforms
of photo and masks together. It too chooses its 40 objects before it transforms them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import ops, tv_tensors
from torchvision.transforms import v2

from ovsam.data.prompts import PromptConfig, draw_prompts
from ovsam.data.scene_crops import SceneCropConfig, draw_scene_crop
from ovsam.formats.layouts import list_photos
from ovsam.formats.listing import ListedPhoto

SCENES = SceneCropConfig()
PROMPTS = PromptConfig()
GOAL = 2.0  # times the reference's images a second


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the reference draws: a crop of K objects with N prompts, boxes first."""

    photo: Tensor  # (3, S, S) uint8
    masks: Tensor  # (K, S, S) uint8
    instances: list[int]  # K places among the photo's objects
    object_index: Tensor  # (N,) which of the K each prompt means
    boxes: Tensor  # (N, 4) of these objects
    points: Tensor  # (N - N // 2, 2) xy, of the later prompts


@dataclass(frozen=True)
class Figure:
    """One line of the table: images a second of one core, from the mean time of a crop."""

    what: str
    objects: float
    ours: float
    reference: float
    crops: int

    @property
    def ratio(self) -> float:
        return self.ours / self.reference


def ours(photo: ListedPhoto, index: int) -> int:
    """Draw crop `index` with its prompts: the number of objects in it."""
    rng = np.random.default_rng((0, index))
    scene = draw_scene_crop(rng, photo, SCENES, [])
    if scene is None:
        return 0
    draw_prompts(rng, scene, PROMPTS)
    return len(scene.masks)


def reference(photo: ListedPhoto, index: int) -> int:
    """The same, straightforwardly."""
    found = drawn_plainly(photo, index, SCENES, PROMPTS)
    return 0 if found is None else len(found.masks)


def drawn_plainly(
    photo: ListedPhoto, index: int, scenes: SceneCropConfig, prompts: PromptConfig
) -> Drawn | None:
    """Crop `index` with its prompts as the reference draws them; None where it shows no object."""
    rng = np.random.default_rng((0, index))
    image = Image.open(photo.path).convert("RGB")
    width, height = image.size
    chosen = rng.permutation(len(photo.instances))[: scenes.objects]
    codes = []
    for instance in (photo.instances[i] for i in chosen):
        segmentation = instance.segmentation
        if isinstance(segmentation, list):
            codes.append(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width)))
        elif isinstance(segmentation["counts"], list):
            codes.append(coco_mask.frPyObjects(segmentation, height, width))
        else:
            codes.append(segmentation)
    decoded = torch.from_numpy(coco_mask.decode(codes)).permute(2, 0, 1)
    longest = round(scenes.size * rng.uniform(*scenes.scale_range))
    scale = longest / max(height, width)
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.Resize([max(1, round(height * scale)), max(1, round(width * scale))]),
            v2.RandomCrop(scenes.size, pad_if_needed=True),
        ]
    )
    crop, masks = transform(tv_tensors.Image(image), tv_tensors.Mask(decoded))
    shown = masks.flatten(1).sum(1) >= scenes.min_area
    masks = masks[shown]
    if not len(masks):
        return None
    boxes = ops.masks_to_boxes(masks)
    order = np.resize(rng.permutation(len(masks)), prompts.count)
    points = []
    for number in order[prompts.count // 2 :]:
        inside = masks[number].nonzero()
        points.append(inside[rng.integers(len(inside))].flip(0) + 0.5)
    return Drawn(
        crop,
        masks,
        chosen[shown.numpy()].tolist(),
        torch.from_numpy(order),
        boxes[order],
        torch.stack(points),
    )


def seconds(work: Callable[[ListedPhoto, int], int], photo: ListedPhoto, index: int) -> float:
    """Processor time, which other work on the machine does not count into."""
    start = time.process_time()
    work(photo, index)
    return time.process_time() - start


def measured(what: str, path: Path, images: Path | None, crops: int) -> Figure:
    """Both pipelines by turns on the first photos of a data set."""
    listing = list_photos(path, images, print)
    photos = list(islice((photo for photo in listing.photos if photo.instances), crops))
    pairs, objects = [], []
    for index in range(-2, crops):  # two to warm up
        photo = photos[index % len(photos)]
        pair = seconds(ours, photo, max(0, index)), seconds(reference, photo, max(0, index))
        if index >= 0:
            pairs.append(pair)
            objects.append(len(photo.instances))
    mine, theirs = (statistics.mean(column) for column in zip(*pairs, strict=True))
    return Figure(what, statistics.mean(objects), 1 / mine, 1 / theirs, crops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=60, help="of each data set")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    coco = options.data / "coco_sample"
    sets = [
        ("COCO, polygons", coco / "annotations/instances_train2017.json", coco / "train2017"),
        ("SA-1B's layout, run lengths", options.data / "bsds500", None),
    ]
    figures = []
    for what, path, images in sets:
        if path.exists():
            figures.append(measured(what, path, images, options.crops))
        else:
            print(f"skipped: {what}: there is no '{path}'; give --data the folder that holds it.")
    print(f"{'':30}{'objects':>9}{'ours':>9}{'reference':>11}{'ratio':>8}{'crops':>7}  images/s")
    for figure in figures:
        under = "  under" if figure.ratio < GOAL else ""
        print(
            f"{figure.what:30}{figure.objects:>9.1f}{figure.ours:>9.1f}{figure.reference:>11.1f}"
            f"{figure.ratio:>8.1f}{figure.crops:>7}{under}"
        )
    if options.json:
        rows = [asdict(figure) | {"ratio": figure.ratio} for figure in figures]
        document = {"size": SCENES.size, "prompts": PROMPTS.count, "figures": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
