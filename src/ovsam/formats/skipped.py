"""What of the data cannot be used: left out, counted and reported, up to one in a hundred."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

AT_MOST = 0.01  # data with more in it that is wrong is not what it seems
_CHECK = "Mend or leave out these files ('ovsam data check' lists all that is wrong)."


@dataclass(frozen=True, order=True)
class Skipped:
    """A photo that is left out, or an annotation.

    Attributes:
        name: the photo, or the file that lists the annotation.
        why: one sentence.
        annotation: whether it is one of several in the photo or file.
    """

    name: str
    why: str
    annotation: bool = False


def too_many(skipped: Collection[Skipped], photos: int, annotations: int | None) -> str | None:
    """What to say if more than one in a hundred, and more than one, are left out; else None.

    Args:
        skipped: all that is left out.
        photos: how many photos there are.
        annotations: how many annotations; None where that is not known before each photo's file
            is read: then photos with a bad annotation count, not annotations.
    """
    spoilt = {one.name for one in skipped if not one.annotation}
    if annotations is None:
        marked = len({one.name for one in skipped if one.annotation})
        of, whose = photos, "photos have annotations that"
    else:
        marked = sum(one.annotation for one in skipped)
        of, whose = annotations, "annotations"
    for annotation, found, total, what in (
        (False, len(spoilt), photos, "photos"),
        (True, marked, of, whose),
    ):
        if found > max(1, AT_MOST * total):
            first = min(one for one in skipped if one.annotation == annotation)
            return (
                f"{found:,} of {total:,} {what} cannot be used, more than {AT_MOST:.0%}, "
                f"first of '{first.name}': {first.why} {_CHECK}"
            )
    return None
