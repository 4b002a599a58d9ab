"""What goes in and what comes out: `Prompt` and `Prediction`, validated and frozen.

All coordinates are pixels of the photo as a person sees it: x to the right, y down, the top-left
corner of the top-left pixel is (0, 0), the bottom-right corner of the photo is (width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.errors import PromptError


class Label(NamedTuple):
    """A class name and its score in [0, 1]; the scores of a whole vocabulary sum to at most 1."""

    name: str
    score: float


def _frozen_array(value: ArrayLike, dtype: type) -> NDArray[Any]:
    # A copy: the caller's array stays writable, ours does not.
    array: NDArray[Any] = np.array(value, dtype=dtype)
    array.setflags(write=False)
    return array


def _numbers(name: str, value: ArrayLike, dtype: type) -> NDArray[Any]:
    try:
        array = _frozen_array(value, dtype)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be an array of numbers, got {value!r:.80}.") from error
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers, got {array.tolist()!s:.80}.")
    return array


@dataclass(frozen=True, eq=False)
class Prompt:
    """One object, pointed at: any mix of points, a box and a coarse mask; at least one of them.

    Attributes:
        points_xy: `(N, 2)` photo pixels; empty `(0, 2)` when there are none.
        point_labels: `(N,)`, 1 = on the object, 0 = not on it. All ones when left out.
        box_xyxy: `(4,)` photo pixels (x0, y0, x1, y1) with x0 < x1 and y0 < y1, or None.
        mask_logits: `(L, L)` coarse mask in the model's low-resolution frame, as
            `Prediction.low_res_logits` gives it (positive = object), or None.

    Raises:
        PromptError: a shape, a value or a combination that is not a prompt.
    """

    if TYPE_CHECKING:  # arrays come out, but anything like one may go in

        def __init__(
            self,
            points_xy: ArrayLike = ...,
            point_labels: ArrayLike | None = None,
            box_xyxy: ArrayLike | None = None,
            mask_logits: ArrayLike | None = None,
        ) -> None: ...

    points_xy: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    point_labels: NDArray[np.int64] = None  # type: ignore[assignment]  # made in __post_init__
    box_xyxy: NDArray[np.float64] | None = None
    mask_logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        points = _numbers("points_xy", self.points_xy, np.float64)
        if points.size == 0:
            points = _frozen_array(np.zeros((0, 2)), np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise PromptError(
                f"points_xy must have shape (N, 2), got {points.shape}. "
                "Wrap a single point: [[x, y]]."
            )
        raw_labels = np.ones(len(points)) if self.point_labels is None else self.point_labels
        labels = np.asarray(raw_labels)
        if labels.shape != (len(points),):
            raise PromptError(
                f"point_labels must have shape ({len(points)},), one for each point, "
                f"got {labels.shape}."
            )
        if not np.isin(labels, (0, 1)).all():
            raise PromptError(
                f"point_labels must be 1 (on the object) or 0 (not on it), got {labels.tolist()}."
            )
        object.__setattr__(self, "points_xy", points)
        object.__setattr__(self, "point_labels", _frozen_array(labels, np.int64))
        if self.box_xyxy is not None:
            object.__setattr__(self, "box_xyxy", _checked_box(self.box_xyxy))
        if self.mask_logits is not None:
            mask = _numbers("mask_logits", self.mask_logits, np.float32)
            if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not mask.size:
                raise PromptError(
                    "mask_logits must have shape (L, L), low-resolution logits as a prediction "
                    f"gives them, got {mask.shape}."
                )
            object.__setattr__(self, "mask_logits", mask)
        if not len(points) and self.box_xyxy is None and self.mask_logits is None:
            raise PromptError("A prompt needs a point, a box or a mask, got none of them.")

    def check_inside(self, size_hw: tuple[int, int]) -> None:
        """Raise `PromptError` unless points and box lie on a photo of `size_hw` pixels.

        A box may stick out (detectors' boxes do) as long as it covers a part of the photo.
        """
        height, width = size_hw
        for x, y in self.points_xy:
            if not (0 <= x <= width and 0 <= y <= height):
                raise PromptError(
                    f"Point ({x:g}, {y:g}) is outside the photo, which is {width} pixels wide and "
                    f"{height} high."
                )
        if self.box_xyxy is not None:
            x0, y0, x1, y1 = self.box_xyxy
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise PromptError(
                    f"Box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is outside the photo, which is {width} "
                    f"pixels wide and {height} high."
                )


def _checked_box(box_xyxy: ArrayLike) -> NDArray[Any]:
    box = _numbers("box_xyxy", box_xyxy, np.float64)
    if box.shape != (4,):
        raise PromptError(f"box_xyxy must have shape (4,), x0 y0 x1 y1, got {box.shape}.")
    if box[2] <= box[0] or box[3] <= box[1]:
        raise PromptError(
            "box_xyxy must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got "
            f"{', '.join(f'{value:g}' for value in box)}. Swap the corners or give it some area."
        )
    return box


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one prompt: M masks (1, or 3 with multimask output), best first.

    Attributes:
        masks: `(M, H, W)` bool, photo pixels.
        mask_scores: `(M,)` the model's own estimate of each mask's IoU, in [0, 1]; NaN where the
            checkpoint has no such head (the authors' release dropped it).
        boxes_xyxy: `(M, 4)` tight box around each mask, max corner exclusive; zeros if empty.
        low_res_logits: `(M, L, L)` logits in the model's low-resolution frame of the whole photo,
            to be given back as `Prompt.mask_logits`.
        labels: for each mask, its class names with scores, best first: the best guesses, even
            where `none_of_these` says that they are not good enough; names of score 0 are left
            out, so an oracle that is told nothing gives none.
        none_scores: `(M,)` score of "none of these" in [0, 1]; with those of all classes of the
            vocabulary it sums to 1. Zeros when left out.
        none_of_these: for each mask whether it is none of the vocabulary's classes: its first
            name's score is below the threshold. All False when left out.
        kinds: for each mask, where its first name is uncertain, the most specific kind of thing
            that is not, or that is more likely than not, with the sum of the scores of its
            classes: "dog 0.93" for "dalmatian 0.41"; None where the name is certain or no kind is
            so likely. All None when left out.
        calibrated: whether the scores of names are probabilities: the model was calibrated, with
            as many classes as the vocabulary has or up to twice as many. If not they only rank the
            names.
    """

    masks: NDArray[np.bool_]
    mask_scores: NDArray[np.float32]
    boxes_xyxy: NDArray[np.float64]
    low_res_logits: NDArray[np.float32]
    labels: tuple[tuple[Label, ...], ...]
    none_scores: NDArray[np.float32] = None  # type: ignore[assignment]  # made in __post_init__
    none_of_these: tuple[bool, ...] = ()
    kinds: tuple[Label | None, ...] = ()
    calibrated: bool = False

    def __post_init__(self) -> None:
        count = len(self.masks)
        if self.none_scores is None:
            object.__setattr__(self, "none_scores", np.zeros(count))
        if not self.none_of_these:
            object.__setattr__(self, "none_of_these", (False,) * count)
        if not self.kinds:
            object.__setattr__(self, "kinds", (None,) * count)
        for name, dtype in (
            ("masks", np.bool_),
            ("mask_scores", np.float32),
            ("boxes_xyxy", np.float64),
            ("low_res_logits", np.float32),
            ("none_scores", np.float32),
        ):
            object.__setattr__(self, name, _frozen_array(getattr(self, name), dtype))
        expected: Sequence[tuple[str, tuple[int, ...]]] = (
            ("mask_scores", (count,)),
            ("boxes_xyxy", (count, 4)),
            ("none_scores", (count,)),
        )
        for name, shape in expected:
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")
        if self.masks.ndim != 3 or self.low_res_logits.shape[:1] != (count,):
            raise ValueError("masks must be (M, H, W) and low_res_logits (M, L, L)")
        for name in ("labels", "none_of_these", "kinds"):
            if len(getattr(self, name)) != count:
                raise ValueError(
                    f"{name} must have one entry per mask ({count}), got {len(getattr(self, name))}"
                )

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The best mask, `(H, W)` bool, photo pixels."""
        mask: NDArray[np.bool_] = self.masks[0]
        return mask

    @property
    def name(self) -> str:
        """The best class name of the best mask, whatever `none_of_these` says; "" where none is."""
        return self.labels[0][0].name if self.labels[0] else ""
