"""The class names that the files of data sets list, read without trust.

COCO's annotation files, LabelMe's (one beside each photo) and the `data.yaml` of YOLO.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_NO_HEADING = ("", "none")  # Roboflow writes that a heading has none above it


def heading_ids(
    categories: Sequence[Mapping[str, Any]], annotations: Sequence[object]
) -> frozenset[int]:
    """Ids of categories that are a heading of others, not a class: no object has them.

    An export of Roboflow begins with one, of the project's name, which may be that of a class. A
    category without an object is a heading if another with objects has its name, or if it is the
    supercategory of another and not its own.

    Args:
        categories: rows of a COCO file, each with a whole number as `id` and a text as `name`.
        annotations: the file's rows, of any content.
    """
    ids = (row.get("category_id") for row in annotations if isinstance(row, Mapping))
    used = {number for number in ids if type(number) is int}
    classes = {_key(row["name"]) for row in categories if row["id"] in used}
    above: dict[str, set[int]] = {}  # by the name of a supercategory whose it is
    for row in categories:
        if isinstance(name := row.get("supercategory"), str):
            above.setdefault(_key(name), set()).add(row["id"])
    found = set()
    for row in categories:
        number, key = row["id"], _key(row["name"])
        if number in used:
            continue
        its_own = number in above.get(key, ())
        heads = bool(above.get(key, set()) - {number}) and not its_own
        marked = str(row.get("supercategory", "?")).lower() in _NO_HEADING
        if key in classes or (heads and (used or marked)):
            found.add(number)
    return frozenset(found)


def _key(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).replace("_", " ")
    return " ".join(plain.split()).casefold()
