"""Values of the JSON files of annotations, each checked as it is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovsam.bounded_json import read_json_file
from ovsam.errors import AnnotationError, quoted
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.vocabulary.class_lists import is_labelme

_INTEGERS = 2**63  # the evaluators count with 64 bits


def read_json(path: Path) -> object:
    """The content of an annotation file.

    Raises:
        AnnotationError: no such file, or no JSON.
    """
    try:
        return read_json_file(path)
    except OSError as error:
        raise AnnotationError(
            f"Cannot read the annotations {str(path)!r}: {error.strerror or error}. Check the path."
        ) from error
    except ValueError as error:  # or a path that is none, as with a null byte
        raise AnnotationError(
            f"{str(path)!r} is not JSON that can be read ({error}); it may be cut short. Copy or "
            "download it again."
        ) from error


def table_of(
    content: object,
    key: str,
    source: str,
    expected: str = "COCO's instance annotations (images, annotations, categories)",
) -> list[Mapping[str, Any]]:
    """A list of rows of a file; `source` and `expected` name the file and its kind in errors.

    Raises:
        AnnotationError: there is none, or not of objects.
    """
    table = content.get(key) if isinstance(content, dict) else None
    if is_labelme(content):
        raise AnnotationError(
            f"{source!r} is LabelMe's file of one photo: give the folder that it lies in."
        )
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise AnnotationError(
            f"{source!r} has no list of objects {key!r}, as {expected} have: give such a file."
        )
    return table


def value_of(row: Mapping[str, Any], key: str, where: str) -> Any:
    """A value of a row, which `where` names in errors; raises `AnnotationError` if it lacks."""
    if key not in row:
        raise AnnotationError(f"{where} lacks {key!r}.")
    return row[key]


def integer_of(row: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number of a row; raises `AnnotationError` if it is none."""
    value = value_of(row, key, where)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _INTEGERS:
        raise AnnotationError(f"{where} must have a whole number as {key!r}, got {quoted(value)}.")
    return value


def text_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """A text of a row, not empty; raises `AnnotationError` if it is none."""
    value = value_of(row, key, where)
    if not isinstance(value, str) or not value:
        raise AnnotationError(f"{where} must have a text as {key!r}, got {quoted(value)}.")
    return value


def as_float(value: object) -> float:
    """A number of a JSON file; NaN for what is none, or too large to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # of Python's long integers
        return math.nan


def size_hw_of(row: Mapping[str, Any], where: str) -> tuple[int, int]:
    """The (height, width) that a row says; raises `AnnotationError` if no photo has such."""
    size_hw = (integer_of(row, "height", where), integer_of(row, "width", where))
    if min(size_hw) < 1:
        raise AnnotationError(f"{where} must have a height and width above 0, got {size_hw}.")
    if size_hw[0] * size_hw[1] > DEFAULT_MAX_PIXELS:
        raise AnnotationError(
            f"{where} must have a height and width of {DEFAULT_MAX_PIXELS:,} pixels at most in "
            f"all, got {size_hw}."
        )
    return size_hw
