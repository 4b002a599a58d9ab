"""How alike the masks of two models are that are asked the same about the same photos.

Protocol: every object prompts both models alike, from its annotation (`prompts`); a centre is found
at the size at which the student's network sees the photo. The two answers are compared with each
other at the photo's own size; nothing but the prompt is taken from the annotation. Where both masks
are empty the IoU is 0, as `geometry.mask_iou` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    NotRequired,  # which pydantic can check before Python 3.12
)

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from ovsam.config import Share
from ovsam.data.dataset import DataSet
from ovsam.errors import AnnotationError, OvsamError
from ovsam.evaluate.left_out import NOTHING, LeftOut, of_listing
from ovsam.evaluate.prompts import POINTS, PromptKind, annotated_prompt
from ovsam.formats.annotations import Instance
from ovsam.formats.crowds import IF_OBJECTS, IN_FILE
from ovsam.formats.listing import ListedPhoto
from ovsam.geometry import mask_iou
from ovsam.images.read import read_photo
from ovsam.jobs.processes import Workers
from ovsam.jobs.run import Progress, photo_by_photo
from ovsam.structures import Prompt

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor

GOALS = (0.5, 0.75, 0.85, 0.95)  # IoU that shares of objects are counted for


@dataclass(frozen=True)
class Pair:
    """Two models that are asked the same.

    Attributes:
        student: one; names play no part.
        teacher: the other.
    """

    student: Predictor
    teacher: Predictor

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.student.name} beside {self.teacher.name}"

    @property
    def fingerprint(self) -> str:
        """What tells two pairs of the same names apart."""
        return f"{self.student.fingerprint} {self.teacher.fingerprint}"

    @property
    def device(self) -> object:
        """Where the student computes."""
        return self.student.device


def load_pair(student: Callable[[], Predictor], teacher: Callable[[], Predictor]) -> Pair:
    """Load both; for `Workers`, to whom a partial of this can be given."""
    return Pair(student(), teacher())


class Compared(TypedDict):
    """What became of an object, or of a photo that could not be read: one of the two.

    Or neither, and how many objects of the photo are not among the largest that were asked for.
    """

    iou: Share | None
    problem: str | None
    beyond_largest: NotRequired[Annotated[int, Field(ge=0)]]


@dataclass(frozen=True)
class AgreementReport:
    """What `agreement` found.

    Attributes:
        student: the model's name.
        teacher: the other model's name.
        prompts: what both were asked with.
        zoom: whether the student and the teacher looked again at each object.
        photos: how many had an object that was compared.
        seconds: that all photos took.
        iou: `(N,)` of the two models' masks for each object, in [0, 1]; N is 1 or more.
        problems: a sentence for each photo and object that could not be read and was left out;
            those that listing the data set met count however few photos are looked at.
        not_counted: what more there is.
    """

    student: str
    teacher: str
    prompts: PromptKind
    zoom: tuple[bool, bool]
    photos: int
    seconds: float
    iou: NDArray[np.float64]
    problems: tuple[str, ...] = ()
    not_counted: LeftOut = NOTHING

    @property
    def mean(self) -> float:
        """Mean IoU."""
        return float(self.iou.mean())

    @property
    def median(self) -> float:
        """Median IoU."""
        return float(np.median(self.iou))

    @property
    def skipped(self) -> int:
        """How many photos and objects could not be read."""
        return len(self.problems)

    def share(self, goal: float) -> float:
        """Share of objects, in [0, 1], whose IoU is `goal` or more."""
        return float((self.iou >= goal).mean())

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "instances": len(self.iou),
            "iou": self.mean,
            "iou_median": self.median,
            **{f"share{round(goal * 100)}": self.share(goal) for goal in GOALS},
            "student": self.student,
            "teacher": self.teacher,
            "prompts": self.prompts,
            "zoom": dict(zip(("student", "teacher"), self.zoom, strict=True)),
            "photos": self.photos,
            "skipped": self.skipped,
            "problems": list(self.problems),
            "not_counted": self.not_counted.as_dict(),
            "seconds": round(self.seconds, 2),
        }


def agreement(
    student: Predictor,
    teacher: Predictor,
    data_set: DataSet,
    *,
    prompts: PromptKind,
    zoom: bool | None = None,
    limit: int | None = None,
    objects: int | None = None,
    journal: Path | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> AgreementReport:
    """Ask both models about every object, compare their masks.

    Args:
        student: names play no part.
        teacher: what the student is compared with; the IoU is the same the other way round.
        data_set: photos with objects; what cannot be read of it is skipped and counted.
        prompts: how objects are pointed at, see `prompts`.
        zoom: as for `Predictor.predict`; None = each model's own default.
        limit: only the first so many photos with an object that can be compared.
        objects: only the largest so many of each photo, by annotated area in photo pixels, or by
            that of the box where none is annotated.
        journal: a file of what became of each photo, as for `run.evaluate`. Of the data set it
            knows what is listed without opening a file for each photo.
        workers: processes that the photos are shared out over; each loads a `Pair`.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: no object is left to compare.
        OutputError: the journal is of other settings, or cannot be used.
    """
    seen, photos, blank, most = 0, 0, 0, len(data_set) if limit is None else limit
    total = min(len(data_set), most)

    def enough(rows: list[Compared]) -> bool:
        nonlocal seen, photos, blank
        seen += 1
        photos += any(row["iou"] is not None for row in rows)
        blank += not rows
        if progress is not None:
            progress(total - min(len(data_set) - seen, most - photos), total)
        return photos == most

    zoomed = (student.zoom, teacher.zoom) if zoom is None else (zoom, zoom)
    done = photo_by_photo(
        Pair(student, teacher),
        partial(
            _compare_photo, read=data_set.photos.read, kind=prompts, objects=objects, zoom=zoom
        ),
        dict(enumerate(data_set.photos.listed)),
        Compared,
        settings=lambda: {
            "measures": "agreement",
            "data": data_set.fingerprint,
            "prompts": prompts,
            "objects": objects,
            "zoom": list(zoomed),
        },
        journal=journal,
        workers=workers,
        enough=enough,
    )
    found = [row["iou"] for row in done.rows if row["iou"] is not None]
    read = (row["problem"] for row in done.rows if row["problem"] is not None)
    problems = [*data_set.problems, *read]
    if not found:
        raise _nothing_to_compare(data_set, problems)
    return AgreementReport(
        student=student.name,
        teacher=teacher.name,
        prompts=prompts,
        zoom=zoomed,
        photos=photos,
        seconds=done.seconds,
        iou=np.array(found, dtype=np.float64),
        problems=tuple(problems),
        not_counted=replace(
            of_listing(data_set.ignored),
            crowd_regions=data_set.crowds,
            objects_beyond_largest=sum(row.get("beyond_largest", 0) for row in done.rows),
            photos_beyond_limit=len(data_set) - seen,
            photos_without_objects=blank,
        ),
    )


def check_comparable(data_set: DataSet, prompts: PromptKind, image_size: int = 1024) -> None:
    """Refuse a data set of which no object can be asked about, before a model is loaded.

    Args:
        data_set: photos with objects; it is read up to the first that can be used.
        prompts: how objects are pointed at.
        image_size: of a model; which one does not matter here.

    Raises:
        AnnotationError: says why none can.
    """
    problems = list(data_set.problems)
    for photo in data_set.photos:
        if _asked(photo, prompts, image_size, None, problems) is not None:
            return
    raise _nothing_to_compare(data_set, problems)


def _nothing_to_compare(data_set: DataSet, problems: Sequence[str]) -> AnnotationError:
    why = f" First of {len(problems)} problems: {problems[0]}" if problems else ""
    if data_set.crowds:
        why += f" Its {data_set.crowds:,} crowd regions (iscrowd 1) do not count. "
        why += f"{IF_OBJECTS} {IN_FILE}."
    return AnnotationError(
        f"There is no object to compare: expected photos of '{data_set.name}' with objects "
        "that can be read, got none. Check it with `ovsam data check`, or give the folder of "
        f"the photos with --images.{why}"
    )


def _compare_photo(
    pair: Pair,
    photo: ListedPhoto,
    read: Callable[[ListedPhoto], ListedPhoto],
    kind: PromptKind,
    objects: int | None,
    zoom: bool | None,
) -> list[Compared]:
    problems: list[str] = []
    photo = read(photo)
    asked = _asked(photo, kind, pair.student.config.image_size, objects, problems)
    rows: list[Compared] = [{"iou": None, "problem": problem} for problem in problems]
    if asked is not None:
        rows += [{"iou": iou, "problem": None} for iou in _alike(pair, *asked, zoom)]
        beyond = len(photo.instances) - len(_largest(photo.instances, objects))
        if beyond:
            rows.append({"iou": None, "problem": None, "beyond_largest": beyond})
    return rows


def _asked(
    photo: ListedPhoto,
    kind: PromptKind,
    image_size: int,
    objects: int | None,
    problems: list[str],
) -> tuple[NDArray[np.uint8], list[Prompt]] | None:
    """The photo `(H, W, 3)` and a prompt for each object; None where there is nothing to ask.

    What cannot be read is added to `problems`.
    """
    problems += photo.problems
    if not photo.instances:
        return None
    try:
        pixels = read_photo(photo.open())
        photo.check_size((pixels.shape[0], pixels.shape[1]))
    except AnnotationError as error:
        problems.append(str(error))
        return None
    except OvsamError as error:
        problems.append(str(error) if photo.member is None else f"'{photo.name}': {error}")
        return None
    size_hw = pixels.shape[0], pixels.shape[1]
    asked = []
    for instance in _largest(photo.instances, objects):
        try:
            asked.append(_prompt(instance, size_hw, kind, image_size))
        except OvsamError as error:
            problems.append(f"Photo {photo.name!r}: {error}")
    return (pixels, asked) if asked else None


def _largest(instances: Sequence[Instance], count: int | None) -> Sequence[Instance]:
    if count is None:
        return instances
    return sorted(instances, key=_area, reverse=True)[:count]


def _area(instance: Instance) -> float:
    x0, y0, x1, y1 = instance.box_xyxy
    return instance.area if np.isfinite(instance.area) else (x1 - x0) * (y1 - y0)


def _prompt(
    instance: Instance, size_hw: tuple[int, int], kind: PromptKind, image_size: int
) -> Prompt:
    """What both models are asked.

    Raises:
        AnnotationError: the mask is needed, and is malformed or empty.
        PromptError: the box is outside the photo.
    """
    mask = instance.mask(size_hw) if kind in POINTS else None
    if mask is not None and not mask.any():
        raise AnnotationError(f"Annotation {instance.id}: its mask covers no pixel.")
    prompt = annotated_prompt(instance, mask, kind, size_hw, image_size)
    prompt.check_inside(size_hw)
    return prompt


def _alike(
    pair: Pair,
    pixels: NDArray[np.uint8],
    prompts: Sequence[Prompt],
    zoom: bool | None,
) -> list[float]:
    """IoU of the two answers to each prompt."""
    ours, theirs = (
        model.predict(model.encode(pixels), prompts, zoom=zoom, top=1)
        for model in (pair.student, pair.teacher)
    )
    return [mask_iou(a.mask, b.mask) for a, b in zip(ours, theirs, strict=True)]
