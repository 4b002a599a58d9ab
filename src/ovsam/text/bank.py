"""A vocabulary's bank: the unit vectors of all names, and which of them speak for which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.text.half import widened

_CHUNK = 1024  # classes compared at once: their vectors in float32 fit a processor's cache

Vectors = NDArray[np.float32] | NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Bank:
    """The names of C classes in the text space, as many as each class has.

    Classes with equally many names form a group, so that nothing is padded.

    Attributes:
        groups: arrays `(P, n, D)` of unit vectors, float32 or float16: P names of each of n
            classes. Banks share them; a class that is not in `class_order` takes no part.
        class_order: `(C,)` int64, where each class is, counted through all groups.
    """

    groups: tuple[Vectors, ...]
    class_order: NDArray[np.int64]

    @classmethod
    def of(cls, vectors: Vectors, counts: Sequence[int]) -> Bank:
        """The bank of C classes.

        Args:
            vectors: `(S, D)` unit vectors in the order of `grouped_order`.
            counts: for each class how many of them are its own, at least one.
        """
        groups: list[Vectors] = []
        start, numbers = 0, np.array(counts, np.int64)
        for size in np.unique(numbers).tolist():
            rows = size * int((numbers == size).sum())
            groups.append(vectors[start : start + rows].reshape(size, -1, vectors.shape[1]))
            start += rows
        return cls(tuple(groups), numbers.argsort(kind="stable").argsort())

    def __len__(self) -> int:
        return len(self.class_order)

    def joined(self, other: Bank, classes: Sequence[int]) -> Bank:
        """A bank of some of this one's classes and another's, whose vectors it shares.

        Args:
            other: whose classes are added.
            classes: numbers of classes, `len(self)` being the first of `other`.
        """
        held = sum(group.shape[1] for group in self.groups)
        order = np.concatenate([self.class_order, other.class_order + held])
        return Bank((*self.groups, *other.groups), order[np.array(classes, np.int64)])

    def best_products(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors `(N, D)` -> `(N, C)`: the product with each class's best name."""
        # Names by embeddings, which BLAS computes in half the time that the other order takes.
        columns = np.ascontiguousarray(embeddings.T)
        best = np.empty((sum(group.shape[1] for group in self.groups), len(embeddings)), np.float32)
        memory = np.empty(_CHUNK * embeddings.shape[1], np.float32)
        start = 0
        for group in self.groups:
            for first in range(0, group.shape[1], _CHUNK):
                chunk = group[:, first : first + _CHUNK]
                found = best[start : start + chunk.shape[1]]
                np.matmul(_single(chunk[0], memory), columns, out=found)
                for names in chunk[1:]:
                    np.maximum(found, _single(names, memory) @ columns, out=found)
                start += len(found)
        return np.ascontiguousarray(best[self.class_order].T)


def _single(names: NDArray[Any], memory: NDArray[np.float32]) -> NDArray[np.float32]:
    """Names `(n, D)` in float32: themselves, or written into memory that is used each time.

    No copy of a whole bank is kept, since that of 22,000 classes would take 57 MB.
    """
    if names.dtype == np.float32:
        return names
    return widened(names, memory[: names.size].reshape(names.shape))


def grouped_order(names: Sequence[Sequence[str]]) -> list[str]:
    """The names of C classes in the order of a bank's vectors.

    Classes with fewest names come first; of those with equally many all first names, all second
    ones, and so on.

    >>> grouped_order([["mug", "cup"], ["cat"], ["dog", "puppy"]])
    ['cat', 'mug', 'dog', 'cup', 'puppy']
    """
    groups: dict[int, list[Sequence[str]]] = {}
    for of_class in names:
        groups.setdefault(len(of_class), []).append(of_class)
    return [
        of_class[depth]
        for size in sorted(groups)
        for depth in range(size)
        for of_class in groups[size]
    ]
