"""What a predictor refuses or warns of before it computes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.candidates import SIZES, Size
from ovsam.config import ModelConfig
from ovsam.errors import PhotoError, PromptError, quoted
from ovsam.geometry import DEFAULT_MAX_PIXELS
from ovsam.images.frame import Frame
from ovsam.predictor.views import PROMPTS_AT_ONCE, EncodedImage
from ovsam.structures import Prompt, frozen_array

MOST_BYTES = 2**32  # of all masks of a call with more prompts

_log = logging.getLogger("ovsam.predictor")


def checked_photo(image: ArrayLike) -> NDArray[np.uint8]:
    """A photo `(H, W, 3)`, RGB, uint8, read-only; a copy unless it was so, see `frozen_array`.

    Raises:
        PhotoError: another shape or type.
    """
    photo = np.asarray(image)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise PhotoError(
            "A photo must be an RGB array of shape (H, W, 3) and type uint8, got "
            f"{photo.shape} and {photo.dtype}. Read files with ovsam.read_photo."
        )
    frozen: NDArray[np.uint8] = frozen_array(photo, np.uint8)
    return frozen


def checked_resized(
    pixels: NDArray[np.float32], size_hw: tuple[int, int], config: ModelConfig
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A photo `(3, h, w)` that was resized for the model, of `size_hw` before.

    Returns:
        The photo brought back to its size, `(H, W, 3)` uint8, read-only; and `(h, w, 3)`.

    Raises:
        PhotoError: another shape, other values, or a photo of too many pixels.
    """
    if min(size_hw) < 1 or size_hw[0] * size_hw[1] > DEFAULT_MAX_PIXELS:
        raise PhotoError(
            f"A photo must have 1 to {DEFAULT_MAX_PIXELS:,} pixels, got "
            f"{quoted(size_hw[1])} x {quoted(size_hw[0])}."
        )
    expected = (3, *Frame.whole_photo(size_hw, config.image_size).content_hw)
    if pixels.shape != expected:
        raise PhotoError(
            f"A photo of {size_hw[1]} x {size_hw[0]} pixels must have been resized to shape "
            f"{expected} for {config.name}, got {pixels.shape}."
        )
    if not ((pixels >= 0) & (pixels <= 255)).all():  # nor is NaN
        raise PhotoError("A photo's values must lie between 0 and 255: do not normalise them.")
    content = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    seen = content.round().astype(np.uint8)
    return checked_photo(cv2.resize(seen, size_hw[::-1], interpolation=cv2.INTER_LINEAR)), content


def check_encoded(encoded: object, verb: str) -> None:
    """Refuse what `encode` did not make.

    Raises:
        PhotoError: says what to do instead of giving it to `verb`.
    """
    if not isinstance(encoded, EncodedImage):
        raise PhotoError(
            f"{verb} takes what encode made of a photo, got {type(encoded).__name__}. Encode "
            "the photo first."
        )


def checked_prompts(
    encoded: EncodedImage,
    prompts: Prompt | Sequence[Prompt],
    config: ModelConfig,
    *,
    multimask: bool,
    paints: bool,
) -> list[Prompt]:
    """Prompts with the part of their boxes that is on the photo.

    A warning is logged where coordinates look like shares of the photo's sides.

    Args:
        encoded: the photo.
        prompts: one or several.
        config: the model's.
        multimask: whether three masks are made for each.
        paints: whether these are painted at the photo's size.

    Raises:
        PhotoError: `encoded` is not what `encode` made.
        PromptError: one is no prompt, lies outside the photo or has a mask of another resolution,
            there are too many, or the checkpoint has no multimask output.
    """
    check_encoded(encoded, "predict" if paints else "segment")
    if not isinstance(prompts, Iterable):  # nor is a prompt one
        prompts = [prompts]
    prompts = list(prompts)
    if multimask and config.decoder.mask_tokens == 1:
        raise PromptError(
            f"{config.name} has no multimask output: its checkpoint keeps one mask token. "
            "Ask for a single mask, or convert it with SAM's own decoder."
        )
    low_res = encoded.frame.low_res_hw
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise PromptError(f"prompts must each be an ovsam.Prompt, got {quoted(prompt)}.")
        if prompt.mask_logits is not None and prompt.mask_logits.shape != low_res:
            raise PromptError(
                f"mask_logits must have shape {low_res} for {config.name}, "
                f"got {prompt.mask_logits.shape}. Pass on a prediction's low_res_logits."
            )
    check_memory(encoded, len(prompts), multimask=multimask, paints=paints)
    warn_of_normalised(prompts, encoded.size_hw)
    return [prompt.clipped(encoded.size_hw) for prompt in prompts]


def checked_size(size: object, *, multimask: bool = False) -> Size:
    """The size; refuse what is no size, or one beside `multimask`.

    Raises:
        PromptError: says what to do instead.
    """
    found = next((each for each in SIZES if each == size), None)
    if found is None:
        raise PromptError(f"size must be one of {', '.join(SIZES)}, got {quoted(size)}.")
    if multimask:
        raise PromptError(
            "multimask asks for three masks and size for one: leave one of them out. sizes(...) "
            "gives those of every size."
        )
    return found


def check_clicks(prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that say themselves how large the object is.

    Raises:
        PromptError: says what to do instead.
    """
    for prompt in prompts:
        what = "box" if prompt.box_xyxy is not None else "mask"
        if prompt.box_xyxy is not None or prompt.mask_logits is not None:
            raise PromptError(
                f"A size is for clicks, which may mean a part or the whole; a {what} says itself "
                "how large the object is. Give points alone, or leave the size out."
            )


def check_memory(encoded: EncodedImage, count: int, *, multimask: bool, paints: bool) -> None:
    """Refuse so many prompts that their masks do not fit; see `checked_prompts`."""
    (height, width), (low_h, low_w) = encoded.size_hw, encoded.frame.low_res_hw
    bytes_of_one = 4 * low_h * low_w + (height * width if paints else 0)
    most = max(MOST_BYTES // ((3 if multimask else 1) * bytes_of_one), PROMPTS_AT_ONCE)
    if count > most:
        raise PromptError(
            f"The masks of {count:,} prompts on a photo of {width} x {height} pixels "
            f"take too much memory at once. Ask for {most:,} at a time."
        )


def warn_of_normalised(prompts: Sequence[Prompt], size_hw: tuple[int, int]) -> None:
    """Warn where coordinates look like shares of a photo's sides."""
    for prompt in prompts:
        if prompt.looks_normalised(size_hw):
            corners = prompt.points_xy if prompt.box_xyxy is None else prompt.box_xyxy
            _log.warning(
                "The coordinates %s lie between 0 and 1 on a photo of %d x %d pixels: they are "
                "read as pixels. If they are shares of its width and height, multiply them by "
                "these.",
                ", ".join(f"{value:g}" for value in corners.ravel()[:4]),
                size_hw[1],
                size_hw[0],
            )
            return
