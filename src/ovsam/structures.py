"""What goes in and what comes out: `Prompt`, `Names`, `Prediction`, validated and frozen.

All coordinates are pixels of the photo as a person sees it: x to the right, y down, the top-left
corner of the top-left pixel is (0, 0), the bottom-right corner of the photo is (width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.errors import PromptError, quoted

LARGEST = 1e9  # no coordinate and no logit is larger: float32 has room to compute with them
MOST_POINTS = 1000  # of one prompt: memory grows with their square
MOST_LOGITS = 4096**2  # of one coarse mask


class Label(NamedTuple):
    """A class name and its score in [0, 1]; the scores of a whole vocabulary sum to at most 1."""

    name: str
    score: float


def frozen_array(value: ArrayLike, dtype: type) -> NDArray[Any]:
    """A read-only array, row by row in memory: the given one if it is that and owns its memory.

    Anything else is copied: the caller's array stays writable, ours does not.
    """
    if type(value) is np.ndarray and value.dtype == dtype:
        flags = value.flags
        if flags.owndata and flags.c_contiguous and not flags.writeable:
            return value
    array: NDArray[Any] = np.array(value, dtype=dtype, order="C")
    array.setflags(write=False)
    return array


def _real_array(name: str, value: ArrayLike, most: int, kinds: str = "iuf") -> NDArray[np.float64]:
    """A new read-only array of at most `most` numbers; what is none is not turned into one."""
    try:
        array = np.asarray(value)
        if array.dtype == object and array.size <= most:  # as table libraries give rows
            array = np.array([_real(number) for number in array.flat]).reshape(array.shape)
        # Text, truth values, dates and complex numbers would become numbers without a word.
        if not array.size:
            array = np.zeros(array.shape)
        if array.dtype.kind not in kinds:
            raise TypeError(array.dtype)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # of tensors, Runtime
        raise PromptError(f"{name} must be an array of numbers, got {quoted(value)}.") from error
    if array.size > most:
        raise PromptError(f"{name} must have at most {most:,} numbers, got {array.size:,}.")
    if np.ma.is_masked(value):
        raise PromptError(f"{name} must not have masked values, got {quoted(value)}.")
    with np.errstate(over="ignore"):  # of long doubles
        return frozen_array(array, np.float64)


def _numbers(name: str, value: ArrayLike, most: int) -> NDArray[np.float64]:
    """The same, of finite numbers that are not too large to compute with."""
    array = _real_array(name, value, most)
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers, got {quoted(array.tolist())}.")
    if (np.abs(array) > LARGEST).any():
        raise PromptError(
            f"{name} must lie between -{LARGEST:,.0f} and {LARGEST:,.0f}, "
            f"got {quoted(array.tolist())}."
        )
    return array


def _real(number: object) -> float:
    if not isinstance(number, Real) or isinstance(number, bool):
        raise TypeError(type(number))
    return float(number)


@dataclass(frozen=True, eq=False)
class Prompt:
    """One object, pointed at: any mix of points, a box and a coarse mask; at least one of them.

    Attributes:
        points_xy: `(N, 2)` photo pixels, 1,000 points at most; empty `(0, 2)` when there are none.
        point_labels: `(N,)`, 1 = on the object, 0 = not on it. All ones when left out.
        box_xyxy: `(4,)` photo pixels (x0, y0, x1, y1) with x0 < x1 and y0 < y1, or None. It may
            stick out of the photo; the part within is what counts.
        mask_logits: `(L, L)` coarse mask in the model's low-resolution frame, as
            `Prediction.low_res_logits` gives it (positive = object), or None.

    No number is beyond a thousand million either way.

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

    known_labels: ClassVar[tuple[int, ...]] = (0, 1)

    points_xy: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    point_labels: NDArray[np.int64] = None  # type: ignore[assignment]  # made in __post_init__
    box_xyxy: NDArray[np.float64] | None = None
    mask_logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        points = _numbers("points_xy", self.points_xy, 2 * MOST_POINTS)
        if points.size == 0:
            points = frozen_array(np.zeros((0, 2)), np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise PromptError(
                f"points_xy must have shape (N, 2), got {points.shape}. "
                "Wrap a single point: [[x, y]]."
            )
        given = np.ones(len(points)) if self.point_labels is None else self.point_labels
        labels = _checked_labels(given, len(points), self.known_labels)
        object.__setattr__(self, "points_xy", points)
        object.__setattr__(self, "point_labels", labels)
        if self.box_xyxy is not None:
            object.__setattr__(self, "box_xyxy", checked_box_xyxy("box_xyxy", self.box_xyxy))
        if self.mask_logits is not None:
            mask = _numbers("mask_logits", self.mask_logits, MOST_LOGITS)
            if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not mask.size:
                raise PromptError(
                    "mask_logits must have shape (L, L), low-resolution logits as a prediction "
                    f"gives them, got {mask.shape}."
                )
            object.__setattr__(self, "mask_logits", frozen_array(mask, np.float32))
        if not len(points) and self.box_xyxy is None and self.mask_logits is None:
            raise PromptError("A prompt needs a point, a box or a mask, got none of them.")

    def check_inside(self, size_hw: tuple[int, int]) -> None:
        """Raise `PromptError` unless points and box lie on a photo of `size_hw` pixels.

        A box may stick out (detectors' boxes do) as long as it covers a part of the photo.
        """
        height, width = size_hw
        for x, y in self.points_xy:
            if not (0 <= x <= width and 0 <= y <= height):
                raise point_outside(x, y, size_hw)
        if self.box_xyxy is not None:
            x0, y0, x1, y1 = self.box_xyxy
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise PromptError(
                    f"Box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is outside the photo, which is {width} "
                    f"pixels wide and {height} high."
                )

    def clipped(self, size_hw: tuple[int, int]) -> Prompt:
        """The same with the part of the box that lies on a photo of `size_hw` pixels.

        Raises:
            PromptError: see `check_inside`.
        """
        from ovsam.geometry import clip_box_xyxy  # not above: it brings OpenCV along

        self.check_inside(size_hw)
        if self.box_xyxy is None:
            return self
        return replace(self, box_xyxy=clip_box_xyxy(self.box_xyxy, size_hw))

    def looks_normalised(self, size_hw: tuple[int, int]) -> bool:
        """Whether its coordinates look like shares of the photo's sides instead of pixels.

        A box within the photo's first pixel does, or points there that are not all whole numbers,
        unless that pixel is all of the photo.
        """
        corners = self.points_xy
        if self.box_xyxy is not None:
            corners = np.concatenate([corners, self.box_xyxy.reshape(2, 2)])
        if max(size_hw) == 1 or not corners.size or (corners < 0).any() or (corners > 1).any():
            return False
        return self.box_xyxy is not None or bool((corners % 1 != 0).any())


def point_outside(x: float, y: float, size_hw: tuple[int, int]) -> PromptError:
    """What to raise for a point that is not on a photo of `size_hw` pixels."""
    height, width = size_hw
    return PromptError(
        f"Point ({x:g}, {y:g}) is outside the photo, which is {width} pixels wide and "
        f"{height} high."
    )


def _checked_labels(value: ArrayLike, count: int, known: tuple[int, ...]) -> NDArray[np.int64]:
    labels = _real_array("point_labels", value, MOST_POINTS, kinds="iufb")
    if labels.shape != (count,):
        raise PromptError(
            f"point_labels must have shape ({count},), one for each point, got {labels.shape}."
        )
    if not np.isin(labels, known).all():
        raise PromptError(
            "point_labels must be 1 (on the object) or 0 (not on it), "
            f"got {quoted(np.asarray(value).tolist())}."
        )
    checked: NDArray[np.int64] = frozen_array(labels, np.int64)
    return checked


def checked_box_xyxy(name: str, box_xyxy: ArrayLike) -> NDArray[np.float64]:
    """A box `(4,)`, read-only; `name` is what messages call it.

    Raises:
        PromptError: it is none, or of no size.
    """
    box = _numbers(name, box_xyxy, 2 * MOST_POINTS)
    if box.shape != (4,):
        raise PromptError(f"{name} must have shape (4,), x0 y0 x1 y1, got {box.shape}.")
    if box[2] <= box[0] or box[3] <= box[1]:
        raise PromptError(
            f"{name} must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got "
            f"{', '.join(f'{value:g}' for value in box)}. Swap the corners or give it some area."
        )
    return box


@dataclass(frozen=True, eq=False)
class Names:
    """What M regions of a photo are called.

    Attributes:
        labels: for each region, its class names with scores, best first: the best guesses, even
            where `none_of_these` says that they are not good enough; names of score 0 are left
            out.
        none_scores: `(M,)` score of "none of these" in [0, 1]; with those of all classes of the
            vocabulary it sums to 1.
        none_of_these: for each region whether it is none of the vocabulary's classes: its first
            name's score is below the threshold.
        kinds: for each region, where its first name is uncertain, the most specific kind of thing
            that is not, or that is more likely than not, with the sum of the scores of its
            classes: "dog 0.93" for "dalmatian 0.41"; None where the name is certain or no kind is
            so likely.
        calibrated: whether the scores of names are probabilities: the model was calibrated, with
            as many classes as the vocabulary has or up to twice as many. If not they only rank the
            names.
    """

    labels: tuple[tuple[Label, ...], ...]
    none_scores: NDArray[np.float32]
    none_of_these: tuple[bool, ...]
    kinds: tuple[Label | None, ...]
    calibrated: bool

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def name(self) -> str:
        """The best name of the first region, whatever `none_of_these` says; "" where none is."""
        return self.labels[0][0].name if self.labels[0] else ""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one prompt: M masks (1, or 3 with multimask output), best first.

    Attributes:
        masks: `(M, H, W)` bool, photo pixels.
        predicted_iou: `(M,)` the model's own estimate of each mask's IoU, in [0, 1]; NaN where the
            checkpoint has no such head (the authors' release dropped it).
        boxes_xyxy: `(M, 4)` tight box around each mask, max corner exclusive; zeros if empty.
        low_res_logits: `(M, L, L)` logits in the model's low-resolution frame of the whole photo,
            to be given back as `Prompt.mask_logits`.
        labels: for each mask its names, best first; this and what follows as in `Names`.
        none_scores: `(M,)`. Zeros when left out.
        none_of_these: for each mask. All False when left out.
        kinds: for each mask. All None when left out.
        calibrated: whether the scores of names are probabilities.
        logits: `(M, H, W)` what the masks were made from, positive = object, photo pixels; None
            unless they were asked for.
        more_names: the names of the same masks over each further vocabulary that was asked for.
    """

    masks: NDArray[np.bool_]
    predicted_iou: NDArray[np.float32]
    boxes_xyxy: NDArray[np.float64]
    low_res_logits: NDArray[np.float32]
    labels: tuple[tuple[Label, ...], ...]
    none_scores: NDArray[np.float32] = None  # type: ignore[assignment]  # made in __post_init__
    none_of_these: tuple[bool, ...] = ()
    kinds: tuple[Label | None, ...] = ()
    calibrated: bool = False
    logits: NDArray[np.float32] | None = None
    more_names: tuple[Names, ...] = ()

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
            ("predicted_iou", np.float32),
            ("boxes_xyxy", np.float64),
            ("low_res_logits", np.float32),
            ("none_scores", np.float32),
        ):
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype))
        if self.logits is not None:
            object.__setattr__(self, "logits", frozen_array(self.logits, np.float32))
        expected: Sequence[tuple[str, tuple[int, ...]]] = (
            ("predicted_iou", (count,)),
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
    def mask_scores(self) -> NDArray[np.float32]:
        """`predicted_iou` `(M,)`, by the name that SAM has for it."""
        return self.predicted_iou

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The best mask, `(H, W)` bool, photo pixels."""
        mask: NDArray[np.bool_] = self.masks[0]
        return mask

    @property
    def name(self) -> str:
        """The best class name of the best mask, whatever `none_of_these` says; "" where none is."""
        return self.labels[0][0].name if self.labels[0] else ""
