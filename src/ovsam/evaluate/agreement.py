"""How alike the masks of two models are that are given the same prompts on the same photos.

Protocol: every object prompts both models alike, from its annotation (`prompts`); a centre is found
at the size at which the student's network sees the photo. The two masks are compared with each
other at the photo's own size; nothing but the prompt is taken from the annotation. Where both masks
are empty the IoU is 0, as `geometry.mask_iou` has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import (
    Annotated,
    NotRequired,  # which pydantic can check before Python 3.12
)

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from ovsam.config import Share
from ovsam.data.dataset import DataSet
from ovsam.errors import AnnotationError
from ovsam.evaluate.clicks import simulated_clicks
from ovsam.evaluate.kinds import PromptKind
from ovsam.evaluate.left_out import NOTHING, LeftOut, of_listing
from ovsam.evaluate.listed_prompts import largest, prompted_photo
from ovsam.evaluate.pair import Pair
from ovsam.formats.annotations import Instance
from ovsam.formats.crowds import IF_OBJECTS, IN_FILE
from ovsam.formats.listing import ListedPhoto
from ovsam.geometry import mask_iou
from ovsam.jobs.run import HERE, Job, Record, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.structures import Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

GOALS = (0.5, 0.75, 0.85, 0.95)  # IoU that shares of objects are counted for


class Compared(TypedDict):
    """What became of an object, or of a photo that could not be read: one of the two.

    Or neither, and how many objects of the photo are not among the largest that are compared.
    """

    iou: Share | None
    problem: str | None
    beyond_largest: NotRequired[Annotated[int, Field(ge=0)]]
    names: NotRequired[list[tuple[bool, Share]]]
    """For each vocabulary whether the first names are the same, and how far their scores differ."""


@dataclass(frozen=True)
class NameAgreement:
    """How alike the first names of the two models are.

    Attributes:
        vocabulary: what they were chosen from.
        same: share of objects with the same first name, in [0, 1].
        score_difference: the largest of all between their scores.
    """

    vocabulary: str
    same: float
    score_difference: float


@dataclass(frozen=True)
class AgreementReport:
    """What `agreement` found.

    Attributes:
        student: the model's name.
        teacher: the other model's name.
        prompts: what both were given.
        zoom: whether the student and the teacher zoomed on each object.
        photos: how many had an object that was compared.
        seconds: that all photos took.
        iou: `(N,)` of the two models' masks for each object, in [0, 1]; N is 1 or more.
        problems: a sentence for each photo and object that could not be read and was left out;
            those that listing the data set met count however few photos are looked at.
        not_counted: what more there is.
        clicks: how many each object had; 0 = prompts of another kind.
        names: of each vocabulary that was asked for.
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
    clicks: int = 0
    names: tuple[NameAgreement, ...] = ()

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
            "iou_minimum": float(self.iou.min()),
            **{f"share{round(goal * 100)}": self.share(goal) for goal in GOALS},
            "student": self.student,
            "teacher": self.teacher,
            "prompts": f"{self.clicks} clicks" if self.clicks else self.prompts,
            "names": [asdict(each) for each in self.names],
            "zoom": dict(zip(("student", "teacher"), self.zoom, strict=True)),
            "photos": self.photos,
            "skipped": self.skipped,
            "problems": list(self.problems),
            "not_counted": self.not_counted.as_dict(),
            "seconds": round(self.seconds, 2),
        }


def agreement(
    student: Segmenter,
    teacher: Segmenter,
    data_set: DataSet,
    *,
    prompts: PromptKind,
    clicks: int = 0,
    vocabularies: Sequence[Vocabulary] = (),
    limit: int | None = None,
    objects: int | None = None,
    job: Job = HERE,
) -> AgreementReport:
    """Give both models a prompt for every object, compare their masks.

    Args:
        student: both only segment, unless there are vocabularies.
        teacher: what the student is compared with; the IoU is the same the other way round.
        data_set: photos with objects; what cannot be read of it is skipped and counted.
        prompts: how objects are pointed at, see `prompts`.
        clicks: so many in place of a prompt; each but the first where the teacher's mask before it
            is most wrong, and both models get the last of them, with all before. They need masks:
            `prompts` must be "point".
        vocabularies: what both name their masks from, too.
        limit: only the first so many photos with an object that can be compared.
        objects: only the largest so many of each photo, by annotated area in photo pixels, or by
            that of the box where none is annotated.
        job: how the photos are gone through. The workers load a `Pair` each; of the data set the
            journal knows what is listed without opening a file for each photo.

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
        if job.progress is not None:
            job.progress(total - min(len(data_set) - seen, most - photos), total)
        return photos == most

    pair = Pair(student, teacher)
    zoomed = student.zoom, teacher.zoom
    done = photo_by_photo(
        pair,
        partial(
            _compare_photo,
            read=data_set.photos.read,
            kind=prompts,
            clicks=clicks,
            vocabularies=vocabularies,
            objects=objects,
        ),
        dict(enumerate(data_set.photos.listed)),
        job=replace(job, progress=None),  # `enough` says how far it is
        record=Record[Compared](
            Compared,
            pair,
            settings=lambda: {
                "measures": "agreement",
                "data": data_set.fingerprint,
                "prompts": prompts,
                "clicks": clicks,
                "vocabularies": [each.names_fingerprint for each in vocabularies],
                "objects": objects,
                "zoom": list(zoomed),
            },
        ),
        enough=enough,
    )
    found = [row["iou"] for row in done.rows if row["iou"] is not None]
    read = (row["problem"] for row in done.rows if row["problem"] is not None)
    problems = [*data_set.problems, *read]
    if not found:
        raise _nothing_to_compare(data_set, problems)
    return AgreementReport(
        student=student.model_name,
        teacher=teacher.model_name,
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
        clicks=clicks,
        names=tuple(
            _name_agreement(vocabulary, [row["names"][i] for row in done.rows if "names" in row])
            for i, vocabulary in enumerate(vocabularies)
        ),
    )


def _name_agreement(vocabulary: Vocabulary, rows: list[tuple[bool, float]]) -> NameAgreement:
    same, difference = zip(*rows, strict=True)
    return NameAgreement(vocabulary.name, sum(same) / len(same), max(difference))


def check_comparable(data_set: DataSet, prompts: PromptKind) -> None:
    """Refuse a data set of which no object can be a prompt, before a model is loaded.

    Args:
        data_set: photos with objects; it is read up to the first that can be used.
        prompts: how objects are pointed at.

    Raises:
        AnnotationError: says why none can.
    """
    image_size = 1024  # of a model; which one does not matter here
    problems = list(data_set.problems)
    for photo in data_set.photos:
        if prompted_photo(photo, prompts, image_size, None, problems) is not None:
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
    clicks: int,
    vocabularies: Sequence[Vocabulary],
    objects: int | None,
) -> list[Compared]:
    problems: list[str] = []
    photo = read(photo)
    prompted = prompted_photo(photo, kind, pair.student.config.image_size, objects, problems)
    rows: list[Compared] = [{"iou": None, "problem": problem} for problem in problems]
    if prompted is not None:
        rows += _compared(pair, *prompted, clicks, vocabularies)
        beyond = len(photo.instances) - len(largest(photo.instances, objects))
        if beyond:
            rows.append({"iou": None, "problem": None, "beyond_largest": beyond})
    return rows


def _compared(
    pair: Pair,
    pixels: NDArray[np.uint8],
    prompts: Sequence[Prompt],
    instances: Sequence[Instance],
    clicks: int,
    vocabularies: Sequence[Vocabulary],
) -> list[Compared]:
    """IoU of the two masks for each prompt, and whether they have the same names."""
    models = (pair.student, pair.teacher)
    encoded = [model.encode(pixels) for model in models]
    if clicks:
        masks = (instance.mask((pixels.shape[0], pixels.shape[1])) for instance in instances)
        prompts = [
            deque(simulated_clicks(pair.teacher, encoded[1], mask, clicks), maxlen=1)[0][0]
            for mask in masks
        ]
    found = [model.segment(seen, prompts) for model, seen in zip(models, encoded, strict=True)]
    rows: list[Compared] = [
        {"iou": mask_iou(a.mask, b.mask), "problem": None} for a, b in zip(*found, strict=True)
    ]
    for vocabulary in vocabularies:
        names = (
            model.name(seen, masks, vocabulary=vocabulary)
            for model, seen, masks in zip(models, encoded, found, strict=True)
        )
        for row, a, b in zip(rows, *names, strict=True):
            first, other = a.labels[0][0], b.labels[0][0]
            alike = first.name == other.name, abs(first.score - other.score)
            row["names"] = [*row.get("names", []), alike]
    return rows
