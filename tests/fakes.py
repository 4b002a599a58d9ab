"""A predictor without a model, for tests of what surrounds one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.config import CalibrationConfig
from ovsam.structures import Label, Prediction, Prompt
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor


@dataclass(frozen=True)
class FakeEncodedImage:
    size_hw: tuple[int, int]


@dataclass
class FakePredictor:
    """Answers a box with the box, points with a disk around the first one.

    The object's name is the vocabulary's first class, or `answers[i]` for the i-th prompt.
    """

    vocabulary: Vocabulary = field(default_factory=lambda: load_vocabulary("cat, dog, coffee mug"))
    name: str = "fake"
    device: str = "cpu"
    fingerprint: str = "f00d"
    zoom: bool = False
    has_mask_scores: bool = True
    has_oracle: bool = False
    mask_tokens: int = 4
    radius: float = 10.0
    answers: Sequence[str] = ()
    kind: Label | None = None
    calibrated: bool = False
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    image_size: int = 512
    encode_calls: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    named: list[ArrayLike] = field(default_factory=list)

    def as_predictor(self) -> Predictor:
        """Itself, for functions that ask for the real class."""
        return cast("Predictor", self)

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(
            name=self.name, image_size=self.image_size, calibration=self.calibration
        )

    def prepare(
        self,
        vocabulary: Vocabulary | str | Sequence[str] | None = None,
        progress: object = None,  # noqa: ARG002
    ) -> Vocabulary:
        return self.vocabulary if vocabulary is None else load_vocabulary(vocabulary)

    def encode(self, image: NDArray[np.uint8]) -> FakeEncodedImage:
        self.encode_calls += 1
        return FakeEncodedImage((image.shape[0], image.shape[1]))

    def predict(
        self,
        encoded: FakeEncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        vocabulary: Vocabulary | str | Sequence[str] | None = None,
        multimask: bool = False,
        top: int = 5,
        zoom: bool | None = None,  # noqa: ARG002
        threshold: float | None = None,
        name_boxes_xyxy: Sequence[ArrayLike] | None = None,
        right_names: Sequence[str] | None = None,  # noqa: ARG002
    ) -> list[Prediction]:
        classes = (self.vocabulary if vocabulary is None else load_vocabulary(vocabulary)).classes
        prompts = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        self.prompts += prompts
        self.named += name_boxes_xyxy or []
        return [
            self._predict_one(
                encoded, prompt, self._labels(classes, index)[:top], multimask, threshold
            )
            for index, prompt in enumerate(prompts)
        ]

    def _labels(self, classes: tuple[str, ...], index: int) -> tuple[Label, ...]:
        first = self.answers[index] if index < len(self.answers) else classes[0]
        ranked = [first, *(name for name in classes if name != first)]
        return tuple(Label(name, 0.5 / 2**rank) for rank, name in enumerate(ranked))

    def _predict_one(
        self,
        encoded: FakeEncodedImage,
        prompt: Prompt,
        labels: tuple[Label, ...],
        multimask: bool,
        threshold: float | None,
    ) -> Prediction:
        prompt.check_inside(encoded.size_hw)
        mask = self._mask(encoded.size_hw, prompt)
        rows, columns = np.nonzero(mask)
        box = np.zeros(4)
        if len(rows):
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        count = 3 if multimask else 1
        score = 0.9 if self.has_mask_scores else np.nan
        return Prediction(
            masks=np.stack([mask] * count),
            mask_scores=np.full(count, score, dtype=np.float32),
            boxes_xyxy=np.stack([box] * count).astype(np.float64),
            low_res_logits=np.zeros((count, 16, 16), dtype=np.float32),
            labels=(labels,) * count,
            kinds=(self.kind,) * count,
            calibrated=self.calibrated,
            none_of_these=(labels[0].score < (threshold or 0),) * count,
        )

    def _mask(self, size_hw: tuple[int, int], prompt: Prompt) -> NDArray[np.bool_]:
        height, width = size_hw
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        if prompt.box_xyxy is not None:
            x0, y0, x1, y1 = prompt.box_xyxy
            box: NDArray[np.bool_] = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            return box
        if not len(prompt.points_xy):
            return np.ones(size_hw, dtype=bool)
        centre_x, centre_y = prompt.points_xy[0]
        disk: NDArray[np.bool_] = np.hypot(x - centre_x, y - centre_y) <= self.radius
        return disk
