"""The objects of one data set that training crops are drawn around, and how often each is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ovsam.data.anchors import Anchor, AnchoredPhoto


class CropSource:
    """Objects with the chance of each.

    Args:
        photos: with their objects.
        share: how often objects of this data set are drawn, relative to others.
        balance: a class with n objects is drawn as often as n^(1 - balance) says: 0 gives each
            object the same chance, 1 each class. Objects without a name are one class.
        cutouts: whether the objects are drawn on crops of other data sets' photos, instead of
            around them; those without a mask are left out.
    """

    def __init__(
        self,
        photos: Sequence[AnchoredPhoto],
        share: float = 1.0,
        balance: float = 0.0,
        cutouts: bool = False,
    ) -> None:
        self.photos, self.share, self.balance, self.cutouts = photos, share, balance, cutouts
        self.anchors = [
            (photo, anchor)
            for photo in photos
            for anchor in photo.anchors
            if anchor.rle is not None or not cutouts
        ]
        counts = Counter(anchor.class_index for _, anchor in self.anchors)
        weights = [counts[anchor.class_index] ** -balance for _, anchor in self.anchors]
        self._ends = np.cumsum(weights) / sum(weights) if balance and weights else None

    def only_masks(self) -> CropSource:
        """The same without the objects of which only the name is known."""
        masked = [photo.only_masks() for photo in self.photos]
        return CropSource(masked, self.share, self.balance, self.cutouts)

    def draw(self, rng: np.random.Generator) -> tuple[AnchoredPhoto, Anchor]:
        """An object and its photo."""
        if self._ends is None:
            return self.anchors[rng.integers(len(self.anchors))]
        drawn = int(np.searchsorted(self._ends, rng.random(), side="right"))
        return self.anchors[min(drawn, len(self.anchors) - 1)]


def drawn_source(rng: np.random.Generator, sources: Sequence[CropSource]) -> CropSource:
    """One of several, by their shares."""
    shares = np.array([source.share for source in sources])
    return sources[rng.choice(len(sources), p=shares / shares.sum())]
