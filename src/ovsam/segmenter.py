"""What the page needs of a predictor. `ovsam.Predictor` is one; tests use a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovsam.structures import Prediction, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary


class Segmenter(Protocol):
    """Encodes a photo once and answers prompts about it.

    The encoded image is opaque here, so its type is `Any`: the page only holds it.
    """

    @property
    def name(self) -> str:
        """The model's name, as shown to people."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The class names used where a request names none."""
        ...

    def encode(self, image: NDArray[np.uint8], /) -> Any:
        """Encode an RGB photo `(H, W, 3)`; the result serves any number of prompts and threads."""
        ...

    def predict(
        self,
        encoded: Any,
        prompts: Prompt | Sequence[Prompt],
        /,
        *,
        vocabulary: Vocabulary | None = None,
        multimask: bool = False,
        top: int = 5,
    ) -> list[Prediction]:
        """Answer each prompt."""
        ...

    def prepare(self, vocabulary: Vocabulary, /) -> Vocabulary:
        """Compute the text embeddings of a vocabulary ahead of its first use; see its `notes`."""
        ...
