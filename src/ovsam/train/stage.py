"""What the training loop asks of a stage and of its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from ovsam.formats.skipped import Skipped

T = TypeVar("T")


class Batch(Protocol):
    """What a stage learns from at once: a dataclass with tensors, for any depth."""

    @property
    def names(self) -> tuple[str, ...]:
        """The photos in it, for messages."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Photos that should have been in it but cannot be read, and their bad annotations."""


class Batches(Protocol):
    """The run's micro-batches: item i is a function of the seed and i alone."""

    @property
    def photos(self) -> int:
        """How many photos there are to draw from."""

    @property
    def annotations(self) -> int | None:
        """How many annotations there are, those that are left out among them; None = unknown."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What is left out, as far as it is known before anything is drawn."""

    def __getitem__(self, index: int) -> Batch:
        """Micro-batch `index`; there is no end to them."""


class Stage(nn.Module, ABC):
    """A model with what it is taught: parameters that require a gradient are trained."""

    loss_names: tuple[str, ...]

    @abstractmethod
    def heavy_modules(self) -> Iterable[nn.Module]:
        """What is worth compiling and sharding apart: modules that every batch goes through."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The losses of a micro-batch by name, each a scalar; their sum is minimised.

        Each is a mean over the batch's images, and random numbers are drawn from the batch's own
        seeds, so that it does not matter how the images of a step are spread.
        """

    def forward(self, work: Callable[[Stage], T]) -> T:
        """Do some work with the stage: the way in that shares gradients and gathers shards."""
        return work(self)


@dataclass(frozen=True)
class Finished:
    """What a run gives.

    Attributes:
        averaged: the averaged weights of the trained parameters by name, on the CPU.
        skipped: what could not be used.
    """

    averaged: dict[str, Tensor]
    skipped: tuple[Skipped, ...]
