"""What web, evaluation, jobs and tests ask of a predictor; `ovsam.Predictor` is one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.candidates import Candidates, Size, Sizes
from ovsam.config import ModelConfig
from ovsam.structures import Names, Prediction, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

Words = Vocabulary | str | Sequence[str]
"""A built-in vocabulary's name, a file, a comma list, names, or a `Vocabulary`."""


class Computer(Protocol):
    """What the digits of a model depend on, or of several models that work together."""

    @property
    def model_name(self) -> str:
        """The model's name, as shown to people."""

    @property
    def fingerprint(self) -> str:
        """What tells two models of one name apart."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda:0", ..."""

    @property
    def threads(self) -> int:
        """How many of the processor's threads it computes with; other numbers round otherwise."""

    def use_threads(self, count: int, /) -> None:
        """Compute with so many of the processor's threads from now on, in all of this process."""


class Segmenter(Computer, Protocol):
    """Encodes a photo once, and tells masks, names, or both; threads may share it.

    The encoded photo is opaque here, so its type is `Any`: callers only hold it, and may ask for
    its `size_hw` and `nbytes`.
    """

    @property
    def config(self) -> ModelConfig:
        """The model's numbers."""

    @property
    def names_objects(self) -> bool:
        """Whether it has names, too. If not, `segment` is all it does: the others raise."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The class names used where a call gives none."""

    @property
    def zoom(self) -> bool:
        """Whether it zooms where a call does not say."""

    @property
    def clean(self) -> bool:
        """Whether masks come without specks and small holes."""

    def encode(self, image: NDArray[np.uint8], /) -> Any:
        """Encode an RGB photo `(H, W, 3)`; the result serves any number of prompts and threads."""

    def segment(
        self,
        encoded: Any,
        prompts: Prompt | Sequence[Prompt],
        /,
        *,
        multimask: bool = False,
        size: Size | None = None,
        zoom: bool | None = None,
    ) -> list[Candidates]:
        """Masks for each prompt; no text model and no vocabulary is needed."""

    def sizes(
        self, encoded: Any, prompts: Prompt | Sequence[Prompt], /, *, zoom: bool | None = None
    ) -> list[Sizes]:
        """For each click all that it may mean: a part, a thing, what it is part of."""

    def name(
        self,
        encoded: Any,
        masks: Candidates | ArrayLike | Sequence[Candidates | ArrayLike],
        /,
        *,
        vocabulary: Words | None = None,
        top: int = 5,
        threshold: float | None = None,
        zoom: bool | None = None,
    ) -> list[Names]:
        """Names for each item of `masks`: candidates, masks `(H, W)` bool, boxes `(4,)`.

        Candidates are named from their `box_xyxy`, the prompt's own box, or else from the box of
        each mask. To name what is in another box, as an annotated one, with the masks as they are,
        put it in its place: `dataclasses.replace(candidates, box_xyxy=box)`.
        """

    def predict(
        self,
        encoded: Any,
        prompts: Prompt | Sequence[Prompt],
        /,
        *,
        vocabulary: Words | None = None,
        multimask: bool = False,
        size: Size | None = None,
        top: int = 5,
        zoom: bool | None = None,
        threshold: float | None = None,
        name_boxes_xyxy: Sequence[ArrayLike] | None = None,
        more_vocabularies: Sequence[Words] = (),
    ) -> list[Prediction]:
        """Masks and names for each prompt, painted: quicker than the two verbs one by one.

        `name_boxes_xyxy` has for each prompt the box `(4,)`, photo pixels, that is named in place
        of its own. `more_vocabularies` name the same masks, too: `Prediction.more_names`.
        """

    def prepare(
        self,
        vocabulary: Words | None = None,
        progress: Callable[[int, int], None] | None = None,
        /,
    ) -> Vocabulary:
        """Compute the text embeddings of a vocabulary ahead of its first use; see its `notes`."""
