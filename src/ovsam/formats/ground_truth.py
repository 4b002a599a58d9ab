"""An annotation file as the evaluators of detections need it: with ids, crowds and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ovsam.formats.annotations import Annotations, Category, Photo
from ovsam.formats.coco import parse_annotations
from ovsam.formats.crowds import Crowds, crowds_as_objects
from ovsam.formats.json_rows import read_json

Rules = Literal["coco", "lvis"]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Annotations, read and as they stand in the file.

    Attributes:
        source: the file's name, for messages.
        annotations: photos, classes and instances, crowd regions left out.
        rows: the file's annotations as they stand, crowd regions among them.
        photo_rows: the file's photos as they stand, in the order of `annotations.photos`.
        categories: the classes by id.
    """

    source: str
    annotations: Annotations
    rows: Sequence[Mapping[str, Any]]
    photo_rows: Sequence[Mapping[str, Any]]
    categories: Mapping[int, Category]

    @cached_property
    def photos(self) -> Mapping[int, Photo]:
        """The photos by id."""
        return {photo.id: photo for photo in self.annotations.photos}

    @cached_property
    def rules(self) -> Rules:
        """LVIS's where the file says what they need, else COCO's.

        They need, for every photo, which classes are absent from it, and for every class whether it
        is rare, common or frequent.
        """
        photos, categories = self.annotations.photos, self.categories.values()
        federated = all(photo.negative_classes is not None for photo in photos)
        return "lvis" if federated and all(c.frequency for c in categories) else "coco"


def read_ground_truth(path: Path, crowds: Crowds = "left-out") -> GroundTruth:
    """Read a COCO or LVIS instance file; crowd regions stay what they are, or become objects.

    Raises:
        AnnotationError: no such file, no JSON, or a part that does not follow COCO's layout.
    """
    content = read_json(path)
    return parse_ground_truth(
        crowds_as_objects(content) if crowds == "objects" else content, str(path)
    )


def parse_ground_truth(content: Any, source: str = "annotations") -> GroundTruth:
    """The same from already parsed JSON; `source` names it in errors."""
    annotations = parse_annotations(content, source)
    return GroundTruth(
        source=source,
        annotations=annotations,
        rows=content["annotations"],
        photo_rows=content["images"],
        categories=dict(zip(annotations.category_ids, annotations.categories, strict=True)),
    )
