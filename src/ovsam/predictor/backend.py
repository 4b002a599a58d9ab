"""What computes a model's three steps. `onnx_backend.py` is one, `torch_backend.py` another.

Numpy arrays go in and come out. What a backend makes of a photo (`Features`) and what a text model
makes of a vocabulary (prototypes) stays where the backend has it: nothing above looks into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovsam.model.prompt_batch import PromptBatch


class Features(Protocol):
    """What a backend made of a batch of pictures; only the backend looks into it."""

    @property
    def nbytes(self) -> int:
        """The memory that they take."""

    def split(self) -> Sequence[Features]:
        """Those of each picture alone, none of which keeps the others in memory."""


class Backend(Protocol):
    """Encodes squares of photos, decodes prompts, and scores classes; safe to share by threads."""

    @property
    def engine(self) -> str:
        """What computes: "torch", ..."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda:0", ..."""

    @property
    def threads(self) -> int:
        """How many of the processor's threads it computes with."""

    def use_threads(self, count: int) -> None:
        """Compute with so many of them from now on, in all of this process."""

    @property
    def fingerprint(self) -> str:
        """What tells the weights from all others."""

    def encode(
        self,
        contents: Sequence[NDArray[Any]],
        input_hw: tuple[int, int],
        *,
        masked: bool = True,
        named: bool = True,
    ) -> Features:
        """Encode a batch of B pictures, all that does not depend on prompts.

        Args:
            contents: each `(h, w, 3)` RGB, 0 to 255.
            input_hw: (H, W) of the model's input, which pictures are padded to.
            masked: whether prompts will be decoded.
            named: whether regions will be scored.

        Returns:
            Features for `decode` and `score`.
        """

    def decode(
        self, features: Any, prompts: PromptBatch[NDArray[Any]], index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The masks of N prompts of one kind.

        Args:
            features: of B pictures.
            prompts: in model pixels; coordinates are float64, labels int64, masks float32.
            index: `(N,)` which picture each prompt is about.

        Returns:
            Mask logits `(N, T, H / 4, W / 4)`, the clear answer first, then the alternatives, and
            predicted IoU `(N, T)`, NaN where the model does not estimate it.
        """

    def score(
        self,
        features: Any,
        boxes_xyxy: NDArray[np.float64],
        mask_logits: NDArray[np.float32],
        index: NDArray[np.int64],
        prototypes: Any,
        photo: Any,
        photo_hw: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """How well each class fits N regions.

        Args:
            features: of B pictures.
            boxes_xyxy: `(N, 4)` model pixels.
            mask_logits: `(N, H / 4, W / 4)`.
            index: `(N,)` which picture each region is in.
            prototypes: of C classes, made for this backend.
            photo: features of the whole photo, of which the pictures may be parts.
            photo_hw: `(N, 2)` its height and width in the model pixels of each region's picture.

        Returns:
            Log probabilities `(N, C + 1)`, background last; -inf where a class may not be the
            answer.
        """
