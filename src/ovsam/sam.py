"""SAM's familiar interface, so that code written for `segment_anything` runs after one change.

    from segment_anything import SamPredictor, sam_model_registry    # before
    from ovsam.sam import SamPredictor, sam_model_registry           # after

It keeps state, as SAM's does; for servers and threads use `ovsam.load` and its predictor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.errors import OvsamError, PromptError
from ovsam.predictor import EncodedImage, Predictor, load
from ovsam.structures import Label, Prediction, Prompt


class Sam:
    """What `sam_model_registry` gives: a model that `SamPredictor` wraps, with `to` and `eval`."""

    def __init__(self, checkpoint: str | Path | None = None, device: str = "cpu") -> None:
        self._checkpoint = checkpoint if checkpoint is not None else "lite"
        self.device = device
        self._predictor: Predictor | None = None

    def to(self, device: Any = "cpu") -> Sam:
        """Choose the device; the model is loaded there when it is first used."""
        self.device, self._predictor = str(device), None
        return self

    def eval(self) -> Sam:
        """Do nothing: the model never trains here."""
        return self

    @property
    def predictor(self) -> Predictor:
        """The predictor behind it."""
        if self._predictor is None:
            self._predictor = load(self._checkpoint, device=self.device)
        return self._predictor


sam_model_registry: Mapping[str, Any] = {
    # SAM's own names load the checkpoint they are given, or `lite` without one.
    **dict.fromkeys(("default", "vit_h", "vit_l", "vit_b", "lite"), Sam),
    "rn50x16-coco": partial(Sam, "rn50x16-coco"),
    "rn50x16-lvis": partial(Sam, "rn50x16-lvis"),
}


class SamPredictor:
    """`segment_anything.SamPredictor` on an ovsam model; names come on top in `labels`.

    Args:
        sam_model: what `sam_model_registry` gave, or a predictor of `ovsam.load`.
    """

    def __init__(self, sam_model: Sam | Predictor) -> None:
        self._predictor = sam_model if isinstance(sam_model, Predictor) else sam_model.predictor
        self._encoded: EncodedImage | None = None
        self._prediction: Prediction | None = None

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode a photo `(H, W, 3)`, uint8, "RGB" or "BGR"."""
        if image_format not in ("RGB", "BGR"):
            raise OvsamError(f"image_format must be 'RGB' or 'BGR', got {image_format!r}.")
        self.reset_image()
        self._encoded = self._predictor.encode(image[..., ::-1] if image_format == "BGR" else image)

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Predict masks for one object, as SAM does.

        Args:
            point_coords: `(N, 2)` pixels, x and y counted from 0, as SAM has it: (3, 5) is the
                centre of the fourth pixel of the sixth row.
            point_labels: `(N,)` 1 or 0.
            box: `(4,)` xyxy.
            mask_input: `(1, L, L)` low-resolution logits of a prediction before.
            multimask_output: three masks instead of one.
            return_logits: not offered; masks are bool.

        Returns:
            Masks `(M, H, W)` bool, scores `(M,)`, low-resolution logits `(M, L, L)`. Unlike SAM's,
            the three masks come best first; their names are in `labels`.
        """
        if return_logits:
            raise PromptError("return_logits=True is not offered: use the low-resolution logits.")
        encoded = self._require_image()
        points, labels = np.zeros((0, 2)), np.zeros(0, np.int64)
        if point_coords is not None:
            if point_labels is None:
                raise PromptError("point_labels must be given with point_coords, got none.")
            points, labels = np.asarray(point_coords, float), np.asarray(point_labels)
        prompt = Prompt(
            points_xy=_as_distances(points, encoded),
            point_labels=labels,
            box_xyxy=None if box is None else np.asarray(box, float).reshape(-1),
            mask_logits=None if mask_input is None else np.asarray(mask_input)[0],
        )
        [found] = self._predictor.predict(encoded, prompt, multimask=multimask_output)
        self._prediction = found
        return found.masks.copy(), found.mask_scores.copy(), found.low_res_logits.copy()

    @property
    def labels(self) -> tuple[tuple[Label, ...], ...]:
        """For each mask of the last `predict` its names, best first: what SAM does not have."""
        if self._prediction is None:
            raise PromptError("There are no labels before predict(...) was called.")
        return self._prediction.labels

    def get_image_embedding(self) -> Any:
        """The embedding `(1, C, h, w)` of the photo, a tensor."""
        return self._require_image().features.embedding

    @property
    def device(self) -> Any:
        """Where the model computes."""
        return self._predictor.device

    @property
    def is_image_set(self) -> bool:
        """Whether `set_image` was called."""
        return self._encoded is not None

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self._require_image().size_hw

    def reset_image(self) -> None:
        """Forget the photo."""
        self._encoded = self._prediction = None

    def _require_image(self) -> EncodedImage:
        if self._encoded is None:
            raise PromptError("An image must be set with .set_image(...) before mask prediction.")
        return self._encoded


def _as_distances(points_xy: NDArray[np.float64], encoded: EncodedImage) -> NDArray[np.float64]:
    """SAM's points, whose half pixel is one of the model's -> ours; the last pixels stay inside."""
    if points_xy.shape[-1:] != (2,):
        return points_xy  # `Prompt` says what is wrong
    edge = np.array(encoded.size_hw[::-1], float)
    shifted = np.minimum(points_xy + 0.5 / encoded.frame.scale_xy, edge)
    return np.where(points_xy <= edge, shifted, points_xy)
