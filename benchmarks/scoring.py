"""How long cached masks take to score, beside pycocotools in the same run.

python benchmarks/scoring.py [--photos 5000] [--instances 36000] [--json scoring.json]

Made up in a temporary folder: an annotation file with polygons and a results file with a mask for
each object, of uneven outlines, some moved or misnamed. Both sides read both files and give mask
AP by COCO's rules. Ours is what `ovsam evaluate-detections` does once all masks are there. Each
side runs in a process of its own, so that neither is helped by what the other has left. The ratio
is that of processor time, which other work on the machine does not count into; neither side uses
threads.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from processes import in_fresh_process

from ovsam.geometry import encode_rle

SIZE_HW = (480, 640)
CLASSES = 80
SHAPES = 600  # that objects are drawn from
SECONDS_LIMIT, RATIO_LIMIT = 60.0, 3.0


def blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """The outline `(N, 2)` of an uneven object, xy."""
    count = int(rng.integers(20, 90))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    waves = sum(rng.normal(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(1, 9))
    radius = np.exp(rng.uniform(np.log(6), np.log(180))) * np.exp(waves)
    centre = rng.uniform((0, 0), SIZE_HW[::-1])
    outline = centre + np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return np.clip(outline, 0, SIZE_HW[::-1]).round(2)


def drawn(outline: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE_HW, np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
    return mask.astype(bool)


def make(folder: Path, photos: int, instances: int) -> None:
    """Write truth.json and results.json."""
    rng = np.random.default_rng(0)
    shapes = []
    while len(shapes) < SHAPES:
        outline = blob(rng)
        found = drawn(outline + rng.normal(0, 0.02 * np.ptp(outline), outline.shape))
        if found.any() and drawn(outline).any():
            shapes.append((outline, encode_rle(found), float(drawn(outline).sum())))
    annotations, results = [], []
    for number in range(1, instances + 1):
        outline, rle, area = shapes[int(rng.integers(SHAPES))]
        photo, category = int(rng.integers(1, photos + 1)), int(rng.integers(1, CLASSES + 1))
        (x0, y0), (x1, y1) = outline.min(0).tolist(), outline.max(0).tolist()
        annotations.append(
            {
                "id": number,
                "image_id": photo,
                "category_id": category,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": area,
                "iscrowd": 0,
                "segmentation": [outline.ravel().tolist()],
            }
        )
        misnamed = rng.random() < 0.2
        results.append(
            {
                "image_id": photo,
                "category_id": int(rng.integers(1, CLASSES + 1)) if misnamed else category,
                "segmentation": rle,
                "score": round(float(rng.random()), 4),
            }
        )
    height, width = SIZE_HW
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
        for i in range(1, photos + 1)
    ]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))


def by_pycocotools(folder: Path) -> list[float | None]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        run = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats[:6]]


def by_ours(folder: Path) -> list[float | None]:
    from ovsam.evaluate.average_precision import average_precision
    from ovsam.formats.ground_truth import read_ground_truth

    truth = read_ground_truth(folder / "truth.json")
    results = json.loads((folder / "results.json").read_text())
    return list(average_precision(truth, results, truth.annotations.photos).figures.values())


SIDES = {"pycocotools": by_pycocotools, "ours": by_ours}


def measured(side: str, folder: Path) -> dict[str, Any]:
    """Seconds and figures of one side."""
    import pycocotools.cocoeval  # noqa: F401 - imports count for neither side

    import ovsam.evaluate.average_precision  # noqa: F401

    start, cpu = time.perf_counter(), time.process_time()
    figures = SIDES[side](folder)
    taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    return {**taken, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--instances", type=int, default=36000)
    parser.add_argument("--runs", type=int, default=1, help="of each side, by turns")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.photos, options.instances)
        runs = [
            {side: in_fresh_process(measured, side, folder) for side in SIDES}
            for _ in range(options.runs)
        ]
    best = {side: min((run[side] for run in runs), key=itemgetter("seconds")) for side in SIDES}
    theirs, ours = best["pycocotools"], best["ours"]
    off = max(abs(a - b) for a, b in zip(theirs["figures"], ours["figures"], strict=True))
    ratio = theirs["cpu_seconds"] / ours["cpu_seconds"]
    print(f"{options.photos:,} photos, {options.instances:,} objects, as many masks")
    for side, found in best.items():
        print(
            f"{side:12} {found['seconds']:8.1f} s {found['cpu_seconds']:8.1f} s of processor time"
        )
    print(
        f"ours: at most {SECONDS_LIMIT:g} s: {'yes' if ours['seconds'] <= SECONDS_LIMIT else 'NO'}"
    )
    print(f"ratio {ratio:.1f}, at least {RATIO_LIMIT:g}: {'yes' if ratio >= RATIO_LIMIT else 'NO'}")
    print(f"largest difference of AP figures: {off:.1e}; AP {ours['figures'][0]:.4f}")
    if options.json:
        document = {"photos": options.photos, "instances": options.instances, "runs": runs}
        options.json.write_text(json.dumps(document | {"ratio": ratio}, indent=1) + "\n")


if __name__ == "__main__":
    main()
