"""What of the data cannot be used: left out, counted and told, up to one in a hundred."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

AT_MOST = 0.01  # data with more in it that is wrong is not what it seems
_CHECK = "Mend or leave out these files ('ovsam data check --decode' lists all that is wrong)."


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


def too_many(skipped: Collection[Skipped], photos: int, annotations: int) -> str | None:
    """What to say if more than one in a hundred, and more than one, are left out; else None.

    Args:
        skipped: all that is left out.
        photos: how many photos there are.
        annotations: how many annotations; where they are not known before their photo's file is
            read, at least one a photo.
    """
    wrong_photos = {one.name: one for one in sorted(skipped) if not one.annotation}
    wrong_annotations = [one for one in sorted(skipped) if one.annotation]
    for found, total, what in (
        (list(wrong_photos.values()), photos, "photos"),
        (wrong_annotations, annotations, "annotations"),
    ):
        if len(found) > max(1, AT_MOST * total):
            return (
                f"{len(found):,} of {total:,} {what} cannot be used, more than {AT_MOST:.0%}, "
                f"first of '{found[0].name}': {found[0].why} {_CHECK}"
            )
    return None
