"""Prompts as a person types them: `"120,80; 140,95,0"` and `"10,20,200,180; 50,60"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import PromptError, quoted
from ovsam.structures import Prompt

_POINT_FORM = "x,y (on the object) or x,y,0 (not on it)"
_BOX_FORM = "x0,y0,x1,y1"


def parse_prompts(boxes: Iterable[str], points: Iterable[str]) -> list[Prompt]:
    """One prompt for each text, boxes first.

    Args:
        boxes: each a box `x0,y0,x1,y1`, followed by any number of points of the same object.
        points: each one or more points `x,y` or `x,y,1` (on the object) or `x,y,0` (not on it).
            Groups of numbers are parted by a semicolon or a blank; all are photo pixels.

    Raises:
        PromptError: a text that does not follow this, with the text and the form expected.

    Example:
        >>> [prompt] = parse_prompts([], ["120,80; 140,95,0"])
        >>> prompt.points_xy.tolist(), prompt.point_labels.tolist()
        ([[120.0, 80.0], [140.0, 95.0]], [1, 0])
    """
    return [_parse_box(text) for text in boxes] + [_parse_points(text) for text in points]


def format_prompt(prompt: Prompt) -> str:
    """The text of a prompt, as `parse_prompts` reads it (a mask prompt has none).

    Example:
        >>> format_prompt(Prompt(points_xy=[[50, 60]], box_xyxy=[10, 20, 200, 180]))
        '10,20,200,180; 50,60'
    """
    groups = [] if prompt.box_xyxy is None else [_join(prompt.box_xyxy)]
    for point_xy, label in zip(prompt.points_xy, prompt.point_labels, strict=True):
        groups.append(_join(point_xy) + ("" if label else ",0"))
    return "; ".join(groups)


def _join(values: Iterable[float]) -> str:
    return ",".join(f"{value:.10g}" for value in values)


def _parse_box(text: str) -> Prompt:
    first, *rest = _groups(text) or [[]]
    if len(first) != 4:
        raise PromptError(
            f"--box {quoted(text)} must begin with the box's four numbers {_BOX_FORM}, "
            f"got {len(first)}{_hint(first)}."
        )
    return _prompt(f"--box {quoted(text)}", rest, box_xyxy=np.array(first))


def _parse_points(text: str) -> Prompt:
    groups = _groups(text)
    if not groups:
        raise PromptError(
            f"--point {quoted(text)} must hold a point, {_POINT_FORM}, got no number."
        )
    if all(len(group) == 3 and group[2] == 0 for group in groups):
        shown = text.strip() if len(text) <= 60 else "..."
        raise PromptError(
            f"--point {quoted(text)} says only where the object is not; put a point that is on it "
            f'or a box first: --point "x,y; {shown}" or --box "x0,y0,x1,y1; {shown}".'
        )
    return _prompt(f"--point {quoted(text)}", groups)


def _prompt(
    option: str,
    groups: Sequence[Sequence[float]],
    box_xyxy: NDArray[np.float64] | None = None,
) -> Prompt:
    for group in groups:
        if len(group) not in (2, 3):
            raise PromptError(
                f"{option} must give each point as {_POINT_FORM}, "
                f"got a group of {len(group)}: {_join(group[:8])}{', ...' * (len(group) > 8)}."
            )
        if len(group) == 3 and group[2] not in (0, 1):
            raise PromptError(
                f"{option} must end a point in 1 (on the object) or 0 (not on it), "
                f"got {group[2]:g}. Part points with a semicolon: 120,80; 140,95."
            )
    try:
        return Prompt(
            points_xy=np.array([group[:2] for group in groups], dtype=np.float64).reshape(-1, 2),
            point_labels=np.array([int(group[2]) if len(group) == 3 else 1 for group in groups]),
            box_xyxy=box_xyxy,
        )
    except PromptError as error:
        raise PromptError(f"{option} is no prompt: {error}") from error


def _groups(text: str) -> list[list[float]]:
    """The numbers of `text`, one list for each group: `"1,2; 3, 4,0"` -> [[1, 2], [3, 4, 0]]."""
    # Blanks beside commas go; in two steps, for of one the time would grow with a text's square.
    joined = re.sub(r"\s+", " ", text.strip()).replace(" ,", ",").replace(", ", ",")
    groups = []
    for group in re.split(r"[;\s]+", joined):
        if group:
            groups.append([_number(number, text) for number in group.split(",")])
    return groups


def _number(text: str, option_text: str) -> float:
    try:
        if not text.isascii() or "_" in text:  # which Python takes, and nobody means
            raise ValueError(text)
        return float(text)
    except ValueError:
        raise PromptError(
            f"{quoted(text)} in {quoted(option_text)} is not a number; a point is x,y and a box "
            f"{_BOX_FORM}, in pixels of the photo."
        ) from None


def _hint(numbers: Sequence[float]) -> str:
    return " (for a point use --point)" if len(numbers) in (2, 3) else ""
