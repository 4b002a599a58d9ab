"""Masks and boxes of the user's own as candidates, so that they can be named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.candidates import Candidates, FramedMasks
from ovsam.errors import PromptError, quoted
from ovsam.geometry import clip_box_xyxy, mask_to_box_xyxy
from ovsam.images.frame import STRIDE, Frame
from ovsam.model.prompt_batch import box_mask_logits, coverage_logits
from ovsam.predictor.views import PROMPTS_AT_ONCE, EncodedImage
from ovsam.predictor.zoom import Zoom
from ovsam.structures import Prompt, checked_box_xyxy


def candidates_to_name(
    encoded: EncodedImage,
    given: Candidates | ArrayLike | Sequence[Candidates | ArrayLike],
    zoom: Zoom | None,
) -> list[Candidates]:
    """One or several masks or boxes, as the model sees them.

    Args:
        encoded: the photo.
        given: candidates, masks `(H, W)` bool, boxes `(4,)`, photo pixels.
        zoom: what finds the squares around them; None = they are named in the whole photo.

    Raises:
        PromptError: one is none of these, lies outside the photo, or has nothing in it.
    """
    try:
        each: list[Any] = [given] if _is_one(given) else list(given)  # type: ignore[arg-type]
    except (TypeError, RuntimeError) as error:  # the latter of tensors with gradients
        raise _not_to_name(encoded, given) from error
    return [_as_candidates(encoded, one, zoom) for one in each]


def _is_one(given: object) -> bool:
    """Whether it is to be one item, and not several in a row."""
    if isinstance(given, Candidates | str):
        return True
    if not hasattr(given, "__array__"):  # not a NumPy array, nor a tensor
        items = list(given) if isinstance(given, Sequence) else []
        return bool(items) and all(isinstance(item, Real) for item in items)
    array = np.asarray(given)
    if array.ndim == 2:  # rows of four numbers are boxes
        return array.dtype == np.bool_ or array.shape[1] != 4
    return array.ndim == 1 and array.dtype.kind in "biuf" and array.size > 0


def _as_candidates(
    encoded: EncodedImage, given: Candidates | ArrayLike, zoom: Zoom | None
) -> Candidates:
    if isinstance(given, Candidates):
        if given.photo_frame != encoded.frame:
            raise PromptError(
                "Candidates are named on the photo that they were found on, got those of another "
                "size or model."
            )
        if given.box_xyxy is None:
            return given
        return replace(given, box_xyxy=_box(given.box_xyxy, encoded.size_hw))
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _not_to_name(encoded, given) from error
    if array.shape == (4,):
        box = _box(array, encoded.size_hw)
        logits_in = partial(_box_logits, box)
    elif array.shape == encoded.size_hw and array.dtype == np.bool_:
        if not array.any():
            raise PromptError("A mask to name must have a pixel, got an empty one.")
        box = mask_to_box_xyxy(array)
        logits_in = partial(_mask_logits, array)
    else:
        raise _not_to_name(encoded, array if array.ndim > 1 else given)
    frames = [encoded.frame] if zoom is None else zoom.frames_around(box)
    views = tuple(FramedMasks(frame, logits_in(frame)) for frame in frames)
    unknown = np.full(1, np.nan, np.float32)
    return Candidates(views[0], unknown, encoded.frame, views, box)


def _box(box_xyxy: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The part of a box `(4,)` within the photo."""
    box = checked_box_xyxy("A box to name", box_xyxy)
    Prompt(box_xyxy=box).check_inside(size_hw)
    return clip_box_xyxy(box, size_hw)


def _not_to_name(encoded: EncodedImage, given: object) -> PromptError:
    height, width = encoded.size_hw
    got = quoted(given)
    if isinstance(given, np.ndarray):
        got = f"an array of shape {given.shape} and type {given.dtype}"
    return PromptError(
        f"What to name must be what segment gave, a mask of shape ({height}, {width}) and type "
        f"bool, or a box (4,), got {got}."
    )


def _mask_logits(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.float32]:
    """A mask `(H, W)` as logits `(1, L, L)` in [-4, 4]: how much of each cell is the object's."""
    height, width = frame.low_res_hw
    covered = np.zeros((height * STRIDE, width * STRIDE), np.float32)
    content = frame.cut_mask(mask)
    covered[: content.shape[0], : content.shape[1]] = content
    cells = covered.reshape(height, STRIDE, width, STRIDE).mean((1, 3))
    logits: NDArray[np.float32] = coverage_logits(cells)[None]
    return logits


def _box_logits(box_xyxy: NDArray[np.float64], frame: Frame) -> NDArray[np.float32]:
    """The same of a box `(4,)`, photo pixels."""
    corners = frame.to_model(box_xyxy.reshape(2, 2)).reshape(1, 4)
    return box_mask_logits(corners.astype(np.float32), frame.input_hw)


def grouped(candidates: Sequence[Candidates], zoomed_at_once: int) -> list[Sequence[Candidates]]:
    """Candidates in groups as `find_masks` makes them, so that names are those of `predict`.

    Args:
        candidates: of one photo.
        zoomed_at_once: the size of a group where the model zoomed on any of them.
    """
    zoomed = any(view.frame != each.photo_frame for each in candidates for view in each.views)
    at_once = zoomed_at_once if zoomed else PROMPTS_AT_ONCE
    return [candidates[i : i + at_once] for i in range(0, len(candidates), at_once)]


def boxes_to_name(
    boxes_xyxy: Sequence[ArrayLike] | NDArray[Any] | None,
    prompts: Sequence[Prompt],
    size_hw: tuple[int, int],
) -> Iterator[NDArray[np.float64] | None]:
    """For each prompt the box `(4,)` it is named from, photo pixels; None = that of its mask.

    Args:
        boxes_xyxy: one for each prompt; None = their own boxes.
        prompts: within the photo.
        size_hw: the photo's height and width.

    Raises:
        PromptError: not one good box for each prompt.
    """
    if boxes_xyxy is None:
        return iter([prompt.box_xyxy for prompt in prompts])
    if not isinstance(boxes_xyxy, Iterable):
        raise PromptError(f"name_boxes_xyxy must be boxes, got {quoted(boxes_xyxy)}.")
    boxes = list(boxes_xyxy)
    if len(boxes) != len(prompts):
        raise PromptError(
            f"name_boxes_xyxy must have a box for each of the {len(prompts)} prompts, got "
            f"{len(boxes)}."
        )
    checked = [checked_box_xyxy("Each of name_boxes_xyxy", box) for box in boxes]
    return iter([Prompt(box_xyxy=box).clipped(size_hw).box_xyxy for box in checked])
