"""COCO's crowd regions (`iscrowd` 1): areas of many objects, which count for none.

Some tools mark single objects so, as CVAT each mask drawn with a brush. Then the file says less
than it means, and a message says so.
"""

from __future__ import annotations

from typing import Any, Literal

Crowds = Literal["left-out", "objects"]
MANY = 0.1  # of the annotations; of COCO's own, one in a hundred are crowds
OPTION = "count them with --crowds objects"
IN_FILE = "set their 'iscrowd' to 0 in the file"


def crowds_as_objects(content: Any) -> Any:
    """The content of an annotation file with each crowd region as an object; else as it is."""
    rows = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        return content
    return {**content, "annotations": [_as_object(row) for row in rows]}


def _as_object(row: Any) -> Any:
    crowd = (
        isinstance(row, dict) and type(row.get("iscrowd")) in (int, bool) and row["iscrowd"] == 1
    )
    return {**row, "iscrowd": 0} if crowd else row


IF_OBJECTS = "If each marks one object, as CVAT writes masks drawn with a brush,"


def many_crowds(crowds: int, objects: int, remedy: str) -> str | None:
    """What to say where so many annotations are crowd regions that objects may be meant.

    Args:
        crowds: how many there are.
        objects: how many annotations there are beside them.
        remedy: what to do if they are objects.
    """
    if crowds <= MANY * (crowds + objects):
        return None
    return (
        f"{crowds:,} of {crowds + objects:,} annotations are crowd regions (iscrowd 1), which do "
        f"not count. {IF_OBJECTS} {remedy}."
    )
