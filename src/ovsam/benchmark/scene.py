"""What a model is timed on: a photo, and prompts on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.structures import Prompt

WIDTH, HEIGHT = 640, 480


def made_up_photo() -> NDArray[np.uint8]:
    """The same photo each time, `(480, 640, 3)`: coloured disks on a grained background."""
    rng = np.random.default_rng(0)
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    photo = np.stack([down / HEIGHT, right / WIDTH, 1 - down / HEIGHT], -1) * 120 + 60
    for _ in range(24):
        centre = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        colour = rng.integers(0, 256, 3).tolist()
        cv2.circle(photo, centre, int(rng.integers(15, 90)), colour, thickness=-1)
    grained = photo + rng.normal(0, 6, photo.shape)
    return np.clip(grained, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Case:
    """Prompts that are answered in one call.

    Attributes:
        name: as the table shows it.
        prompts: on the photo.
        zoom: whether the squares around the objects are encoded.
    """

    name: str
    prompts: tuple[Prompt, ...]
    zoom: bool


def cases(size_hw: tuple[int, int]) -> list[Case]:
    """What is asked of a photo of that height and width."""
    height, width = size_hw
    box = Prompt(box_xyxy=np.array([0.3 * width, 0.2 * height, 0.7 * width, 0.8 * height]))
    point = Prompt(points_xy=np.array([[0.5 * width, 0.5 * height]]))
    several = {"box": (box,), "point": (point,), "16 boxes": _grid(size_hw, 4)}
    found = [
        Case(name + (", zoom" if zoom else ""), prompts, zoom)
        for name, prompts in several.items()
        for zoom in (False, True)
    ]
    return [*found, Case("64 boxes", _grid(size_hw, 8), zoom=False)]


def _grid(size_hw: tuple[int, int], count: int) -> tuple[Prompt, ...]:
    """Boxes side by side, `count` in each row and column, that fill the photo."""
    rows, columns = (np.linspace(0, side, count + 1) for side in size_hw)
    return tuple(
        Prompt(box_xyxy=np.array([columns[i], rows[j], columns[i + 1], rows[j + 1]]))
        for j in range(count)
        for i in range(count)
    )
