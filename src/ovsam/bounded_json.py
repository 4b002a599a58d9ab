"""JSON that somebody else wrote: parsed within bounds, or one short reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 8 * 2**30  # of a file: Objects365, the largest set of annotations known, takes 6
MAX_DEPTH = 100  # of lists and objects in each other; COCO's annotations have five
_CHUNK = 2**20
_REASON = 200  # characters


class JsonError(ValueError):
    """The text is not JSON within the bounds; the message is a reason for a caller's sentence."""


def read_json_file(path: Path) -> object:
    """The content of a JSON file in UTF-8.

    Raises:
        OSError: it cannot be read.
        JsonError: it is larger than `MAX_BYTES`, or see `parse_json`.
    """
    try:
        return parse_json(_text(path))
    except MemoryError:
        raise JsonError("it takes more memory than there is") from None


def _text(path: Path) -> str:
    content = bytearray()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:  # at once, for it may be a device without an end
                raise JsonError("it holds null bytes, so it is no text in UTF-8")
            content += chunk
            if len(content) > MAX_BYTES:
                raise JsonError(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")  # some editors put a byte-order mark before the text
    except UnicodeDecodeError as error:
        raise JsonError(f"it is no text in UTF-8: {error.reason} at {error.start}") from None


def parse_json(text: str | bytes) -> object:
    """The content of a JSON text.

    Args:
        text: of any source; UTF-8 where it is bytes.

    Raises:
        JsonError: it is no JSON, is nested deeper than `MAX_DEPTH`, has a whole number of thousands
            of digits, or takes more memory than there is.
    """
    try:
        content: object = json.loads(text)
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except MemoryError:
        raise JsonError("it takes more memory than there is") from None
    except json.JSONDecodeError as error:
        raise JsonError(str(error).partition("\n")[0].rstrip(".")[:_REASON]) from None
    except UnicodeDecodeError as error:
        raise JsonError(f"it is no text in UTF-8: {error.reason} at {error.start}") from None
    except ValueError:  # what is left of them is Python's limit
        raise JsonError("it has a whole number of too many digits") from None
    _check_depth(content)
    return content


def _check_depth(content: object) -> None:
    """Refuse what is nested so deeply that copying or showing it would fail."""
    level: list[Any] = [content] if isinstance(content, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for one in level:
            children = one.values() if isinstance(one, dict) else one
            if not {dict, list}.isdisjoint(map(type, children)):  # fast: most are of numbers alone
                below += [child for child in children if type(child) in (dict, list)]
        if not below:
            return
        level = below
    raise JsonError("it is nested too deeply")
