"""Which objects to show: best, worst, drawn at random, and where reports disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    NotRequired,  # which pydantic can check before Python 3.12
)

import numpy as np
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from ovsam.bounded_json import read_json_file
from ovsam.config import Share
from ovsam.errors import OvsamError
from ovsam.evaluate.kinds import EvaluationKind
from ovsam.evaluate.provenance import sha256_now
from ovsam.files import sha256_of
from ovsam.formats.crowds import Crowds
from ovsam.hub import checkpoint_sha256
from ovsam.paper.reports import provenance_of

SEED = 0


class Named(TypedDict):
    """What a name stood for when a report was made; None where it had no file."""

    name: str
    sha256: str | None


class Provenance(TypedDict):
    """What is read of what a report was made from."""

    annotations: Named
    model: Named
    vocabulary: Named
    crowds: NotRequired[Crowds]
    prior: NotRequired[bool]
    clean: NotRequired[bool]


class AnsweredObject(TypedDict):
    """What became of an object."""

    annotation_id: int
    category: str
    name: str
    rank: int
    iou: Share
    score: Share


class Report(TypedDict):
    """What is read of a report of `ovsam evaluate --json`."""

    provenance: Provenance
    prompts: EvaluationKind
    zoom: bool
    oracle_names: NotRequired[bool]
    outcomes: Annotated[list[AnsweredObject], Field(min_length=1)]


_REPORT = TypeAdapter(Report)


@dataclass(frozen=True)
class Case:
    """A kind of case and the objects that stand for it.

    Attributes:
        title: what they have in common.
        annotation_ids: the objects.
    """

    title: str
    annotation_ids: tuple[int, ...]


@dataclass(frozen=True)
class Answers:
    """What a report of `ovsam evaluate --json` says, object by object.

    Attributes:
        path: the report.
        content: what is read of it.
        outcomes: by annotation id.
    """

    path: Path
    content: Report
    outcomes: Mapping[int, AnsweredObject]

    @property
    def crowds(self) -> Crowds:
        """What crowd regions were; older reports, which do not say, left them out."""
        return self.content["provenance"].get("crowds", "left-out")

    @property
    def oracle_names(self) -> bool:
        """Whether the model only segmented; older reports, which do not say, have its names."""
        return self.content.get("oracle_names", False)

    @property
    def prior(self) -> bool:
        """Whether the vocabulary's weights counted; older reports, which do not say, had none."""
        return self.content["provenance"].get("prior", True)

    @property
    def clean(self) -> bool:
        """Whether masks were cleaned; of older reports, which do not say, they are now."""
        return self.content["provenance"].get("clean", True)

    @property
    def label(self) -> str:
        """Which model it is, and how it was measured."""
        model = "/".join(Path(self.content["provenance"]["model"]["name"]).parts[-2:])
        zoom = ", zoom" if self.content["zoom"] else ""
        return f"{model.removesuffix('.safetensors')}: {self.content['prompts']}{zoom}"


def read_answers(path: Path) -> Answers:
    """Read a report of `ovsam evaluate`.

    Raises:
        OvsamError: no such file, or one that is no report with outcomes.
    """
    try:
        content = read_json_file(path)
        if isinstance(content, dict):
            content = {**content, "provenance": provenance_of(content)}
        report = _REPORT.validate_python(content)
    except OSError as error:
        raise OvsamError(f"Cannot read the report '{path}': {error.strerror}.") from error
    except ValueError as error:  # pydantic's, or that of a text that is no JSON
        raise OvsamError(
            f"'{path}' is no report with the outcome of each object. Make it with 'ovsam evaluate "
            "--json'."
        ) from error
    outcomes = {one["annotation_id"]: one for one in report["outcomes"]}
    return Answers(path, report, outcomes)


def check_sources(answers: Answers, annotations: Path) -> None:
    """Refuse a report that was made from something else than what lies there now.

    Args:
        answers: the report.
        annotations: the annotation file whose objects it is to have answered.

    Raises:
        OvsamError: other annotations, or a checkpoint or vocabulary whose content has changed.
    """
    provenance = answers.content["provenance"]
    if provenance["annotations"]["sha256"] != sha256_of(annotations):
        raise OvsamError(
            f"'{answers.path}' was measured with other annotations than '{annotations}'. Give "
            "those, or make it again."
        )
    used = {"model": provenance["model"], "vocabulary": provenance["vocabulary"]}
    for what, named in used.items():
        name, then = named["name"], named["sha256"]
        now = sha256_now(what, name, checkpoint_sha256)
        if then is not None and now not in (then, None):  # None: it is gone
            raise OvsamError(
                f"'{answers.path}' was measured with another {what} than '{name}' is now. Make it "
                "again."
            )


def choose(answers: Sequence[Answers], photos: Mapping[int, int], each: int) -> list[Case]:
    """Choose objects that all reports answer, each once, at most one of a photo in each case.

    Best and worst go by the last report. What is drawn at random is the same for the same
    objects.

    Args:
        answers: of two or more reports.
        photos: the photo's id by annotation id.
        each: how many objects for a case.

    Raises:
        OvsamError: the reports have no object in common.
    """
    common = [key for key in answers[0].outcomes if all(key in one.outcomes for one in answers)]
    common = sorted(key for key in common if key in photos)
    if not common:
        raise OvsamError(
            "The reports and the annotation file have no object in common. Give reports of this "
            "file."
        )
    last = answers[-1].outcomes
    drawn = np.random.default_rng(SEED).permutation(len(common))
    order = dict(zip(common, drawn.tolist(), strict=True))

    def spread(key: int) -> float:
        ious = [one.outcomes[key]["iou"] for one in answers]
        return float(max(ious) - min(ious))

    shown: set[int] = set()  # no object twice

    def taken(keys: Sequence[int], by: Callable[[int], float]) -> tuple[int, ...]:
        found: dict[int, int] = {}
        for key in sorted(set(keys) - shown, key=lambda key: (by(key), key)):
            found.setdefault(photos[key], key)
        first = tuple(list(found.values())[:each])
        shown.update(first)
        return first

    named = [key for key in common if last[key]["rank"] == 0]
    unlike = [key for key in common if len({one.outcomes[key]["name"] for one in answers}) > 1]
    cases = [
        Case("best: named right, highest IoU", taken(named, lambda key: -last[key]["iou"])),
        Case("worst: lowest IoU", taken(common, lambda key: last[key]["iou"])),
        Case("at random", taken(common, lambda key: order[key])),
        Case("other names, at random", taken(unlike, lambda key: order[key])),
        Case(
            "other masks: IoU farthest apart",
            taken([key for key in common if spread(key) > 0], lambda key: -spread(key)),
        ),
    ]
    return [case for case in cases if case.annotation_ids]
