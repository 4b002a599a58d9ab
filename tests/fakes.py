"""A predictor without a model, for tests of what surrounds one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.candidates import Candidates, FramedMasks, Size, Sizes
from ovsam.config import CalibrationConfig, DecoderConfig, ModelConfig
from ovsam.images.frame import STRIDE, Frame
from ovsam.segmenter import Words
from ovsam.structures import Label, Names, Prediction, Prompt
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor


@dataclass(frozen=True)
class FakeEncodedImage:
    size_hw: tuple[int, int]

    @property
    def nbytes(self) -> int:
        return 3 * self.size_hw[0] * self.size_hw[1]


class FakeCandidates(Candidates):
    """Candidates at a low resolution that is the photo's own: nothing is resized."""

    def _painted(
        self, low_res: NDArray[np.float32]
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        height, width = self.size_hw
        return (slice(None), slice(None)), low_res[:height, :width]


@dataclass
class FakePredictor:
    """Answers a box with the box, points with a disk around the first one.

    The name of the i-th object of a call is the vocabulary's first class, or `answers[i]`.
    """

    vocabulary: Vocabulary = field(default_factory=lambda: load_vocabulary("cat, dog, coffee mug"))
    model_name: str = "fake"
    names_objects: bool = True
    device: str = "cpu"
    engine: str = "fake"
    threads: int = 1
    fingerprint: str = "f00d"
    zoom: bool = False
    clean: bool = True
    iou_head: bool = True
    mask_tokens: Literal[1, 4] = 4
    radius: float = 10.0
    answers: Sequence[str] = ()
    kind: Label | None = None
    calibrated: bool = False
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    image_size: int = 512
    encode_calls: int = 0
    prompts: list[Prompt] = field(default_factory=list)
    named: list[ArrayLike] = field(default_factory=list)
    """The boxes that candidates were named from."""

    def as_predictor(self) -> Predictor:
        """Itself, for functions that ask for the real class."""
        return cast("Predictor", self)

    @property
    def config(self) -> ModelConfig:
        config = SimpleNamespace(
            name=self.model_name,
            image_size=self.image_size,  # also such as no model has
            calibration=self.calibration,
            decoder=DecoderConfig(mask_tokens=self.mask_tokens, iou_head=self.iou_head),
        )
        return cast("ModelConfig", config)

    def use_threads(self, count: int) -> None:
        self.threads = count

    def prepare(
        self,
        vocabulary: Words | None = None,
        progress: object = None,  # noqa: ARG002
    ) -> Vocabulary:
        assert self.names_objects
        return self.vocabulary if vocabulary is None else load_vocabulary(vocabulary)

    def encode(self, image: NDArray[np.uint8]) -> FakeEncodedImage:
        self.encode_calls += 1
        return FakeEncodedImage((image.shape[0], image.shape[1]))

    def segment(
        self,
        encoded: FakeEncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        multimask: bool = False,
        size: Size | None = None,
        **_: Any,
    ) -> list[Candidates]:
        prompts = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        self.prompts += prompts
        if size is not None:
            return [sizes.of(size) for sizes in self.sizes(encoded, prompts)]
        return [self._candidates(encoded.size_hw, prompt, multimask) for prompt in prompts]

    def sizes(
        self, encoded: FakeEncodedImage, prompts: Prompt | Sequence[Prompt], **_: Any
    ) -> list[Sizes]:
        """Disks of half the radius, of the radius and of twice of it."""
        prompts = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        scaled = [replace(self, radius=self.radius * by) for by in (0.5, 1, 2)]
        return [
            Sizes(tuple(one._candidates(encoded.size_hw, prompt, False) for one in scaled), best=1)
            for prompt in prompts
        ]

    def name(
        self,
        encoded: FakeEncodedImage,  # noqa: ARG002
        masks: Candidates | ArrayLike | Sequence[Candidates | ArrayLike],
        *,
        vocabulary: Words | None = None,
        top: int = 5,
        threshold: float | None = None,
        **_: Any,
    ) -> list[Names]:
        assert self.names_objects
        items = [masks] if isinstance(masks, Candidates) else list(cast("Sequence[Any]", masks))
        boxes = [item.box_xyxy for item in items if isinstance(item, Candidates)]
        self.named += [box for box in boxes if box is not None]
        classes = (self.vocabulary if vocabulary is None else load_vocabulary(vocabulary)).classes
        return [
            self._names(classes, i, top, threshold, len(one) if isinstance(one, Candidates) else 1)
            for i, one in enumerate(items)
        ]

    def predict(
        self,
        encoded: FakeEncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        vocabulary: Words | None = None,
        multimask: bool = False,
        top: int = 5,
        threshold: float | None = None,
        name_boxes_xyxy: Sequence[ArrayLike] | None = None,
        more_vocabularies: Sequence[Words] = (),
        size: Size | None = None,
        **_: Any,
    ) -> list[Prediction]:
        found = self.segment(encoded, prompts, multimask=multimask, size=size)
        self.named += map(np.asarray, name_boxes_xyxy or ())
        words = [self.vocabulary if vocabulary is None else vocabulary, *more_vocabularies]
        lists = [load_vocabulary(one).classes for one in words]
        predictions = []
        for i, candidates in enumerate(found):
            names = [self._names(one, i, top, threshold, len(candidates)) for one in lists]
            painted = candidates.painted(names[0])
            predictions.append(replace(painted, more_names=tuple(names[1:])))
        return predictions

    def _names(
        self, classes: tuple[str, ...], index: int, top: int, threshold: float | None, count: int
    ) -> Names:
        first = self.answers[index] if index < len(self.answers) else classes[0]
        ranked = [first, *(name for name in classes if name != first)][:top]
        labels = tuple(Label(name, 0.5 / 2**rank) for rank, name in enumerate(ranked))
        return Names(
            labels=(labels,) * count,
            none_scores=np.zeros(count, np.float32),
            none_of_these=(labels[0].score < (threshold or 0),) * count,
            kinds=(self.kind,) * count,
            calibrated=self.calibrated,
        )

    def _candidates(self, size_hw: tuple[int, int], prompt: Prompt, multimask: bool) -> Candidates:
        """The mask of a prompt, at a low resolution that is as fine as the photo."""
        prompt.check_inside(size_hw)
        height, width = size_hw
        side, count = max(size_hw), 3 if multimask else 1
        logits = np.full((count, side, side), -10, np.float32)
        logits[:, :height, :width][:, self._mask(size_hw, prompt)] = 10
        frame = Frame.whole_photo(size_hw, STRIDE * side)
        iou = np.full(count, 0.9 if self.iou_head else np.nan, np.float32)
        return FakeCandidates(FramedMasks(frame, logits), iou, frame, box_xyxy=prompt.box_xyxy)

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
