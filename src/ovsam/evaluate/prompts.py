"""How an annotated instance is pointed at: one kind of prompt, one rule.

| kind | prompt |
| --- | --- |
| `box` | the annotated box |
| `noisy-box` | that box with SAM's noise on each side |
| `point` | the centre of the annotated mask |
| `random-point` | any pixel of the annotated mask, all alike |

`point-true-box` points as `point` does, but what is in the annotated box is named: the protocol of
the authors' release, where the name knows the extent of an object, which a click does not give.

What is drawn at random depends on nothing but the annotation: neither the order of the photos nor
other prompts change it, and two runs give the same digits.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovsam.data.noise import any_pixel_xy, jittered_box
from ovsam.evaluate.kinds import POINTS, PromptKind
from ovsam.formats.annotations import Instance
from ovsam.geometry import clip_box_xyxy, mask_centre_xy
from ovsam.structures import Prompt


def annotated_prompt(
    instance: Instance,
    mask: NDArray[np.bool_] | None,
    kind: PromptKind,
    size_hw: tuple[int, int],
    image_size: int,
) -> Prompt:
    """The prompt of a kind for an instance, in photo pixels.

    Args:
        instance: what is pointed at.
        mask: its annotated mask `(H, W)`; for a box None will do. Where it has no pixel, as that
            of an object thinner than one, a point is the centre of the box's part in the photo.
        kind: see above.
        size_hw: of the photo, in pixels.
        image_size: longest side of the photo as the network sees it, in pixels.

    Raises:
        PromptError: a box that noise is to be put on lies outside the photo.
    """
    if kind not in POINTS:
        exact = Prompt(box_xyxy=np.array(instance.box_xyxy))
        return exact if kind == "box" else _noisy(instance, exact, size_hw)
    if mask is None:
        raise ValueError(f"A {kind} is found on the annotated mask, got none.")
    if not mask.any():
        x0, y0, x1, y1 = clip_box_xyxy(instance.box_xyxy, size_hw)
        return Prompt(points_xy=[[(x0 + x1) / 2, (y0 + y1) / 2]])
    if kind == "point":
        return Prompt(points_xy=centre_point_xy(mask, image_size)[None])
    point = any_pixel_xy(_generator(instance), mask)
    assert point is not None  # the mask has a pixel
    return Prompt(points_xy=point[None])


def centre_point_xy(mask: NDArray[np.bool_], image_size: int) -> NDArray[np.float64]:
    """The mask's centre `(2,)` in photo pixels, found at the size at which the network sees it.

    Args:
        mask: `(H, W)` photo pixels, not empty.
        image_size: longest side of the photo as the network sees it, in pixels.
    """
    height, width = mask.shape
    scale = image_size / max(height, width)
    seen_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = np.asarray(Image.fromarray(mask).resize(seen_wh, Image.Resampling.NEAREST))
    if not seen.any():  # an object too small for the network's grid
        return mask_centre_xy(mask)
    centre_xy: NDArray[np.float64] = mask_centre_xy(seen) * (width, height) / seen_wh
    return centre_xy


def _noisy(instance: Instance, exact: Prompt, size_hw: tuple[int, int]) -> Prompt:
    exact.check_inside(size_hw)  # noise is no reason to accept what is refused without it
    assert exact.box_xyxy is not None
    return Prompt(box_xyxy=jittered_box(_generator(instance), exact.box_xyxy, size_hw))


def _generator(instance: Instance) -> np.random.Generator:
    """Random numbers of this annotation.

    The box takes part beside the id because some layouts number the objects of each photo anew.
    """
    seed = zlib.crc32(f"{instance.id} {instance.box_xyxy}".encode())
    return np.random.default_rng(seed)
