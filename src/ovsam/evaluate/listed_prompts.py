"""Prompts for the objects of a data set's photo, of which some may not be readable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError, OvsamError
from ovsam.evaluate.kinds import POINTS, PromptKind
from ovsam.evaluate.prompts import annotated_prompt
from ovsam.formats.annotations import Instance
from ovsam.formats.listing import ListedPhoto
from ovsam.images.read import read_photo
from ovsam.structures import Prompt


def prompted_photo(
    photo: ListedPhoto,
    kind: PromptKind,
    image_size: int,
    objects: int | None,
    problems: list[str],
) -> tuple[NDArray[np.uint8], list[Prompt], list[Instance]] | None:
    """The photo `(H, W, 3)`, a prompt for each object, and these; None where there is none.

    What cannot be read is added to `problems`.
    """
    problems += photo.problems
    if not photo.instances:
        return None
    try:
        pixels = read_photo(photo.open())
        photo.check_size((pixels.shape[0], pixels.shape[1]))
    except AnnotationError as error:
        problems.append(str(error))
        return None
    except OvsamError as error:
        problems.append(str(error) if photo.member is None else f"'{photo.name}': {error}")
        return None
    size_hw = pixels.shape[0], pixels.shape[1]
    prompts, prompted = [], []
    for instance in largest(photo.instances, objects):
        try:
            prompts.append(_prompt(instance, size_hw, kind, image_size))
            prompted.append(instance)
        except OvsamError as error:
            problems.append(f"Photo {photo.name!r}: {error}")
    return (pixels, prompts, prompted) if prompts else None


def largest(instances: Sequence[Instance], count: int | None) -> Sequence[Instance]:
    """The largest so many, by annotated area, or by that of the box; None = all, as they are."""
    if count is None:
        return instances
    return sorted(instances, key=_area, reverse=True)[:count]


def _area(instance: Instance) -> float:
    x0, y0, x1, y1 = instance.box_xyxy
    return instance.area if np.isfinite(instance.area) else (x1 - x0) * (y1 - y0)


def _prompt(
    instance: Instance, size_hw: tuple[int, int], kind: PromptKind, image_size: int
) -> Prompt:
    """What both models are given.

    Raises:
        AnnotationError: the mask is needed, and is malformed or empty.
        PromptError: the box is outside the photo.
    """
    mask = instance.mask(size_hw) if kind in POINTS else None
    if mask is not None and not mask.any():
        raise AnnotationError(f"Annotation {instance.id}: its mask covers no pixel.")
    prompt = annotated_prompt(instance, mask, kind, size_hw, image_size)
    prompt.check_inside(size_hw)
    return prompt
