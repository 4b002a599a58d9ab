"""What the page sends and gets, as JSON. Coordinates are pixels of the photo as people see it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ovsam.formats.prediction import object_to_json
from ovsam.structures import Prediction, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.web.sessions import HeldPhoto

Number = Annotated[float, Field(strict=True)]  # neither texts nor truth values
PointXYLabel = tuple[Number, Number, Annotated[int, Field(strict=True, ge=0, le=1)]]
BoxXYXY = tuple[Number, Number, Number, Number]
VocabularyText = Annotated[str, Field(max_length=400_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PhotoReply(_Strict):
    """A photo now held by the server."""

    id: str
    width: int
    height: int

    @classmethod
    def of(cls, photo: HeldPhoto) -> PhotoReply:
        """Describe a held photo."""
        height, width = photo.size_hw
        return cls(id=photo.id, width=width, height=height)


class VocabularyRequest(_Strict):
    """A vocabulary as typed: a built-in name, or names separated by commas; null = the default."""

    vocabulary: VocabularyText | None


class VocabularyReply(_Strict):
    """A vocabulary that prompts can use from now on without delay."""

    name: str
    classes: int
    notes: list[str]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> VocabularyReply:
        """Describe a vocabulary; `notes` say what became of names that were given."""
        return cls(name=vocabulary.name, classes=len(vocabulary), notes=list(vocabulary.notes))


class StateReply(_Strict):
    """What the page shows before any photo is open."""

    model: str
    vocabulary: VocabularyReply
    vocabularies: list[str]
    first_photo: str | None
    max_upload_bytes: int


class PromptFields(_Strict):
    """One object, pointed at. Points are [x, y, label], label 1 = on the object, 0 = not on it."""

    points: Annotated[list[PointXYLabel], Field(max_length=1000)] = []
    box_xyxy: BoxXYXY | None = None

    def to_prompt(self) -> Prompt:
        """The same as a validated `Prompt`; raises `PromptError`."""
        return Prompt(
            points_xy=np.array([point[:2] for point in self.points], dtype=np.float64),
            point_labels=np.array([point[2] for point in self.points], dtype=np.int64),
            box_xyxy=None if self.box_xyxy is None else np.array(self.box_xyxy),
        )


class PredictRequest(PromptFields):
    """A prompt and how to answer it; a preview is dropped where the server is busy."""

    vocabulary: VocabularyText | None = None
    top: Annotated[int, Field(ge=1, le=100)] = 5
    preview: bool = False
    multimask: bool = False


class RunLengths(_Strict):
    """A mask as compressed COCO run lengths; `size` is (height, width)."""

    size: tuple[int, int]
    counts: str


class LabelReply(_Strict):
    """A class name and its score in [0, 1]."""

    name: str
    score: float


class ObjectReply(_Strict):
    """One answered prompt, in the layout of `objects` in `ovsam segment --json`."""

    prompt: PromptFields
    segmentation: RunLengths
    box_xyxy: BoxXYXY
    mask_score: float | None
    labels: list[LabelReply]
    none_of_these: bool
    none_score: float
    kind: LabelReply | None
    calibrated: bool

    @classmethod
    def of(cls, prompt: Prompt, prediction: Prediction) -> ObjectReply:
        """The best mask of a prediction, with its names."""
        return cls.model_validate(object_to_json(prompt, prediction))
