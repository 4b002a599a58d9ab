"""Vocabularies as tensors: what the network is compared with, on its device, with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.text.bank import Bank
from ovsam.text.prototypes import ClassPrototypes

_CHUNK = 1024  # classes compared at once: their vectors in float32 fit a processor's cache


@dataclass(frozen=True, eq=False)
class TorchBank:
    """See `Bank`.

    Attributes:
        groups: tensors `(P, n, D)` of unit vectors, float32 or half precision.
        class_order: `(C,)` where each class is, counted through all groups.
    """

    groups: tuple[Tensor, ...]
    class_order: Tensor

    @classmethod
    def of(
        cls,
        bank: Bank,
        device: torch.device | str = "cpu",
        shared: Mapping[int, Tensor] | None = None,
    ) -> TorchBank:
        """A bank's tensors on a device; on the CPU they share its memory.

        Args:
            bank: of C classes.
            device: where to.
            shared: groups that are there already, by the `id` of the array.
        """
        there = shared or {}
        groups = tuple(
            there[id(group)] if id(group) in there else torch.from_numpy(group).to(device)
            for group in bank.groups
        )
        return cls(groups, torch.from_numpy(bank.class_order).to(device))

    @classmethod
    def of_single_names(cls, vectors: Tensor) -> TorchBank:
        """The bank of C classes of one name each, `(C, D)` unit vectors; keeps their gradient."""
        return cls((vectors[None],), torch.arange(len(vectors), device=vectors.device))

    def __len__(self) -> int:
        return len(self.class_order)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TorchBank:
        """The same on a device, in a precision; vectors that are so already are shared."""
        groups = tuple(group.to(device, dtype or group.dtype) for group in self.groups)
        return TorchBank(groups, self.class_order.to(device))

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


@dataclass(frozen=True, eq=False)
class TorchPrototypes:
    """See `ClassPrototypes`.

    Attributes:
        bank: the synonyms of C classes.
        seen: `(C,)` bool, classes that the region head was trained on.
        answerable: `(C,)` bool, False for classes that may never be the answer.
    """

    bank: TorchBank
    seen: Tensor
    answerable: Tensor


class PrototypesOnDevice:
    """Vocabularies' prototypes as tensors, moved once for as long as a vocabulary is in use.

    Edits of a long vocabulary share its vectors there, too. Threads may share it: two that ask at
    once for what is new may both move it.

    Args:
        device: where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moved: WeakKeyDictionary[ClassPrototypes, TorchPrototypes] = WeakKeyDictionary()
        self._bases: WeakKeyDictionary[Bank, TorchBank] = WeakKeyDictionary()

    def of(self, prototypes: ClassPrototypes) -> TorchPrototypes:
        """The tensors of a vocabulary."""
        moved = self._moved.get(prototypes)
        if moved is None:
            moved = TorchPrototypes(
                self._bank(prototypes),
                torch.from_numpy(prototypes.seen).to(self._device),
                torch.from_numpy(prototypes.answerable).to(self._device),
            )
            self._moved[prototypes] = moved
        return moved

    def _bank(self, prototypes: ClassPrototypes) -> TorchBank:
        if prototypes.base is None:
            return TorchBank.of(prototypes.bank, self._device)
        base = prototypes.base.bank
        there = self._bases.get(base)
        if there is None:
            there = self._bases[base] = TorchBank.of(base, self._device)
        shared = dict(zip(map(id, base.groups), there.groups, strict=True))
        return TorchBank.of(prototypes.bank, self._device, shared)


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
