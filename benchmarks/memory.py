"""How much memory an evaluation of LVIS's size takes: 19,809 photos, 244,707 objects, 192 MB.

python benchmarks/memory.py [--share 1.0] [--json memory.json]

The annotation file is made up in a temporary folder, with LVIS's fields and as long polygons; the
predictor answers every box with the box, at once. So what is measured is all but the model. The
photos are small (160x120) to save time: the masks of one photo are held at a time, whatever the
size. Two processes: `evaluate`, and `evaluate-detections` with every annotated box as a detection,
with its mask AP by LVIS's rules. `--share 0.1` takes a tenth of the photos and of the objects.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from processes import in_fresh_process, peak_gb

PHOTOS, OBJECTS, CLASSES = 19_809, 244_707, 1203
NUMBERS = 98  # of a polygon: makes the file as large as LVIS's
HEIGHT, WIDTH = 120, 160
LIMIT_GB = 4.0


def make(folder: Path, share: float) -> None:
    """Write truth.json and the photos, which are all one file."""
    rng = np.random.default_rng(0)
    photos, objects = int(PHOTOS * share), int(OBJECTS * share)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "photo.jpg")
    images = []
    for i in range(1, photos + 1):
        os.link(folder / "photo.jpg", folder / f"{i:012}.jpg")
        absent = rng.choice(CLASSES, 8, replace=False) + 1
        images.append(
            {
                "id": i,
                "file_name": f"{i:012}.jpg",
                "height": HEIGHT,
                "width": WIDTH,
                "neg_category_ids": absent.tolist(),
                "not_exhaustive_category_ids": [],
            }
        )
    annotations = []
    angle = np.linspace(0, 2 * np.pi, NUMBERS // 2, endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], 1)
    for i in range(1, objects + 1):
        centre = rng.uniform((20, 20), (WIDTH - 20, HEIGHT - 20))
        outline = (centre + around * rng.uniform(3, 20, (len(angle), 1))).round(2)
        (x0, y0), (x1, y1) = outline.min(0).tolist(), outline.max(0).tolist()
        annotations.append(
            {
                "id": i,
                "image_id": int(rng.integers(1, photos + 1)),
                "category_id": int(rng.integers(1, CLASSES + 1)),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "segmentation": [outline.ravel().tolist()],
            }
        )
    categories = [
        {"id": i, "name": f"class_{i}", "frequency": "rcf"[i % 3]} for i in range(1, CLASSES + 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))


class Instant:
    """Answers a box with the box and the first name."""

    model_name, zoom, device, fingerprint = "instant", False, "cpu", "none"
    names_objects, threads = True, 1
    config = SimpleNamespace(image_size=512)

    def __init__(self, vocabulary: Any) -> None:
        self.vocabulary = vocabulary

    def encode(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        return pixels.shape[0], pixels.shape[1]

    def predict(self, size_hw: tuple[int, int], prompts: Sequence[Any], **_: object) -> list[Any]:
        from ovsam.structures import Label, Prediction

        names = tuple(Label(name, 0.2) for name in self.vocabulary.classes[:5])
        answers = []
        for prompt in prompts:
            x0, y0, x1, y1 = prompt.box_xyxy.round().astype(int)
            masks = np.zeros((1, *size_hw), bool)
            masks[0, y0:y1, x0:x1] = True
            scores, logits = np.ones(1, np.float32), np.zeros((1, 4, 4), np.float32)
            answers.append(Prediction(masks, scores, prompt.box_xyxy[None], logits, (names,)))
        return answers

    segment = predict


def run(side: str, folder: Path) -> dict[str, Any]:
    """Evaluate in this process: its peak after reading, halfway, and at the end."""
    from ovsam.evaluate.detections import evaluate_detections
    from ovsam.evaluate.instances import evaluate
    from ovsam.formats.coco_results import Detection, Detections
    from ovsam.formats.ground_truth import read_ground_truth
    from ovsam.jobs.run import Job
    from ovsam.vocabulary.load import load_vocabulary

    start = time.perf_counter()
    truth = read_ground_truth(folder / "truth.json")
    peaks = {"read": peak_gb()}
    predictor = cast(Any, Instant(load_vocabulary(folder / "truth.json")))
    peaks["names from the same file"] = peak_gb()
    seconds = {"read": time.perf_counter() - start}

    def tick(done: int, total: int) -> None:
        if done in (total // 2, total):
            peaks["half of the photos" if done < total else "all photos"] = peak_gb()

    job = Job(progress=tick)
    if side == "evaluate":
        evaluate(predictor, truth.annotations, folder, prompts="box", job=job)
    else:
        ids = {category.name: i for i, category in truth.categories.items()}
        detections: dict[int, list[Detection]] = {}
        for one in truth.annotations.instances:
            found = Detection(one.photo_id, ids[one.category], one.box_xyxy, one.area % 1)
            detections.setdefault(one.photo_id, []).append(found)
        boxes = Detections(detections)
        evaluate_detections(predictor, truth, boxes, folder, labels="detector", job=job)
    peaks["report"] = peak_gb()
    seconds["report"] = time.perf_counter() - start
    return {"peak_gb": peaks, "seconds": seconds}


SIDES = ("evaluate", "evaluate-detections")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of LVIS's size")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.share)
        print(f"annotation file: {(folder / 'truth.json').stat().st_size / 1e6:.0f} MB")
        for side in SIDES:
            found[side] = in_fresh_process(run, side, folder)
            peaks = found[side]["peak_gb"]
            shown = ", ".join(f"{stage} {peak:.2f}" for stage, peak in peaks.items())
            within = "yes" if peaks["report"] <= LIMIT_GB else "NO"
            seconds = found[side]["seconds"]["report"]
            print(f"{side}: peak GB after {shown}; at most {LIMIT_GB:g}: {within}; {seconds:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"share": options.share, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
