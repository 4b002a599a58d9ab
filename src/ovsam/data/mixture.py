"""Which photo comes next: a function of the seed and the draw's number alone.

So a run that stops goes on where it was, and processes that share a run draw each its own part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.data.dataset import DataSet
from ovsam.errors import AnnotationError

BLOCK = 1000  # draws within which every data set gets its share


def repeat_factors(
    classes_of_photos: Sequence[Collection[str]], threshold: float
) -> NDArray[np.float64]:
    """How often each photo should come in an epoch so that rare classes are seen (LVIS).

    A class on the share f of the photos has the factor max(1, sqrt(threshold / f)), a photo the
    greatest factor of its classes, and 1 without any (Gupta et al. 2019, appendix B).

    >>> repeat_factors([{"cat"}, {"cat"}, {"cat", "ox"}, set()], threshold=1.0).round(3).tolist()
    [1.155, 1.155, 2.0, 1.0]
    """
    counts = Counter(name for classes in classes_of_photos for name in set(classes))
    total = len(classes_of_photos)
    factor = {name: (threshold * total / count) ** 0.5 for name, count in counts.items()}
    return np.array(
        [max((1.0, *(factor[name] for name in classes))) for classes in classes_of_photos]
    )


class PhotoOrder:
    """Photos in random order, epoch after epoch; `order[j]` depends on `seed` and j alone.

    Every epoch has `len(order)` draws, the sum of the repeat factors, rounded. Photo i comes
    r(i) times on average, and in each epoch that number rounded down or up at random; with
    factors of 1 an epoch is a permutation.

    Args:
        factors: `(P,)` how often each photo comes in an epoch, above 0.
        seed: what the order is drawn from.
    """

    def __init__(self, factors: ArrayLike, seed: Sequence[int]) -> None:
        self.factors = np.asarray(factors, np.float64)
        self.seed = tuple(seed)
        self._length = round(float(self.factors.sum()))
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))  # the last drawn

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, draw: int) -> int:
        epoch, index = divmod(draw, self._length)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._drawn(epoch))
        return int(self._epoch[1][index])

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((*self.seed, epoch))
        shuffled = rng.permutation(len(self.factors))  # so that no two photos round together
        ends = np.cumsum(self.factors[shuffled])
        # Marks at equal distances on the factors laid end to end: a factor of 1.3 gets one or two.
        # The first is at a multiple of 2^-16, which adds to whole numbers without rounding.
        first = (rng.integers(2**16) + 0.5) / 2**16
        marks = (first + np.arange(self._length)) * (ends[-1] / self._length)
        hit = np.searchsorted(ends, marks, side="right").clip(max=len(ends) - 1)
        order: NDArray[np.int64] = rng.permutation(shuffled[hit])
        return order


class Mixture:
    """Photos of several data sets in given shares.

    `mixture[j]` gives (which data set, which photo of it) and depends on the seed and j alone.
    Every 1,000 draws hold each data set's share exactly (to a thousandth), in random order, and
    each data set is gone through epoch by epoch, see `PhotoOrder`.

    Args:
        data_sets: what is mixed.
        shares: the share of the draws that each gets; they need not add up to 1.
        seed: of the run.
        repeat_threshold: `t` of `repeat_factors`; LVIS's is 0.001, and 0 repeats nothing.

    Raises:
        AnnotationError: not one share for each data set, or one below a thousandth of all.
    """

    def __init__(
        self,
        data_sets: Sequence[DataSet],
        shares: Sequence[float],
        seed: int,
        repeat_threshold: float = 0.0,
    ) -> None:
        self.counts = _counts(shares, len(data_sets))
        self.seed = seed
        self.orders = [
            PhotoOrder(_factors(data_set, repeat_threshold), (seed, stream))
            for stream, data_set in enumerate(data_sets, start=1)
        ]
        self._block: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def __getitem__(self, draw: int) -> tuple[int, int]:
        block, index = divmod(draw, BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = (block, *self._drawn(block))
        _, which, earlier = self._block
        chosen = int(which[index])
        drawn = block * int(self.counts[chosen]) + int(earlier[index])
        return chosen, self.orders[chosen][drawn]

    def _drawn(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each draw of a block its data set, and how many before it in the block were of it."""
        kinds = np.repeat(np.arange(len(self.counts)), self.counts)
        which = np.random.default_rng((self.seed, 0, block)).permutation(kinds)
        earlier = np.zeros(BLOCK, np.int64)
        for kind, count in enumerate(self.counts):
            earlier[which == kind] = np.arange(count)
        return which, earlier


def _counts(shares: Sequence[float], data_sets: int) -> NDArray[np.int64]:
    """How many draws of a block each data set gets: `BLOCK` in all."""
    values = np.asarray(shares, np.float64)
    fair = len(values) == data_sets > 0 and bool(np.isfinite(values).all()) and values.min() > 0
    if not fair or values.min() * BLOCK < values.sum():
        raise AnnotationError(
            f"A mixture must have a share for each of its {data_sets} data sets, none below a "
            f"thousandth of all, got {list(shares)}."
        )
    exact = values / values.sum() * BLOCK
    counts: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    left = BLOCK - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1  # those that lost most
    return counts


def _factors(data_set: DataSet, threshold: float) -> NDArray[np.float64]:
    return repeat_factors([data_set.listed_classes(i) for i in range(len(data_set))], threshold)
