"""A vocabulary's bank: the unit vectors of all names, and which of them speak for which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 1024  # classes compared at once: their vectors in float32 fit a processor's cache


@dataclass(frozen=True, eq=False)
class Bank:
    """The names of C classes in the text space, as many as each class has.

    Classes with equally many names form a group, so that nothing is padded.

    Attributes:
        groups: tensors `(P, n, D)` of unit vectors, float32 or half precision: P names of each of
            n classes. Banks share them; a class that is not in `class_order` takes no part.
        class_order: `(C,)` where each class is, counted through all groups.
    """

    groups: tuple[Tensor, ...]
    class_order: Tensor

    @classmethod
    def of(cls, vectors: Tensor, counts: Sequence[int]) -> Bank:
        """The bank of C classes.

        Args:
            vectors: `(S, D)` unit vectors in the order of `grouped_order`.
            counts: for each class how many of them are its own, at least one.
        """
        groups, start = [], 0
        numbers = torch.from_numpy(np.array(counts))
        for size in torch.unique(numbers).tolist():
            rows = size * int((numbers == size).sum())
            groups.append(vectors[start : start + rows].reshape(size, -1, vectors.shape[1]))
            start += rows
        return cls(tuple(groups), numbers.argsort(stable=True).argsort())

    def __len__(self) -> int:
        return len(self.class_order)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Bank:
        """The same on a device, in a precision; vectors that are so already are shared."""
        groups = tuple(group.to(device, dtype or group.dtype) for group in self.groups)
        return Bank(groups, self.class_order.to(device))

    def joined(self, other: Bank, classes: Sequence[int]) -> Bank:
        """A bank of some of this one's classes and another's, whose vectors it shares.

        Args:
            other: on the same device.
            classes: numbers of classes, `len(self)` being the first of `other`.
        """
        held = sum(group.shape[1] for group in self.groups)
        order = torch.cat([self.class_order, other.class_order + held])
        chosen = torch.tensor(classes, device=order.device)
        return Bank((*self.groups, *other.groups), order[chosen])

    def best_products(self, embeddings: Tensor) -> Tensor:
        """Vectors `(N, D)` -> `(N, C)`: the product with each class's best name.

        In the embeddings' precision.
        """
        widened = _Widened(embeddings)
        best = [
            reduce(torch.maximum, (F.linear(embeddings, widened(names)) for names in chunk))
            for group in self.groups
            for chunk in torch.split(group, _CHUNK, dim=1)
        ]
        return torch.cat(best, dim=1).index_select(1, self.class_order)


class _Widened:
    """Vectors in the precision of what they are compared with, each time in the same memory.

    Fresh memory for each chunk takes ten times as long as the product with one vector. Where a
    gradient is wanted each has memory of its own, since the product keeps it.
    """

    def __init__(self, like: Tensor) -> None:
        self.like, self.keeps = like, like.requires_grad and torch.is_grad_enabled()
        self.memory = like.new_empty(0)

    def __call__(self, names: Tensor) -> Tensor:
        """Names `(n, D)`."""
        if self.keeps or names.dtype == self.like.dtype:
            return names.to(self.like.dtype)
        if len(names) > len(self.memory):
            self.memory = self.like.new_empty(names.shape)
        return self.memory[: len(names)].copy_(names)


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
